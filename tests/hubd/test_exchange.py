"""Requests through a real hub to a scripted agent: the plain cases, and how responses are passed on (rows C1 to C21)."""

from __future__ import annotations

import asyncio
import gc
import json

import pytest

from hubd.exchange import Exchange
from yamux import StreamTransport

P = "/api/v1/proxy/demo"
GET = b"GET /api/v1/proxy/demo/hello HTTP/1.1\r\nHost: hub\r\n\r\n"


def post(length: int, *lines: str) -> bytes:
    extra = "".join(line + "\r\n" for line in lines)
    return f"POST {P}/up HTTP/1.1\r\nHost: hub\r\nContent-Length: {length}\r\n{extra}\r\n".encode()


async def test_a_request_and_its_response(bench):
    agent = await bench.agent()
    visitor = await bench.visitor()
    reply = await visitor.get(f"{P}/hello?a=1&x-proxy-host=127.0.0.1:8881&b=%20")
    assert (reply.status, reply.body) == (200, b"ok")
    stream = await agent.stream()
    assert stream.line == f"GET {P}/hello?a=1&b=%20 HTTP/1.1"
    assert stream.field("x-proxy-host") == ["127.0.0.1:8881"]
    assert stream.field("x-proxy-path") == ["/hello"]
    assert stream.field("host") == ["hub"]
    assert stream.field("x-forwarded-for") == ["127.0.0.1"]
    assert stream.field("x-forwarded-proto") == ["http"]
    assert stream.field("x-forwarded-host") == ["hub"]
    assert stream.field("x-forwarded-prefix") == [P]
    assert len(stream.field("x-request-id")[0]) == 16
    await stream.gone()
    assert stream.error is None and stream.eof


async def test_many_requests_on_one_connection_leave_nothing_behind(bench):
    agent = await bench.agent()
    visitor = await bench.visitor()
    for _ in range(5):
        await visitor.get()
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            assert (await visitor.get()).status == 200
        kept = [o for o in gc.get_objects() if isinstance(o, Exchange)]
        kept += [o for o in gc.get_objects() if isinstance(o, StreamTransport) and not o.session.core.client]
        assert len(kept) <= 4, "each exchange must be freed by counting alone"
    finally:
        gc.enable()
    assert bench.hub.stats.exchanges == 55
    assert len(agent.streams) == 55


async def test_a_body_goes_up_as_it_comes(bench):
    agent = await bench.agent()
    visitor = await bench.visitor()
    await visitor.send(post(10) + b"01234")
    stream = await agent.stream()
    await bench.wait(lambda: bytes(stream.body) == b"01234")
    assert not stream.complete
    await visitor.send(b"56789")
    assert (await visitor.reply()).status == 200
    assert bytes(stream.body) == b"0123456789"
    assert stream.field("content-length") == ["10"]


async def test_a_chunked_body_stays_chunked(bench):
    agent = await bench.agent()
    visitor = await bench.visitor()
    head = f"POST {P}/up HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    reply = await visitor.ask(head + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Forwarded-For: evil\r\n\r\n")
    assert reply.status == 200
    stream = await agent.stream()
    assert bytes(stream.body) == b"abcde"
    assert stream.field("transfer-encoding") == ["chunked"]
    assert b"evil" not in stream.raw and b"x=y" not in stream.raw
    assert (await visitor.get()).status == 200


