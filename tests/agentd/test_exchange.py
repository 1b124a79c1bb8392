"""Whole exchanges: a hub's stream on one side, a real target on the other."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from agentd.dial import dial
from yamux.testing import COALESCING, TINY

GET = b"GET /api/v1/proxy/a/hello HTTP/1.1\r\nHost: visitor.example\r\nX-Proxy-Path: /hello\r\nX-Request-Id: r1\r\n\r\n"


def post(fields: bytes, body: bytes = b"", method: bytes = b"POST") -> bytes:
    return method + b" /up HTTP/1.1\r\nHost: v\r\nX-Proxy-Path: /up\r\n" + fields + b"\r\n" + body


def ok(body: bytes = b"hi", fields: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), fields, body)


async def hello(client):
    while await client.head():
        await client.send(ok(b"Hello, there\n"))


async def test_request_and_answer(rig):
    target = await rig.serve(hello)
    reply = await rig.ask(GET)
    assert (reply.status, reply.body, reply.complete) == (200, b"Hello, there\n", True)
    assert reply.get(b"content-length") == b"13"
    assert target.heads[0].startswith(b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % target.port)
    assert b"X-Forwarded-Host: visitor.example\r\n" in target.heads[0]
    assert b"x-proxy" not in target.heads[0].lower()


async def test_connections_are_kept_and_used_again(rig):
    target = await rig.serve(hello)
    for _ in range(5):
        assert (await rig.ask(GET)).status == 200
    assert target.connections == 1
    assert rig.server.pools[0].idle == 1


async def test_many_at_once(rig):
    await rig.serve(hello)
    seen = [rig.send(GET) for _ in range(100)]
    replies = [await rig.answer(one) for one in seen]
    assert {(reply.status, reply.body) for reply in replies} == {(200, b"Hello, there\n")}


async def test_a_large_body_both_ways(rig):
    body = bytes(range(256)) * 8192

    async def echo(client):
        await client.head()
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for _ in range(len(body) // 65536):
            await client.send(await client.body(65536))
        await client.ended()

    await rig.serve(echo)
    seen = rig.send(post(b"Content-Length: %d\r\n" % len(body)))
    for at in range(0, len(body), 50000):
        seen.transport.write(body[at : at + 50000])
        await seen.writable()
    reply = await rig.answer(seen)
    assert reply.body == body


async def test_c1_continue_is_passed_on_before_the_body(rig):
    async def wait_for_body(client):
        head = await client.head()
        assert b"Expect: 100-continue\r\n" in head
        await client.send(b"HTTP/1.1 100 Continue\r\nConnection: x\r\nX: 1\r\n\r\n")
        await client.send(ok(await client.body(4)))

    await rig.serve(wait_for_body)
    seen = rig.send(post(b"Expect: 100-continue\r\nContent-Length: 4\r\n"))
    await seen.received(len(b"HTTP/1.1 100 Continue\r\n"))
    assert bytes(seen.data).startswith(b"HTTP/1.1 100 Continue\r\n")
    assert b"Connection" not in seen.data
    seen.transport.write(b"body")
    reply = await rig.answer(seen)
    assert reply.raw.count(b"HTTP/1.1") == 2
    assert reply.raw.endswith(b"\r\n\r\nbody")


async def test_c2_refusal_instead_of_continue(rig):
    async def refuse(client):
        await client.head()
        await client.send(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        assert await client.ended() == b""

    target = await rig.serve(refuse)
    reply = await rig.ask(post(b"Expect: 100-continue\r\nContent-Length: 4\r\n"))
    assert reply.status == 417
    await rig.settle(lambda: target.closed == 1)
    assert rig.server.pools[0].idle == 0


async def test_c3_silent_target_gets_no_invented_continue(rig):
    async def silent(client):
        await client.head()
        await client.ended()

    await rig.serve(silent)
    seen = rig.send(post(b"Expect: 100-continue\r\nContent-Length: 4\r\n"))
    await rig.settle(lambda: bool(rig.server.open) and rig.exchange.connection is not None)
    now = rig.server.now
    rig.server.sweep(now + 1)
    rig.server.sweep(now + 59)
    assert seen.data == b""
    rig.server.sweep(now + 62)
    reply = await rig.answer(seen)
    assert (reply.status, reply.code) == (504, "target_timeout")


async def test_c5_informational_responses_in_order(rig):
    async def hints(client):
        await client.head()
        await client.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 P\r\n\r\n" + ok())
        await client.ended()

    await rig.serve(hints)
    reply = await rig.ask(GET)
    assert [line for line in reply.raw.split(b"\r\n") if line.startswith(b"HTTP/")] == [
        b"HTTP/1.1 103 Early Hints",
        b"HTTP/1.1 102 Processing",
        b"HTTP/1.1 200 OK",
    ]


async def test_c5_too_many_informational_responses(rig):
    async def flood(client):
        await client.head()
        await client.send(b"HTTP/1.1 102 P\r\n\r\n" * 17)
        await client.ended()

    await rig.serve(flood)
    reply = await rig.ask(GET)
    assert reply.complete
    assert b"bad_response" in reply.raw


async def test_c6_head_keeps_length_and_connection(rig):
    async def answer(client):
        await client.head()
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        await client.head()
        await client.send(ok(b"second"))
        await client.ended()

    target = await rig.serve(answer)
    reply = await rig.ask(GET.replace(b"GET", b"HEAD"))
    assert (reply.get(b"content-length"), reply.body) == (b"5000", b"")
    assert (await rig.ask(GET)).body == b"second"
    assert target.connections == 1


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", b"200"), (b"GET", b"204"), (b"GET", b"304")])
async def test_c7_body_where_none_may_be(rig, method, status):
    async def lie(client):
        await client.head()
        await client.send(b"HTTP/1.1 %b X\r\nContent-Length: 3\r\n\r\nabc" % status)
        await client.ended()

    target = await rig.serve(lie)
    reply = await rig.ask(GET.replace(b"GET", method))
    assert (reply.status, reply.body, reply.complete) == (int(status), b"", True)
    await rig.settle(lambda: target.closed == 1)


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 1\n\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        b"HTTP/1.1 999 X\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"garbage",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000,
    ],
    ids=["both", "twice", "lf", "fold", "blank", "c9", "c13", "http2", "garbage", "c16"],
)
async def test_c8_malformed_responses(rig, response):
    async def answer(client):
        await client.head()
        await client.send(response)
        await client.ended()

    target = await rig.serve(answer)
    reply = await rig.ask(GET)
    assert (reply.status, reply.code, reply.complete) == (502, "bad_response", True)
    await rig.settle(lambda: target.closed == 1)


async def test_c10_close_delimited_becomes_chunked(rig):
    async def answer(client):
        await client.head()
        await client.send(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")

    await rig.serve(answer)
    reply = await rig.ask(GET)
    assert reply.get(b"transfer-encoding") == b"chunked"
    assert reply.body == b"d\r\nuntil the end\r\n0\r\n\r\n"
    assert reply.complete


async def test_c10_close_delimited_for_an_old_visitor(rig):
    async def answer(client):
        await client.head()
        await client.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")

    await rig.serve(answer)
    reply = await rig.ask(GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (reply.get(b"transfer-encoding"), reply.body) == (None, b"until the end")
    assert reply.complete


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npa",
    ],
)
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_c11_cut_responses_reset_the_stream(rig, start, how):
    cut = asyncio.Event()

    async def answer(client):
        await client.head()
        await client.send(start)
        await cut.wait()
        if how == "reset":
            client.reset()

    await rig.serve(answer)
    seen = rig.send(GET)
    await seen.received(40)
    cut.set()
    reply = await rig.answer(seen)
    assert not reply.complete
    assert isinstance(reply.error, ConnectionResetError)
    assert rig.server.errors["target_truncated"] == 1


async def test_c11_close_delimited_response_that_is_reset(rig):
    cut = asyncio.Event()

    async def answer(client):
        await client.head()
        await client.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        await cut.wait()
        client.reset()

    await rig.serve(answer)
    seen = rig.send(GET)
    await seen.received(30)
    cut.set()
    assert not (await rig.answer(seen)).complete


async def test_c11_bad_chunk_in_the_middle(rig):
    async def answer(client):
        await client.head()
        await client.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
        await client.send(b"zz\r\n")
        await client.ended()

    await rig.serve(answer)
    reply = await rig.ask(GET)
    assert not reply.complete


async def test_c12_extra_bytes_end_the_connection(rig):
    async def answer(client):
        await client.head()
        await client.send(ok(b"one") + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        await client.ended()

    target = await rig.serve(answer)
    assert (await rig.ask(GET)).body == b"one"
    assert (await rig.ask(GET)).body == b"one"
    assert target.connections == 2


async def test_c12_bytes_on_an_idle_connection(rig):
    late = asyncio.Event()

    async def answer(client):
        await client.head()
        await client.send(ok(b"one"))
        await late.wait()
        await client.send(b"late")
        await client.ended()

    target = await rig.serve(answer)
    assert (await rig.ask(GET)).body == b"one"
    late.set()
    await rig.settle(lambda: target.closed == 1)
    assert rig.server.pools[0].idle == 0


async def test_c14_upgrade_not_asked_for(rig):
    async def answer(client):
        await client.head()
        await client.send(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        await client.ended()

    target = await rig.serve(answer)
    reply = await rig.ask(GET)
    assert (reply.status, reply.code) == (502, "bad_upgrade")
    await rig.settle(lambda: target.closed == 1)


@pytest.mark.parametrize("fields", [b"Connection: upgrade\r\nUpgrade: other\r\n", b"Upgrade: websocket\r\n", b""])
async def test_c14_upgrade_to_something_else(rig, fields):
    async def answer(client):
        await client.head()
        await client.send(b"HTTP/1.1 101 S\r\n" + fields + b"\r\n")
        await client.ended()

    await rig.serve(answer)
    reply = await rig.ask(UPGRADE)
    assert reply.status == 502


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: v\r\nX-Proxy-Path: /ws\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_upgraded_connections_carry_bytes_both_ways(rig):
    async def answer(client):
        head = await client.head()
        assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in head
        assert head.count(b"Sec-WebSocket-Key") == 1
        await client.send(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX: y\r\n\r\nfirst")
        await client.send(await client.body(8))
        assert await client.ended() == b""
        await client.send(b"last")

    await rig.serve(answer)
    seen = rig.send(UPGRADE + b"earl")
    await seen.until(lambda: seen.data.endswith(b"first"))
    assert bytes(seen.data).startswith(b"HTTP/1.1 101 Switching Protocols\r\nX: y\r\nConnection: Upgrade\r\n")
    assert len(rig.server.tunnels) == 1
    seen.transport.write(b"late")
    await seen.until(lambda: seen.data.endswith(b"earllate"))
    seen.transport.write_eof()
    await seen.until(lambda: seen.eof)
    assert seen.data.endswith(b"last")
    await rig.settle(lambda: not rig.server.tunnels)


async def test_upgraded_connection_that_idles_is_cut(rig):
    async def answer(client):
        await client.head()
        await client.send(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        await client.ended()

    await rig.serve(answer, timeouts={"upgraded": 10})
    seen = rig.send(UPGRADE)
    await rig.settle(lambda: bool(rig.server.tunnels))
    now = rig.server.now
    rig.server.sweep(now + 1)
    rig.server.sweep(now + 9)
    assert len(rig.server.tunnels) == 1
    rig.server.sweep(now + 12)
    assert isinstance(await seen.lost(), ConnectionResetError)


async def test_c15_ordinary_response_with_upgrade_fields(rig):
    async def answer(client):
        await client.head()
        await client.send(ok(b"no", b"Connection: upgrade\r\nUpgrade: websocket\r\n"))
        await client.ended()

    await rig.serve(answer)
    reply = await rig.ask(UPGRADE)
    assert (reply.status, reply.body, reply.get(b"upgrade"), reply.get(b"connection")) == (200, b"no", None, None)


async def test_b23_hop_by_hop_fields_go_neither_way(rig):
    async def answer(client):
        await client.head()
        await client.send(
            ok(
                b"",
                b"Keep-Alive: 5\r\nProxy-Authenticate: x\r\nConnection: X-Secret\r\nX-Secret: s\r\nTunnel-Error: y\r\n",
            )
        )
        await client.ended()

    target = await rig.serve(answer)
    request = (
        GET[:-2] + b"TE: trailers\r\nProxy-Authorization: x\r\nKeep-Alive: 5\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n"
    )
    reply = await rig.ask(request)
    for name in (b"te:", b"proxy-authorization", b"keep-alive", b"x-hop", b"connection"):
        assert name not in target.heads[0].lower()
    assert [name for name, _ in reply.fields] == [b"content-length"]


async def test_c17_early_answer_during_upload(rig):
    async def refuse(client):
        await client.head()
        await client.send(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        await client.ended()

    target = await rig.serve(refuse)
    reply = await rig.ask(post(b"Content-Length: 1000000\r\n", b"x" * 10_000))
    assert (reply.status, reply.body, reply.complete) == (413, b"no", True)
    await rig.settle(lambda: target.closed == 1)
    assert rig.server.pools[0].idle == 0


async def test_c17_early_answer_and_a_target_that_would_go_on(rig):
    async def answer(client):
        await client.head()
        await client.send(ok())
        await client.ended()

    target = await rig.serve(answer)
    assert (await rig.ask(post(b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n"))).status == 200
    await rig.settle(lambda: target.closed == 1)
    assert rig.server.pools[0].idle == 0


async def test_c17_early_answer_of_a_target_that_resets_with_the_upload_unread(rig):
    async def refuse(client):
        await client.head()
        await client.send(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")

    await rig.serve(refuse)
    for _ in range(20):
        reply = await rig.ask(post(b"Content-Length: 4000000\r\n", bytes(200_000)))
        assert (reply.status, reply.body, reply.complete) == (413, b"no", True)


@pytest.mark.parametrize("short", [True, False], ids=["a head known before", "a new head"])
async def test_c17_early_answer_in_the_turn_in_which_the_upload_ends(rig, short):
    """What has gathered of the body must not be missing: the target would take the next request for it."""
    bodies = []

    async def receive(client):
        while head := await client.head():
            size = int(head.lower().partition(b"content-length: ")[2].split()[0])
            bodies.append(await client.body(size))
            await client.send(ok())

    target = await rig.serve(receive)
    if short:
        assert (await rig.ask(post(b"Content-Length: 1\r\n", b"0"))).status == 200
    seen = rig.send(post(b"Content-Length: 6\r\n", b"abc"))
    await rig.settle(lambda: len(target.heads) == 1 + short and rig.server.open)
    exchange = rig.exchange
    exchange.data_received(b"def")
    exchange.target_data(ok() if short else ok(b"early"))
    assert (await rig.answer(seen)).status == 200
    # The target's own answer comes behind: nobody asked for it, so this connection is not used again.
    await rig.settle(lambda: len(bodies) == 1 + short and not rig.server.pools[0].open)
    assert (await rig.ask(post(b"Content-Length: 3\r\n", b"ghi"))).status == 200
    assert bodies == [*([b"0"] if short else []), b"abcdef", b"ghi"]


async def test_c17_early_answer_of_a_target_that_reads_the_upload_behind_it(rig):
    """The next request on its connection is read where it begins."""

    async def answer(client):
        while head := await client.head():
            size = int(head.lower().partition(b"content-length: ")[2].split()[0])
            await client.send(ok(head.split()[1]))
            # Where the answer was there first, the connection is given up.
            with contextlib.suppress(asyncio.IncompleteReadError):
                await client.body(size)

    target = await rig.serve(answer)
    for number in range(50):
        head = b"POST /u HTTP/1.1\r\nHost: v\r\nX-Proxy-Path: /%d\r\nContent-Length: 200000\r\n\r\n" % number
        reply = await rig.ask(head + bytes(200_000))
        assert (reply.status, reply.body) == (200, b"/%d" % number)
    assert all(head.startswith(b"POST /") for head in target.heads)


async def test_a_body_that_comes_in_many_frames_reaches_the_target_whole(rig):
    body = bytes(range(256)) * 4096

    async def receive(client):
        await client.head()
        got = await client.reader.readexactly(len(body))
        await client.send(ok() if got == body else b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")

    target = await rig.serve(receive)
    seen = rig.send(post(b"Content-Length: %d\r\n" % len(body)))
    await rig.settle(lambda: target.heads)
    writes = []
    wire = rig.exchange.connection.transport
    rig.exchange.connection.transport = Watched(wire, writes)
    for at in range(0, len(body), 1024):
        seen.transport.write(body[at : at + 1024])
    assert (await rig.answer(seen)).status == 200
    assert sum(writes) == len(body)
    assert len(writes) < 100, "a write for what comes in one turn, not one for every frame"


class Watched:
    """A transport that notes the sizes of its writes."""

    def __init__(self, wire, writes):
        self._wire = wire
        self._writes = writes

    def write(self, data):
        self._writes.append(len(data))
        self._wire.write(data)

    def writelines(self, pieces):
        self._writes.append(sum(map(len, pieces)))
        self._wire.writelines(pieces)

    def __getattr__(self, name):
        return getattr(self._wire, name)


async def test_c18_visitor_aborts_upload(rig):
    got: list[bytes] = []

    async def receive(client):
        await client.head()
        got.append(await client.ended())

    await rig.serve(receive)
    seen = rig.send(post(b"Content-Length: 1000\r\n", b"half"))
    await rig.settle(lambda: bool(rig.server.open) and rig.exchange.connection is not None)
    seen.transport.abort()
    await rig.settle(lambda: bool(got))
    assert got in ([b"half"], [b""])
    assert rig.server.errors["visitor_left"] == 1


async def test_c18_upload_that_ends_too_early(rig):
    got: list[bytes] = []

    async def receive(client):
        await client.head()
        got.append(await client.ended())

    await rig.serve(receive)
    seen = rig.send(post(b"Content-Length: 1000\r\n", b"half"))
    await rig.settle(lambda: bool(rig.server.open) and rig.exchange.connection is not None)
    seen.transport.write_eof()
    assert isinstance(await seen.lost(), ConnectionResetError)
    await rig.settle(lambda: bool(got))


async def test_c19_visitor_leaves_while_the_target_thinks(rig):
    async def think(client):
        await client.head()
        await client.ended()

    target = await rig.serve(think)
    seen = rig.send(GET)
    await rig.settle(lambda: bool(target.heads))
    seen.transport.abort()
    await rig.settle(lambda: target.closed == 1)
    assert rig.server.open == set()


async def test_c19_session_lost_while_the_target_thinks(rig):
    async def think(client):
        await client.head()
        await client.ended()

    target = await rig.serve(think)
    rig.send(GET)
    await rig.settle(lambda: bool(target.heads))
    rig.pair.cut()
    await rig.settle(lambda: target.closed == 1)


async def test_visitor_leaves_while_the_agent_dials(rig, monkeypatch):
    go = asyncio.Event()

    async def late(*args, **kwargs):
        await go.wait()
        await dial(*args, **kwargs)

    monkeypatch.setattr("agentd.pool.dial", late)
    target = await rig.serve(hello)
    seen = rig.send(GET)
    await rig.settle(lambda: bool(rig.server.open))
    seen.transport.abort()
    await rig.settle(lambda: not rig.server.open)
    go.set()
    # The connection that was under way serves the next one.
    await rig.settle(lambda: rig.server.pools[0].idle == 1)
    assert (await rig.ask(GET)).status == 200
    assert target.connections == 1


async def test_c20_half_closed_request_still_gets_its_answer(rig):
    await rig.serve(hello)
    seen = rig.send(GET)
    seen.transport.write_eof()
    assert (await rig.answer(seen)).status == 200


async def test_c21_bodies_are_not_decompressed(rig):
    body = b"\x1f\x8b not really gzip"

    async def answer(client):
        await client.head()
        await client.send(ok(body, b"Content-Encoding: gzip\r\n"))
        await client.ended()

    await rig.serve(answer)
    reply = await rig.ask(GET)
    assert (reply.get(b"content-encoding"), reply.body) == (b"gzip", body)


async def test_f18_redirects_are_relayed(rig):
    async def answer(client):
        await client.head()
        await client.send(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
        await client.ended()

    target = await rig.serve(answer)
    reply = await rig.ask(GET)
    assert (reply.status, reply.get(b"location")) == (302, b"http://127.0.0.1:1/")
    assert target.connections == 1


async def test_d9_refused_target(rig):
    target = await rig.serve(hello)
    target.stop_listening()
    reply = await rig.ask(GET)
    assert (reply.status, reply.code) == (502, "target_refused")
    assert b'"request_id": "r1"' in reply.body
    assert b"127.0.0.1" not in reply.raw


async def test_d9_error_answer_to_head_has_no_body(rig):
    target = await rig.serve(hello)
    target.stop_listening()
    reply = await rig.ask(GET.replace(b"GET", b"HEAD"))
    assert (reply.status, reply.body, reply.get(b"tunnel-error")) == (502, b"", b"target_refused")


async def test_d9_header_limit(rig):
    async def silent(client):
        await client.head()
        await client.ended()

    target = await rig.serve(silent)
    seen = rig.send(GET)
    await rig.settle(lambda: bool(target.heads))
    now = rig.server.now
    rig.server.sweep(now + 1)
    rig.server.sweep(now + 62)
    reply = await rig.answer(seen)
    assert (reply.status, reply.code) == (504, "target_timeout")
    await rig.settle(lambda: target.closed == 1)


async def test_d1_head_that_does_not_come(rig):
    await rig.serve(hello)
    seen = rig.send(b"GET /")
    await rig.settle(lambda: bool(rig.server.open))
    now = rig.server.now
    rig.server.sweep(now + 5)
    assert seen.data == b""
    rig.server.sweep(now + 11)
    reply = await rig.answer(seen)
    assert (reply.status, reply.code) == (408, "header_timeout")


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_reused_connection_that_dies_is_tried_again(rig, how):
    async def once(client):
        await client.head()
        await client.send(ok(b"once"))
        if target.connections == 1:
            await client.head()
            if how == "reset":
                client.reset()
            return
        await client.ended()

    target = await rig.serve(once)
    assert (await rig.ask(GET)).body == b"once"
    assert (await rig.ask(GET)).body == b"once"
    assert (target.connections, rig.server.retries) == (2, 1)


async def test_reused_connection_that_dies_with_a_post_is_not_tried_again(rig):
    async def once(client):
        await client.head()
        await client.send(ok(b"once"))
        await client.head()

    target = await rig.serve(once)
    assert (await rig.ask(GET)).body == b"once"
    reply = await rig.ask(post(b"Content-Length: 1\r\n", b"x"))
    assert (reply.status, reply.code) == (502, "target_closed")
    assert (target.connections, rig.server.retries) == (1, 0)


async def test_new_connection_that_dies_is_not_tried_again(rig):
    async def die(client):
        await client.head()

    target = await rig.serve(die)
    reply = await rig.ask(GET)
    assert (reply.status, reply.code, target.connections) == (502, "target_closed", 1)


async def test_slow_visitor_holds_the_target_up(rig):
    size = 64 * 1024 * 1024
    sent = 0

    async def flood(client):
        nonlocal sent
        await client.head()
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            await client.send(bytes(65536))
            sent += 65536

    await rig.serve(flood)
    seen = rig.send(GET)
    seen.transport.pause_reading()
    await rig.settle(lambda: bool(rig.server.open) and rig.exchange.stream_full)
    connection = rig.exchange.connection
    assert connection.paused
    assert rig.exchange.stream.get_write_buffer_size() < 1024 * 1024
    now = rig.server.now
    rig.server.sweep(now + 1)
    rig.server.sweep(now + 62)
    assert rig.server.open == set()
    seen.transport.resume_reading()
    assert isinstance(await seen.lost(), ConnectionResetError)


async def test_cut_ends_everything(rig):
    async def think(client):
        await client.head()
        await client.ended()

    target = await rig.serve(think)
    seen = rig.send(GET)
    await rig.settle(lambda: bool(target.heads))
    rig.server.cut()
    assert isinstance(await seen.lost(), ConnectionResetError)
    await rig.settle(lambda: target.closed == 1)


async def test_exchanges_are_freed_without_the_collector(rig):
    import gc

    from agentd.exchange import Exchange

    await rig.serve(hello)
    await rig.ask(GET)
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            await rig.ask(GET)
        await rig.settle(lambda: not rig.server.open)
        await asyncio.sleep(0)
        assert len([thing for thing in gc.get_objects() if isinstance(thing, Exchange)]) <= 1
    finally:
        gc.enable()


@pytest.mark.parametrize("link", [TINY, COALESCING], ids=["tiny", "coalescing"])
async def test_e15_any_split_on_the_carrier(rig, link):
    await rig.serve(hello, link=link)
    for _ in range(3):
        reply = await rig.ask(GET)
        assert (reply.status, reply.body) == (200, b"Hello, there\n")


@pytest.mark.parametrize(
    "response",
    [
        ok(b"some body"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n",
    ],
    ids=["length", "chunked"],
)
async def test_c11_no_cut_looks_like_an_end(rig, response):
    """The target closes after each number of bytes in turn, and sends them one by one."""
    size = 0

    async def part(client):
        await client.head()
        for at in range(size):
            await client.send(response[at : at + 1])

    await rig.serve(part)
    for size in range(len(response) + 1):  # noqa: B007
        reply = await rig.ask(GET)
        if size == len(response):
            assert (reply.status, reply.complete) == (200, True)
        elif reply.complete:
            assert (reply.status, reply.code) == (502, "target_closed")
        else:
            assert isinstance(reply.error, ConnectionResetError)


async def test_c5_no_informational_response_for_old_visitors(rig):
    async def hints(client):
        await client.head()
        await client.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + ok())
        await client.ended()

    await rig.serve(hints)
    reply = await rig.ask(GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert reply.raw.count(b"HTTP/1.1") == 1
