"""The request's side of exchanges: from a hub's stream to a real target."""

from __future__ import annotations

import asyncio

import pytest

GET = b"GET /api/v1/proxy/a/hello HTTP/1.1\r\nHost: visitor.example\r\nX-Proxy-Path: /hello\r\nX-Request-Id: r1\r\n\r\n"


def post(fields: bytes, body: bytes = b"", method: bytes = b"POST") -> bytes:
    return method + b" /up HTTP/1.1\r\nHost: v\r\nX-Proxy-Path: /up\r\n" + fields + b"\r\n" + body


def ok(body: bytes = b"hi") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def hello(client):
    while await client.head():
        await client.send(ok(b"Hello, there\n"))


async def test_a_head_in_single_bytes(rig):
    await rig.serve(hello)
    seen = rig.send(GET[:1])
    for byte in GET[1:]:
        seen.transport.write(bytes([byte]))
        await asyncio.sleep(0)
    assert (await rig.answer(seen)).status == 200


async def test_chunked_both_ways(rig):
    async def echo(client):
        await client.head()
        data = await client.reader.readuntil(b"0\r\n\r\n")
        await client.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
        await client.ended()

    target = await rig.serve(echo)
    seen = rig.send(post(b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n"))
    seen.transport.write(b"2;x=y\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n")
    reply = await rig.answer(seen)
    assert b"Transfer-Encoding: chunked\r\n" in target.heads[0]
    assert b"".join(reply.body.split(b"\r\n")[1:-3:2]) == b"abcde"
    assert reply.body.endswith(b"0\r\n\r\n")


async def test_body_that_comes_while_the_agent_is_dialling(rig):
    async def count(client):
        await client.head()
        await client.send(ok(b"%d" % len(await client.body(300_000))))

    await rig.serve(count)
    seen = rig.send(post(b"Content-Length: 300000\r\n"))
    await rig.settle(lambda: bool(rig.server.open))
    seen.transport.write(b"x" * 300_000)
    assert (await rig.answer(seen)).body == b"300000"


@pytest.mark.parametrize("value", [b"100-continue, x", b"200-ok", b"\x0b100-continue"])
async def test_c4_other_expectations(rig, value):
    target = await rig.serve(hello)
    reply = await rig.ask(post(b"Content-Length: 1\r\nExpect: " + value + b"\r\n", b"x"))
    assert reply.status in (400, 417)
    assert target.connections == 0


async def test_malformed_request_from_the_hub(rig):
    target = await rig.serve(hello)
    reply = await rig.ask(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert (reply.status, reply.code) == (400, "length_and_encoding")
    assert target.connections == 0


async def test_stream_without_a_word(rig):
    await rig.serve(hello)
    seen = rig.send(b"")
    seen.transport.write_eof()
    await seen.until(lambda: seen.eof or seen.closed)
    assert seen.data == b""


async def test_second_request_on_a_stream_is_ignored(rig):
    target = await rig.serve(hello)
    reply = await rig.ask(GET + GET)
    assert reply.raw.count(b"HTTP/1.1 200") == 1
    assert len(target.heads) == 1


async def test_f14_target_that_is_not_listed(rig):
    other = await rig.target(hello)
    await rig.serve(hello)
    reply = await rig.ask(GET[:-2] + b"X-Proxy-Host: 127.0.0.1:%d\r\n\r\n" % other.port)
    assert (reply.status, reply.code) == (502, "target_not_allowed")
    assert other.connections == 0


async def test_f14_empty_list_forwards_nothing(rig):
    target = await rig.target(hello)
    rig.start()
    for field in (b"", b"X-Proxy-Host: 127.0.0.1:%d\r\n" % target.port):
        assert (await rig.ask(GET[:-2] + field + b"\r\n")).code == "target_not_allowed"
    assert target.connections == 0


async def test_several_targets(rig):
    one, two = await rig.target(hello), await rig.target(hello)
    rig.start(one.url, f"api={two.url}")
    for asked in (b"127.0.0.1:%d" % two.port, b"api", b"API"):
        assert (await rig.ask(GET[:-2] + b"X-Proxy-Host: " + asked + b"\r\n\r\n")).status == 200
        assert b"X-Origin-Host: " + asked + b"\r\n" in two.heads[-1]
    assert one.connections == 0


async def test_large_body_is_not_kept_for_a_second_try(rig):
    async def once(client):
        await client.head()
        await client.send(ok(b"once"))
        await client.head()
        await client.body(100_000)

    await rig.serve(once)
    assert (await rig.ask(GET)).body == b"once"
    reply = await rig.ask(post(b"Content-Length: 200000\r\n", b"x" * 100_000, b"PUT"))
    assert (reply.status, reply.code, rig.server.retries) == (502, "target_closed", 0)


async def test_slow_target_holds_the_visitor_up(rig):
    go = asyncio.Event()

    async def slow(client):
        await client.head()
        await go.wait()
        got = 0
        while got < 8 * 1024 * 1024:
            got += len(await client.reader.read(65536))
        await client.send(ok(b"%d" % got))

    await rig.serve(slow)
    seen = rig.send(post(b"Content-Length: %d\r\n" % (8 * 1024 * 1024)))
    for _ in range(128):
        seen.transport.write(bytes(65536))
    await rig.settle(lambda: bool(rig.server.open) and rig.exchange.connection is not None)
    await rig.settle(lambda: not rig.exchange.stream.is_reading())
    assert rig.exchange.connection.transport.get_write_buffer_size() <= 1024 * 1024
    go.set()
    assert (await rig.answer(seen)).body == b"8388608"


def with_id(number: int) -> bytes:
    return GET.replace(b"r1\r\n", b"%016x\r\n" % number)


async def test_repeated_requests_keep_their_own_ids(rig):
    target = await rig.serve(hello)
    for number in range(5):
        assert (await rig.ask(with_id(number))).status == 200
    assert [head.count(b"X-Request-Id: %016x\r\n" % number) for number, head in enumerate(target.heads)] == [1] * 5
    assert len({head.replace(b"%016x" % number, b"") for number, head in enumerate(target.heads)}) == 1


async def test_a_repeated_request_that_fails_is_told_with_its_own_id(rig):
    target = await rig.serve(hello)
    await rig.ask(with_id(1))
    target.stop_listening()
    for connection in list(rig.server.pools[0].open):
        rig.server.pools[0].discard(connection)
    reply = await rig.ask(with_id(2))
    assert reply.code == "target_refused"
    assert b'"%016x"' % 2 in reply.body


async def test_a_repeated_request_in_pieces_is_read_whole(rig):
    target = await rig.serve(hello)
    await rig.ask(with_id(1))
    for cut in (1, 20, len(GET) - 30, len(GET) - 2):
        data = with_id(2)
        seen = rig.send(data[:cut])
        await rig.settle(lambda: bool(rig.server.open))
        seen.transport.write(data[cut:])
        assert (await rig.answer(seen)).status == 200
    assert {head.replace(b"%016x" % 1, b"%016x" % 2) for head in target.heads} == {target.heads[-1]}


async def test_the_same_head_with_a_body_is_not_taken_for_one_without(rig):
    async def echo(client):
        while await client.head():
            await client.send(ok(await client.body(3)))

    await rig.serve(echo)
    for body in (b"abc", b"def"):
        request = post(b"Content-Length: 3\r\nX-Request-Id: %016x\r\n" % 1, body)
        assert (await rig.ask(request)).body == body


async def test_a25_bytes_before_the_101_are_held_and_bounded(rig):
    async def think(client):
        await client.head()
        await client.ended()

    upgrade = (
        b"GET /ws HTTP/1.1\r\nHost: v\r\nX-Proxy-Path: /ws\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    target = await rig.serve(think)
    seen = rig.send(upgrade)
    await rig.settle(lambda: bool(target.heads))
    for _ in range(64):
        seen.transport.write(bytes(64 * 1024))
    await rig.settle(lambda: not rig.exchange.stream.is_reading())
    assert rig.exchange._reader.buffered <= 2 * 64 * 1024
    seen.transport.abort()
    await rig.settle(lambda: target.closed == 1)