async def test_large_bodies_both_ways(bench):
    size = 3 * 1024 * 1024
    agent = await bench.agent(answer=b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    visitor = await bench.visitor()
    task = asyncio.ensure_future(visitor.reply())
    await visitor.send(post(size) + b"y" * size)
    reply = await task
    assert reply.body == b"x" * size
    assert bytes((await agent.stream()).body) == b"y" * size


@pytest.mark.parametrize("size", [0, 1, 5000])
async def test_chunked_responses(bench, size):
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    if size:
        answer += b"%x\r\n%b\r\n" % (size, b"z" * size)
    await bench.agent(answer=answer + b"0\r\nX-Trailer: a\r\n\r\n")
    visitor = await bench.visitor()
    reply = await visitor.get()
    assert reply.body == b"z" * size and reply.whole
    assert reply.one("transfer-encoding") == "chunked"
    assert (await visitor.get()).body == b"z" * size


async def test_a_chunked_response_for_http_1_0(bench):
    await bench.agent(answer=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    visitor = await bench.visitor()
    reply = await visitor.ask(f"GET {P}/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
    assert reply.body == b"abc"
    assert "transfer-encoding" not in reply.fields
    assert reply.one("connection") == "close"


async def test_http_1_0_may_be_kept_alive(bench):
    agent = await bench.agent()
    visitor = await bench.visitor()
    request = f"GET {P}/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode()
    for _ in range(2):
        reply = await visitor.ask(request)
        assert reply.one("connection") == "keep-alive"
    # HTTP/1.0 need not name a host; the request to the agent must.
    assert (await agent.stream()).field("host") == [f"127.0.0.1:{bench.port}"]


async def test_a_slow_visitor_stalls_its_own_stream_only(bench):
    size = 8 * 1024 * 1024
    agent = await bench.agent(answer=None)
    slow = await bench.visitor()
    await slow.send(GET)
    stream = await agent.stream()
    stream.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    front = bench.front
    await bench.wait(lambda: front.write_paused)
    assert front.transport.get_write_buffer_size() < 512 * 1024
    agent.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    other = await bench.visitor()
    assert (await other.get()).status == 200
    stream.transport.write_eof()
    reply = await slow.reply()
    assert len(reply.body) == size


async def test_a_slow_agent_stops_the_upload(bench):
    agent = await bench.agent(answer=None)
    agent.raw = agent.uploads = True
    visitor = await bench.visitor()
    size = 8 * 1024 * 1024
    visitor.writer.write(post(size))
    stream = await agent.stream()
    stream.transport.pause_reading()
    visitor.writer.write(b"y" * size)
    front = bench.front
    await bench.wait(lambda: front.read_paused)
    assert front.exchange.stream.get_write_buffer_size() < 512 * 1024
    stream.transport.resume_reading()
    await bench.wait(lambda: len(stream.raw) >= size)
    stream.reply(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await visitor.reply()).status == 204


async def test_c1_continue_is_passed_then_the_body(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(post(3, "Expect: 100-continue"))
    stream = await agent.stream()
    assert stream.field("expect") == ["100-continue"]
    stream.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert (await visitor.head()).status == 100
    await visitor.send(b"abc")
    await bench.wait(lambda: stream.complete)
    stream.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    reply = await visitor.reply()
    assert reply.status == 200 and "connection" not in reply.fields


async def test_c2_refused_expectation_closes(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(post(3, "Expect: 100-continue"))
    stream = await agent.stream()
    stream.reply(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    reply = await visitor.reply()
    assert (reply.status, reply.body, reply.one("connection")) == (403, b"no", "close")
    assert await visitor.rest() == b""
    await stream.gone()


async def test_c3_silent_agent_gets_no_invented_continue(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(post(3, "Expect: 100-continue"))
    await agent.stream()
    bench.later(31)
    bench.later(50)
    bench.later(95)
    reply = await visitor.head()
    assert reply.status == 504


@pytest.mark.parametrize(
    "line", ["Expect: 100-continue, x", "Expect: 200-ok", "Expect: 100-continue\r\nExpect: 100-continue"]
)
async def test_c4_other_expectations(bench, line):
    agent = await bench.agent()
    visitor = await bench.visitor()
    reply = await visitor.ask(post(3, line))
    assert (reply.status, reply.one("connection")) == (417, "close")
    assert not agent.streams


async def test_c5_interim_responses_in_order(bench):
    interim = b"".join(
        b"HTTP/1.1 103 Early Hints\r\nLink: <%d>\r\nConnection: x\r\nX: y\r\n\r\n" % n for n in range(16)
    )
    await bench.agent(answer=interim + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    visitor = await bench.visitor()
    await visitor.send(GET)
    for n in range(16):
        head = await visitor.head()
        assert (head.status, head.one("link")) == (103, f"<{n}>")
        assert "x" not in head.fields and "connection" not in head.fields
    assert (await visitor.reply()).body == b"ok"


async def test_c5_no_interim_for_http_1_0(bench):
    await bench.agent(answer=b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    visitor = await bench.visitor()
    reply = await visitor.ask(f"GET {P}/ HTTP/1.0\r\n\r\n".encode())
    assert (reply.status, reply.body) == (200, b"ok")


async def test_c5_too_many_interim_responses(bench):
    await bench.agent(answer=b"HTTP/1.1 102 Processing\r\n\r\n" * 17 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    visitor = await bench.visitor()
    reply = await visitor.ask(GET)
    assert reply.status == 502
    assert bench.hub.stats.stream_errors["too_many_informational"] == 1


async def test_c6_head_keeps_the_length_and_the_connection(bench):
    await bench.agent(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    visitor = await bench.visitor()
    for _ in range(2):
        reply = await visitor.get(method="HEAD")
        assert reply.one("content-length") == "5000"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nBODY!"),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nBODY!"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\nBODY!"),
    ],
)
async def test_c7_body_where_none_may_be(bench, method, answer):
    agent = await bench.agent(answer=answer)
    visitor = await bench.visitor()
    reply = await visitor.get(method=method)
    agent.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"
    again = await visitor.get()
    assert (again.status, again.body) == (200, b"next")
    if reply.status == 204:
        assert "content-length" not in reply.fields


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    ],
)
async def test_c8_malformed_responses(bench, answer):
    agent = await bench.agent(answer=answer)
    visitor = await bench.visitor()
    reply = await visitor.ask(GET)
    assert reply.status == 502
    assert json.loads(reply.body)["code"] == "bad_response"
    await agent.streams[0].gone()
    agent.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    assert (await visitor.get()).body == b"ok"


@pytest.mark.parametrize("coding", [b"chunked, gzip", b"gzip", b"xchunked"])
async def test_c9_unknown_codings(bench, coding):
    await bench.agent(answer=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: %b\r\n\r\nabc" % coding)
    visitor = await bench.visitor()
    assert (await visitor.ask(GET)).status == 502


async def test_c10_close_delimited_response(bench):
    await bench.agent(answer=b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
    visitor = await bench.visitor()
    for _ in range(2):
        reply = await visitor.get()
        assert reply.one("transfer-encoding") == "chunked"
        assert reply.body == b"until the end" and reply.whole
    reply = await visitor.ask(f"GET {P}/ HTTP/1.0\r\n\r\n".encode())
    assert (reply.body, reply.one("connection")) == (b"until the end", "close")
    assert "transfer-encoding" not in reply.fields


@pytest.mark.parametrize("how", ["reset", "eof", "session"])
@pytest.mark.parametrize(
    "part",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
async def test_c11_cut_response_is_cut_for_the_visitor(bench, how, part):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    stream.transport.write(part)
    head = await visitor.head()
    assert head.status == 200
    await visitor.reader.readuntil(b"abc")
    cut(agent, stream, how)
    assert b"0\r\n" not in await visitor.rest()
    assert bench.hub.stats.stream_errors["upstream_truncated"] == 1


def cut(agent, stream, how: str) -> None:
    if how == "reset":
        stream.transport.abort()
    elif how == "eof":
        stream.transport.write_eof()
    else:
        agent.session.transport.abort()


async def test_c11_a_bad_chunk_in_the_same_read_as_its_head_is_502(bench):
    """No byte of it went out yet, also for visitors whose answer would have ended with the connection."""
    agent = await bench.agent(answer=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n")
    visitor = await bench.visitor()
    assert (await visitor.ask(GET)).status == 502
    assert (await visitor.ask(GET.replace(b"1.1", b"1.0"))).status == 502
    assert len(agent.streams) == 2


@pytest.mark.parametrize(("how", "code"), [("reset", "agent_reset"), ("eof", "upstream_truncated")])
async def test_c11_cut_before_the_head_is_502(bench, how, code):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    stream.transport.write(b"HTTP/1.1 200 O")
    cut(agent, stream, how)
    reply = await visitor.reply()
    assert reply.status == 502 and reply.whole
    body = json.loads(reply.body)
    assert body["code"] == code and body["request_id"] == stream.field("x-request-id")[0]


async def test_c11_a_close_delimited_response_that_is_reset(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    stream.transport.write(b"HTTP/1.1 200 OK\r\n\r\nabc")
    await visitor.head()
    await visitor.reader.readuntil(b"abc")
    stream.transport.abort()
    assert b"0\r\n" not in await visitor.rest()


async def test_c11_a_cut_shows_where_the_end_of_the_connection_is_the_end_of_the_body(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(f"GET {P}/ HTTP/1.0\r\n\r\n".encode())
    stream = await agent.stream()
    stream.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await visitor.head()
    assert await visitor.reader.readexactly(3) == b"abc"
    stream.transport.abort()
    with pytest.raises(ConnectionResetError):
        async with asyncio.timeout(60):
            await visitor.reader.read()


async def test_c12_extra_bytes_after_a_response(bench):
    agent = await bench.agent(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nevil")
    visitor = await bench.visitor()
    assert (await visitor.get()).body == b"ok"
    agent.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"
    assert (await visitor.get()).body == b"next"


@pytest.mark.parametrize("line", [b"HTTP/1.1 000 x", b"HTTP/1.1 600 x", b"HTTP/2.0 200 OK", b"HTTP/1.1 200 O\x01K"])
async def test_c13_odd_status_lines(bench, line):
    await bench.agent(answer=line + b"\r\nContent-Length: 0\r\n\r\n")
    visitor = await bench.visitor()
    assert (await visitor.ask(GET)).status == 502


async def test_c13_reason_is_replaced(bench):
    await bench.agent(answer=b"HTTP/1.1 200 Anything <b>goes</b>\r\nContent-Length: 0\r\n\r\n")
    visitor = await bench.visitor()
    assert (await visitor.ask(GET)).head.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
async def test_c14_switch_nobody_asked_for(bench, answer):
    agent = await bench.agent(answer=answer)
    visitor = await bench.visitor()
    assert (await visitor.ask(GET)).status == 502
    await agent.streams[0].gone()


async def test_c15_upgrade_fields_in_a_200(bench):
    await bench.agent(
        answer=b"HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nok"
    )
    visitor = await bench.visitor()
    reply = await visitor.ask(GET)
    assert reply.body == b"ok"
    assert "upgrade" not in reply.fields and "connection" not in reply.fields


async def test_c16_response_head_too_large(bench):
    await bench.agent(answer=b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n")
    visitor = await bench.visitor()
    assert (await visitor.ask(GET)).status == 502


async def test_c17_early_answer_during_an_upload(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(post(1_000_000) + b"x" * 1000)
    stream = await agent.stream()
    stream.reply(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
    reply = await visitor.reply()
    assert (reply.status, reply.body, reply.one("connection")) == (413, b"big", "close")
    # What is still on its way is read and dropped, so that no reset overtakes the answer.
    await visitor.send(b"x" * 10_000)
    assert await visitor.rest() == b""
    await stream.gone()
    assert stream.error is not None


async def test_c17_endless_upload_after_the_answer(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(post(10_000_000) + b"x")
    (await agent.stream()).reply(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    assert (await visitor.reply()).status == 401

    async def endless() -> None:
        while True:
            await visitor.send(b"x" * 65536)

    sending = asyncio.ensure_future(endless())
    await bench.wait(lambda: bench.front.read_paused)
    assert not sending.done()
    bench.later(bench.hub.timeouts.linger + 1.0)
    with pytest.raises(ConnectionError):
        await sending


async def test_c18_visitor_aborts_its_upload(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(post(1000) + b"x")
    stream = await agent.stream()
    visitor.reset()
    await stream.gone()
    assert stream.error is not None
    assert bench.hub.stats.rejects["visitor_left"] == 1


async def test_a20_visitor_closes_within_the_body(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(post(1000) + b"x")
    stream = await agent.stream()
    visitor.writer.write_eof()
    await stream.gone()
    assert stream.error is not None and not stream.eof
    assert await visitor.rest() == b""


async def test_c19_visitor_leaves_while_the_agent_thinks(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    visitor.reset()
    await stream.gone()
    assert stream.error is not None


async def test_c19_visitor_leaves_while_reading_is_paused(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    visitor.writer.write(b"GET /" + b"x" * 200_000)
    front = bench.front
    await bench.wait(lambda: front.read_paused)
    visitor.reset()
    await asyncio.sleep(0.05)
    assert not stream.lost, "loops do not tell of a reset while reading is paused"
    bench.later(0)
    await stream.gone()


async def test_c20_half_close_still_gets_its_answer(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(GET)
    visitor.writer.write_eof()
    stream = await agent.stream()
    await bench.wait(lambda: bench.front.eof)
    bench.later(0)
    stream.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert (await visitor.reply()).body == b"ok"
    assert await visitor.rest() == b""


async def test_c20_reset_after_a_half_close_is_found(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(GET)
    visitor.writer.write_eof()
    stream = await agent.stream()
    front = bench.front
    await bench.wait(lambda: front.eof)
    visitor.reset()
    await asyncio.sleep(0.05)
    bench.later(0)
    await stream.gone()


async def test_c21_coded_bodies_pass_untouched(bench):
    body = b"\x1f\x8b\x08\x00not really gzip"
    await bench.agent(
        answer=b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    visitor = await bench.visitor()
    reply = await visitor.get("/api/v1/proxy/demo/", "Accept-Encoding: gzip")
    assert reply.body == body and reply.one("content-encoding") == "gzip"


async def test_tunnel_error_is_stripped_and_counted(bench):
    await bench.agent(
        answer=b"HTTP/1.1 502 x\r\nTunnel-Error: target_refused\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    visitor = await bench.visitor()
    reply = await visitor.ask(GET)
    assert (reply.status, reply.body) == (502, b"{}")
    assert "tunnel-error" not in reply.fields
    assert bench.hub.stats.tunnel_errors == {"target_refused": 1}


async def test_c10_the_end_of_a_body_in_a_frame_of_its_own_loses_nothing(bench):
    """An HTTP/1.0 visitor gets no last chunk, so nothing is written for that frame itself."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    size = 2 * 65536 - len(head) - len(b"1ffff\r\n") - 2
    agent = await bench.agent(answer=head + b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size))
    visitor = await bench.visitor()
    await visitor.send(b"GET /api/v1/proxy/demo/x HTTP/1.0\r\nHost: hub\r\n\r\n")
    assert (await visitor.head()).status == 200
    assert await visitor.rest() == b"x" * size
    assert len(agent.streams) == 1


@pytest.mark.parametrize(("size", "turns"), [(100, 4), (64 * 1024, 1)])
async def test_small_parts_of_a_body_wait_while_the_session_has_more(bench, size, turns):
    """For turns that are counted: the session rests for all of this test."""
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    (exchange,) = [front.exchange for front in bench.hub.connections if front.exchange is not None]
    exchange.entry.session.pace.resting = True
    exchange.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * size + 1))
    written = exchange.size_out
    exchange.data_received(bytes(size))
    for turn in range(turns):
        assert (turn, exchange.size_out) == (turn, written)
        await asyncio.sleep(0)
    assert exchange.size_out == written + size
    exchange.data_received(bytes(size))
    # The end waits for nobody.
    exchange.data_received(b"x")
    assert exchange.size_out == written + 2 * size + 1
    reply = await visitor.reply()
    assert (reply.status, reply.body) == (200, bytes(2 * size) + b"x")
    stream.transport.close()
