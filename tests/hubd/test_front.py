"""Rows of the public side that show in a connection's behaviour: framing (A), request lines and fields (B), slowness (D)."""

from __future__ import annotations

import asyncio
import json

import pytest

P = "/api/v1/proxy/demo"
GET = b"GET /api/v1/proxy/demo/hello HTTP/1.1\r\nHost: hub\r\n\r\n"
EVIL = b"GET /api/v1/proxy/demo/smuggled HTTP/1.1\r\nHost: hub\r\n\r\n"


def request(*lines: str, method: str = "GET", target: str = f"{P}/x", host: str | None = "hub") -> bytes:
    head = [f"{method} {target} HTTP/1.1", *([f"Host: {host}"] if host is not None else []), *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")


async def refused(bench, data: bytes, status: int, *, follow: bytes = EVIL) -> None:
    """The hub answers with the status, closes, and looks at nothing behind the request."""
    agent = await bench.agent()
    visitor = await bench.visitor()
    reply = await visitor.ask(data + follow)
    assert (reply.status, reply.one("connection")) == (status, "close")
    body = json.loads(reply.body)
    assert set(body) == {"msg", "code", "request_id"}
    assert await visitor.rest() == b""
    await visitor.close()
    assert not any("smuggled" in stream.line for stream in agent.streams)
    assert bench.hub.stats.rejects[body["code"]] == 1


async def test_a1_length_and_encoding(bench):
    await refused(bench, request("Content-Length: 3", "Transfer-Encoding: chunked", method="POST") + b"abc", 400)


async def test_a2_two_lengths(bench):
    await refused(bench, request("Content-Length: 3", "Content-Length: 3", method="POST") + b"abc", 400)


async def test_a4_length_is_written_anew(bench):
    agent = await bench.agent()
    visitor = await bench.visitor()
    assert (await visitor.ask(request("Content-Length: 0003 ", method="POST") + b"abc")).status == 200
    assert (await agent.stream()).field("content-length") == ["3"]


async def test_a5_body_over_the_limit(start):
    bench = await start(limits={"body": 10})
    await refused(bench, request("Content-Length: 11", method="POST"), 413)
    assert not bench.agents[0].streams


async def test_a5_chunked_body_over_the_limit(start):
    bench = await start(limits={"body": 10})
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(request("Transfer-Encoding: chunked", method="POST") + b"5\r\nabcde\r\n")
    stream = await agent.stream()
    await visitor.send(b"6\r\nabcdef\r\n0\r\n\r\n")
    assert (await visitor.reply()).status == 413
    await stream.gone()
    assert stream.error is not None and not stream.complete


async def test_a7_coding_before_chunked(bench):
    await refused(bench, request("Transfer-Encoding: gzip, chunked", method="POST"), 501)


async def test_a10_encoding_in_http_1_0(bench):
    data = f"POST {P}/x HTTP/1.0\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode()
    await refused(bench, data, 400)


async def test_a11_disguised_names(bench):
    await refused(bench, request("Content_Length: 3", method="POST"), 400)


async def test_a12_bad_chunk_size_after_the_request_went_out(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(request("Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n")
    stream = await agent.stream()
    await visitor.send(b"0x3\r\nabc\r\n0\r\n\r\n" + EVIL)
    reply = await visitor.reply()
    assert (reply.status, reply.one("connection")) == (400, "close")
    await stream.gone()
    assert stream.error is not None and not stream.complete


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "HEAD"])
async def test_a19_body_on_methods_that_seldom_have_one(bench, method):
    agent = await bench.agent()
    visitor = await bench.visitor()
    reply = await visitor.ask(request("Content-Length: 3", method=method) + b"abc", method)
    assert reply.status == 200
    stream = await agent.stream()
    assert bytes(stream.body) == b"abc" and stream.field("content-length") == ["3"]


async def test_a21_pipelined_requests_are_answered_in_order(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(b"".join(request(target=f"{P}/{n}") for n in range(20)))
    for n in range(20):
        stream = await agent.stream(n)
        assert len(agent.streams) == n + 1, "one in flight"
        assert stream.line.split()[1] == f"{P}/{n}"
        stream.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d" % n)
        assert (await visitor.reply()).body == b"%02d" % n


async def test_a20_a_body_that_ended_behind_another_request_is_not_waited_for(bench):
    """The visitor's last byte was seen while the request before was served, and is not told again."""
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(GET + request("Content-Length: 10", method="POST") + b"abc")
    stream = await agent.stream()
    visitor.writer.write_eof()
    await bench.wait(lambda: bench.front.eof)
    stream.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert (await visitor.reply()).status == 200
    assert await visitor.rest() == b""
    assert len(agent.streams) == 1 and bench.hub.stats.rejects["truncated_body"] == 1


async def test_a21_reading_stops_when_much_is_sent_ahead(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    count = 3000
    visitor.writer.write(GET * count)
    stream = await agent.stream()
    await bench.wait(lambda: bench.front.read_paused)
    assert bench.front.reader.buffered < 512 * 1024
    agent.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    stream.reply(agent.answer)
    for _ in range(count):
        assert (await visitor.reply()).status == 200


async def test_a21_pipelined_requests_for_the_hub_itself(bench):
    visitor = await bench.visitor()
    count = 2000
    visitor.writer.write(b"GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n" * count)
    for _ in range(count):
        assert (await visitor.reply()).status == 200


@pytest.mark.parametrize("line", ["Connection: close", "Connection: Close, x"])
async def test_a22_bytes_after_the_last_request(bench, line):
    agent = await bench.agent()
    visitor = await bench.visitor()
    reply = await visitor.ask(request(line) + EVIL)
    assert (reply.status, reply.one("connection")) == (200, "close")
    assert await visitor.rest() == b""
    assert len(agent.streams) == 1


async def test_a22_bytes_after_http_1_0(bench):
    agent = await bench.agent()
    visitor = await bench.visitor()
    assert (await visitor.ask(f"GET {P}/ HTTP/1.0\r\nHost: hub\r\n\r\n".encode() + EVIL)).status == 200
    assert await visitor.rest() == b""
    assert len(agent.streams) == 1


async def test_a23_answer_while_the_body_is_unread(bench):
    visitor = await bench.visitor()
    data = request("Content-Length: 500", method="POST", target="/api/v1/proxy/nobody/") + EVIL
    reply = await visitor.ask(data)
    assert (reply.status, reply.one("connection")) == (404, "close")
    assert await visitor.rest() == b""


async def test_a23_whole_body_of_a_refused_request_is_read(bench):
    visitor = await bench.visitor()
    data = request("Content-Length: 3", method="POST", target="/api/v1/proxy/nobody/") + b"abc"
    for _ in range(2):
        reply = await visitor.ask(data)
        assert (reply.status, reply.one("connection")) == (404, None)


@pytest.mark.parametrize("line", ["Content-Length: 3", "Transfer-Encoding: chunked"])
async def test_a24_upgrade_with_a_body(bench, line):
    lines = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", line)  # fmt: skip
    await refused(bench, request(*lines, method="POST"), 400)


@pytest.mark.parametrize(
    "lines",
    [
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
        ("Connection: Upgrade", "Upgrade: yamux"),
        ("Upgrade: websocket",),
    ],
)
async def test_a26_other_upgrades_are_stripped(bench, lines):
    agent = await bench.agent()
    visitor = await bench.visitor()
    reply = await visitor.ask(request(*lines))
    assert reply.status == 200 and reply.one("connection") is None
    stream = await agent.stream()
    assert not stream.field("upgrade") and not stream.field("connection") and not stream.field("http2-settings")
    assert (await visitor.get()).status == 200


@pytest.mark.parametrize("target", ["hub:443", "/", "*", f"{P}/x"])
async def test_a27_connect(bench, target):
    await refused(bench, request(method="CONNECT", target=target), 405)


async def test_a28_nothing_after_a_rejected_request(bench):
    await refused(bench, b"GET / HTTP/1.1\r\nHost: hub\r\nBad Name: x\r\n\r\n", 400, follow=EVIL * 5)


@pytest.mark.parametrize("data", [request(host=None), request("Host: hub")])
async def test_b1_no_host_or_two(bench, data):
    await refused(bench, data, 400)


@pytest.mark.parametrize("host", ["", "a,b", "u@hub", "hub/x", "hub:99999"])
async def test_b2_bad_host(bench, host):
    await refused(bench, request(host=host), 400)


@pytest.mark.parametrize("host", ["DEMO.Tunnel.localhost", "demo.tunnel.localhost.", "demo.tunnel.localhost:80"])
async def test_b3_host_is_normalised_for_routing_only(start, host):
    bench = await start(domain="tunnel.localhost")
    agent = await bench.agent()
    visitor = await bench.visitor()
    assert (await visitor.ask(request(host=host, target="/a?b"))).status == 200
    stream = await agent.stream()
    assert stream.line == "GET /a?b HTTP/1.1"
    assert stream.field("host") == [host] and stream.field("x-forwarded-host") == [host]
    assert not stream.field("x-forwarded-prefix")


async def test_b4_authority_and_host_differ(bench):
    await refused(bench, request(target=f"http://other{P}/x"), 400)


async def test_b4_absolute_target(start):
    bench = await start(domain="tunnel.localhost")
    agent = await bench.agent()
    visitor = await bench.visitor()
    data = request(target="http://demo.tunnel.localhost/a?b", host="demo.tunnel.localhost")
    assert (await visitor.ask(data)).status == 200
    assert (await agent.stream()).line == "GET /a?b HTTP/1.1"


async def test_b6_unknown_offline_and_draining(bench):
    visitor = await bench.visitor()
    reply = await visitor.get("/api/v1/proxy/nobody/")
    assert (reply.status, json.loads(reply.body)["code"]) == (404, "agent_unknown")
    agent = await bench.agent()
    agent.session.abort()
    await bench.wait(lambda: not len(bench.hub.pools))
    reply = await visitor.get()
    assert (reply.status, json.loads(reply.body)["code"]) == (503, "agent_offline")
    assert reply.one("retry-after") == "5"


async def test_b6_unknown_paths(bench):
    visitor = await bench.visitor()
    for target in ("/", "/api/v1/proxy/", "/api/v1/proxy", "/healthzz", "/api/v1/proxy//x"):
        assert (await visitor.get(target)).status == 404


@pytest.mark.parametrize(("method", "target"), [("GET", "*"), ("GET", "relative"), ("OPTIONS", "x")])
async def test_b7_bad_targets(bench, method, target):
    await refused(bench, request(method=method, target=target), 400)


async def test_b7_options_for_the_server(bench):
    visitor = await bench.visitor()
    for _ in range(2):
        reply = await visitor.ask(request(method="OPTIONS", target="*"))
        assert reply.status == 204 and "GET" in (reply.one("allow") or "")


@pytest.mark.parametrize("path", ["//evil/x", "/%2e%2e/a", "/a%00b", "/a%0d%0ab", "/a/../b", "/a;b=c", "/%E2%82%AC"])
@pytest.mark.parametrize("query", ["", "?", "?a=%zz&&=&b;c", "?x=/../"])
async def test_b10_paths_pass_byte_for_byte(bench, path, query):
    agent = await bench.agent()
    visitor = await bench.visitor()
    assert (await visitor.ask(request(target=P + path + query))).status == 200
    stream = await agent.stream()
    assert stream.line == f"GET {P}{path}{query} HTTP/1.1"
    assert stream.field("x-proxy-path") == [path]


async def test_b10_decoded_path_for_agents_without_instance(bench):
    agent = await bench.agent(instance=None)
    visitor = await bench.visitor()
    assert (await visitor.get(f"{P}/a%20b%2Fc%25")).status == 200
    assert (await agent.stream()).field("x-proxy-path") == ["/a b/c%"]
    reply = await visitor.get(f"{P}/a%0d%0aX-Evil:%20y")
    assert (reply.status, json.loads(reply.body)["code"]) == (400, "bad_path")
    assert len(agent.streams) == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request(target=P + "/" + "x" * 9000), 414),
        (request("X: " + "y" * 9000), 431),
        (request(*[f"X{n}: y" for n in range(150)]), 431),
        (request(*[f"X{n}: {'y' * 4000}" for n in range(10)]), 431),
    ],
)
async def test_b11_heads_over_the_limits(bench, data, status):
    await refused(bench, data, status)


@pytest.mark.parametrize(
    ("version", "status"), [("HTTP/2.0", 505), ("RTSP/1.0", 505), ("ICE/1.0", 505), ("HTTP/1.2", 505)]
)
async def test_b13_other_versions(bench, version, status):
    await refused(bench, f"GET {P}/ {version}\r\nHost: hub\r\n\r\n".encode(), status)


async def test_b13_no_version(bench):
    await refused(bench, b"GET /\r\n\r\n", 400)


@pytest.mark.parametrize("data", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
async def test_b15_other_protocols_get_no_answer(bench, data):
    visitor = await bench.visitor()
    await visitor.send(data)
    assert await visitor.rest() == b""
    assert sum(bench.hub.stats.rejects.values()) == 1


async def test_b16_unknown_method(bench):
    await refused(bench, request(method="BREW"), 501)


async def test_b17_trace_and_max_forwards(bench):
    agent = await bench.agent()
    visitor = await bench.visitor()
    assert (await visitor.ask(request(method="TRACE"))).status == 405
    assert (await visitor.ask(request("Max-Forwards: 0", method="OPTIONS"))).status == 204
    assert not agent.streams
    assert (await visitor.ask(request("Max-Forwards: 5", method="OPTIONS"))).status == 200
    assert (await agent.stream()).field("max-forwards") == ["4"]


async def test_b19_obs_text_passes(bench):
    agent = await bench.agent()
    visitor = await bench.visitor()
    assert (await visitor.ask(request("X-Name: caf\xe9 \xff"))).status == 200
    assert (await agent.stream()).field("x-name") == ["caf\xe9 \xff"]


async def test_b20_empty_lines_before_the_request(bench):
    visitor = await bench.visitor()
    await bench.agent()
    assert (await visitor.ask(b"\r\n\r\n" + GET)).status == 200
    await visitor.close()
    other = await bench.visitor()
    assert (await other.ask(b"\r\n\r\n\r\n" + GET)).status == 400


@pytest.mark.parametrize(
    "line", ["Connection: X-Forwarded-For, X-Real-IP", "Connection: ,X-Forwarded-For", "Connection: X-A"]
)
async def test_b21_nominated_fields(bench, line):
    agent = await bench.agent()
    visitor = await bench.visitor()
    assert (await visitor.ask(request(line, "X-Forwarded-For: 1.2.3.4", "X-A: b"))).status == 200
    stream = await agent.stream()
    assert stream.field("x-forwarded-for") == ["127.0.0.1"]
    assert stream.field("x-a") == ([] if "X-A" in line else ["b"])


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Host"])
async def test_b22_nominated_framing(bench, name):
    await refused(bench, request(f"Connection: {name}"), 400)


async def test_b23_hop_by_hop_both_ways(bench):
    hop = (
        "Keep-Alive: timeout=5",
        "Proxy-Connection: x",
        "Proxy-Authorization: y",
        "TE: gzip",
        "Trailer: a",
        "Upgrade: foo",
    )
    fields = "\r\n".join([*hop, "Connection: keep-alive", "Proxy-Authenticate: z"]).encode()
    agent = await bench.agent(
        answer=b"HTTP/1.1 103 Early Hints\r\n%b\r\n\r\nHTTP/1.1 200 OK\r\n%b\r\nContent-Length: 0\r\n\r\n"
        % (fields, fields)
    )
    visitor = await bench.visitor()
    await visitor.send(request(*hop))
    assert (await visitor.head()).fields == {}
    assert set((await visitor.reply()).fields) == {"content-length", "date"}
    sent = (await agent.stream()).raw.lower()
    for name in (b"keep-alive", b"proxy-connection", b"proxy-authorization", b"\r\nte:", b"trailer", b"upgrade"):
        assert name not in sent


FORWARDED = (
    "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "X-Forwarded-Prefix: /evil",
    "X-Forwarded-Port: 1", "Forwarded: for=1.2.3.4", "X-Real-IP: 1.2.3.4", "X-Proxy-Path: /evil", "X-Origin-Host: evil",
)  # fmt: skip


async def test_b24_forwarding_fields_of_strangers_are_replaced(bench):
    agent = await bench.agent()
    visitor = await bench.visitor()
    await visitor.ask(request(*FORWARDED))
    stream = await agent.stream()
    assert b"evil" not in stream.raw and b"1.2.3.4" not in stream.raw and b"https" not in stream.raw
    assert not stream.field("forwarded") and not stream.field("x-real-ip") and not stream.field("x-forwarded-port")


async def test_b24_forwarding_fields_of_trusted_peers_are_kept(start):
    bench = await start(trusted_proxies="127.0.0.0/8")
    agent = await bench.agent()
    visitor = await bench.visitor()
    await visitor.ask(request(*FORWARDED))
    stream = await agent.stream()
    assert stream.field("x-forwarded-for") == ["1.2.3.4, 127.0.0.1"]
    assert stream.field("x-forwarded-proto") == ["https"]
    assert stream.field("x-forwarded-host") == ["evil"]
    assert stream.field("x-forwarded-prefix") == [f"/evil{P}"]
    assert stream.field("x-real-ip") == ["1.2.3.4"] and stream.field("forwarded") == ["for=1.2.3.4"]
    assert stream.field("x-proxy-path") == ["/x"]


async def test_b25_one_route_for_one_request(start):
    # A name of one agent and a path of another: the name decides, and the path is only a path.
    bench = await start(domain="tunnel.localhost")
    named = await bench.agent("named")
    other = await bench.agent("demo")
    visitor = await bench.visitor()
    await visitor.ask(request(host="named.tunnel.localhost"))
    assert (await named.stream()).field("x-proxy-path") == [f"{P}/x"]
    assert not other.streams


async def test_b26_own_via(bench):
    agent = await bench.agent()
    visitor = await bench.visitor()
    await visitor.ask(request("Via: 1.0 fred, 1.1 example.net"))
    (via,) = (await agent.stream()).field("via")
    assert via.startswith("1.0 fred, 1.1 example.net, 1.1 hubd-")
    reply = await visitor.ask(request(f"Via: {via}"))
    assert reply.status == 508
    assert len(agent.streams) == 1


async def test_d1_head_one_byte_at_a_time(bench):
    visitor = await bench.visitor()
    await visitor.send(GET[:10])
    await bench.wait(lambda: bench.front.reader.buffered == 10)
    bench.later(9)
    await visitor.send(GET[10:20])
    await bench.wait(lambda: bench.front.reader.buffered == 20)
    bench.later(11)
    reply = await visitor.reply()
    assert (reply.status, reply.one("connection")) == (408, "close")
    assert await visitor.rest() == b""


async def test_d2_body_that_stops(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(request("Content-Length: 100000", method="POST") + b"x")
    stream = await agent.stream()
    bench.later(0)
    bench.later(29)
    assert not stream.lost
    bench.later(31)
    reply = await visitor.reply()
    assert (reply.status, reply.one("connection")) == (408, "close")
    await stream.gone()
    assert stream.error is not None


async def test_d2_body_that_trickles(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(request("Content-Length: 100000", method="POST") + b"x")
    stream = await agent.stream()
    for second in range(1, 40, 10):
        await visitor.send(b"y")
        await bench.wait(lambda second=second: len(stream.body) == 2 + second // 10)
        bench.later(second)
    assert (await visitor.reply()).status == 408


async def test_d3_visitor_that_does_not_read(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    visitor.writer.transport.pause_reading()
    await visitor.send(GET)
    stream = await agent.stream()
    size = 64 * 1024 * 1024
    stream.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    await bench.wait(lambda: bench.front.write_paused)
    bench.later(0)
    bench.later(59)
    assert not stream.lost
    bench.later(61)
    await stream.gone()
    assert stream.error is not None


async def test_d4_idle_connection(bench):
    await bench.agent()
    visitor = await bench.visitor()
    await visitor.get()
    bench.later(58)
    assert (await visitor.get()).status == 200
    bench.later(120)
    assert await visitor.rest() == b""


async def test_d4_connection_that_never_speaks(bench):
    visitor = await bench.visitor()
    await bench.wait(lambda: bench.hub.connections)
    bench.later(11)
    assert await visitor.rest() == b""


async def test_d9_no_answer_in_time(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    bench.later(58)
    assert not stream.lost
    bench.later(62)
    reply = await visitor.reply()
    assert (reply.status, json.loads(reply.body)["code"]) == (504, "response_timeout")
    await stream.gone()
    agent.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    assert (await visitor.get()).status == 204


async def test_idle_response_is_cut(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    stream.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na")
    await visitor.head()
    assert await visitor.reader.readexactly(1) == b"a"
    bench.later(70)
    bench.later(290)
    assert not stream.lost
    bench.later(400)
    await stream.gone()
    assert await visitor.rest() == b""


async def test_lingering_ends(bench):
    visitor = await bench.visitor()
    reply = await visitor.ask(b"BAD\r\n\r\n")
    assert reply.status == 400
    bench.later(5)
    await bench.wait(lambda: not bench.hub.connections)


async def test_lingering_is_bounded(bench):
    visitor = await bench.visitor()
    reply = await visitor.ask(b"BAD\r\n\r\n")
    assert reply.status == 400
    (connection,) = bench.hub.connections
    while not connection.read_paused:
        await visitor.send(b"x" * 4096)
        await asyncio.sleep(0)
    bench.later(5)
    await bench.wait(lambda: not bench.hub.connections)


async def test_healthz(bench):
    visitor = await bench.visitor()
    assert (await visitor.get("/healthz")).body == b'{"status":"ok"}\n'
    assert (await visitor.get("/healthz", method="HEAD")).one("content-length") == "16"
    assert (await visitor.ask(request(method="DELETE", target="/healthz"))).status == 405
    bench.hub.draining = True
    reply = await visitor.get("/healthz")
    assert (reply.status, reply.one("connection")) == (503, "close")


async def test_request_ids(bench):
    agent = await bench.agent()
    visitor = await bench.visitor()
    await visitor.get(f"{P}/", "X-Request-Id: abc-123")
    assert (await agent.stream(0)).field("x-request-id") == ["abc-123"]
    await visitor.get(f"{P}/", 'X-Request-Id: "quoted"')
    (made,) = (await agent.stream(1)).field("x-request-id")
    assert made.isalnum()
    await visitor.get(f"{P}/", "X-Request-Id: a", "X-Request-Id: b")
    assert len((await agent.stream(2)).field("x-request-id")) == 1


async def test_target_in_a_header(bench):
    agent = await bench.agent()
    visitor = await bench.visitor()
    await visitor.get(f"{P}/", "X-Proxy-Host: 127.0.0.1:8881")
    assert (await agent.stream()).field("x-proxy-host") == ["127.0.0.1:8881"]
    reply = await visitor.get(f"{P}/?x-proxy-host=a%0d%0ab")
    assert (reply.status, json.loads(reply.body)["code"]) == (400, "bad_proxy_host")


async def test_visitors_beyond_their_share_may_only_attach(bench):
    await bench.agent()
    bench.hub.budget.visitors_max = 0
    visitor = await bench.visitor()
    reply = await visitor.get()
    assert (reply.status, reply.one("connection")) == (503, "close")
    assert bench.hub.stats.connections_shed == 1
    await bench.agent("other")
    assert len(bench.hub.pools) == 2
