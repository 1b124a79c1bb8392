from __future__ import annotations

import asyncio

import pytest

CONNECT = b"CONNECT ssh HTTP/1.1\r\nHost: ssh\r\nX-Proxy-Host: ssh\r\nX-Request-Id: r1\r\n\r\n"
GRANTED = b"HTTP/1.1 200 OK\r\n\r\n"


async def echo(client):
    while data := await client.reader.read(65536):
        await client.send(data)
    await client.send(b"bye")


async def ssh(rig, handler=echo, **settings):
    target = await rig.target(handler)
    rig.start("web=http://127.0.0.1:1", f"ssh=tcp://127.0.0.1:{target.port}", **settings)
    return target


async def test_bytes_both_ways_and_half_close(rig):
    await ssh(rig)
    seen = rig.send(CONNECT + b"early")
    await seen.until(lambda: seen.data == GRANTED + b"early")
    seen.transport.write(b" late")
    await seen.until(lambda: seen.data == GRANTED + b"early late")
    seen.transport.write_eof()
    await seen.until(lambda: seen.eof)
    assert seen.data == GRANTED + b"early latebye"
    await rig.settle(lambda: rig.server.active == 0)
    assert (rig.server.served, dict(rig.server.errors)) == (1, {})


async def test_the_target_may_speak_first_and_end_first(rig):
    async def greet(client):
        await client.send(b"SSH-2.0\r\n")

    await ssh(rig, greet)
    seen = rig.send(CONNECT)
    await seen.until(lambda: seen.eof)
    assert seen.data == GRANTED + b"SSH-2.0\r\n"
    seen.transport.close()


async def test_an_eof_before_the_connection_stands_is_passed_on(rig):
    await ssh(rig)
    seen = rig.send(CONNECT + b"x")
    seen.transport.write_eof()
    await seen.until(lambda: seen.eof)
    assert seen.data == GRANTED + b"xbye"


@pytest.mark.parametrize("size", [1, 3, 7, 8, 20])
async def test_heads_in_pieces(rig, size):
    await ssh(rig)
    seen = rig.send(CONNECT[:size])
    await rig.settle(lambda: bool(rig.server.openings))
    seen.transport.write(CONNECT[size:])
    await seen.until(lambda: seen.data == GRANTED)
    seen.transport.write_eof()
    await seen.until(lambda: seen.eof)


async def test_a_method_that_begins_alike_is_an_ordinary_request(rig):
    async def hello(client):
        while await client.head():
            await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    target = await rig.serve(hello)
    seen = rig.send(b"CO")
    await rig.settle(lambda: bool(rig.server.openings))
    seen.transport.write(b"PY / HTTP/1.1\r\nHost: v\r\nX-Proxy-Path: /\r\n\r\n")
    assert (await rig.answer(seen)).body == b"hi"
    assert target.heads[0].startswith(b"COPY / ")


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT web HTTP/1.1\r\nHost: web\r\nX-Proxy-Host: web\r\n\r\n",
        b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\nX-Proxy-Host: 127.0.0.1:1\r\n\r\n",
        b"CONNECT 10.0.0.1:22 HTTP/1.1\r\nHost: x\r\nX-Proxy-Host: 10.0.0.1:22\r\n\r\n",
        b"CONNECT localhost:22 HTTP/1.1\r\nHost: x\r\nX-Proxy-Host: localhost:22\r\n\r\n",
        b"CONNECT hss HTTP/1.1\r\nHost: hss\r\n\r\n",
    ],
)
async def test_only_listed_tcp_targets(rig, head):
    target = await ssh(rig)
    reply = await rig.ask(head)
    assert (reply.status, reply.code) == (502, "target_not_allowed")
    assert target.connections == 0


async def test_a_request_never_reaches_a_tcp_target(rig):
    target = await ssh(rig)
    for asked in (b"ssh", b"127.0.0.1:%d" % target.port):
        reply = await rig.ask(b"GET / HTTP/1.1\r\nHost: v\r\nX-Proxy-Host: %b\r\nX-Proxy-Path: /\r\n\r\n" % asked)
        assert reply.code == "target_not_allowed"
    assert target.connections == 0


async def test_ways_to_say_which(rig):
    target = await ssh(rig)
    for name in (b"ssh", b"SSH", b"127.0.0.1:%d" % target.port):
        for field in (b"X-Proxy-Host: %b\r\n" % name, b""):
            seen = rig.send(b"CONNECT %b HTTP/1.1\r\nHost: h\r\n%b\r\n" % (name, field))
            await seen.until(lambda seen=seen: seen.data == GRANTED)
            seen.transport.close()
    seen = rig.send(b"CONNECT default HTTP/1.1\r\nHost: h\r\n\r\n")
    await seen.until(lambda: seen.data == GRANTED)
    seen.transport.close()


async def test_no_tcp_target_at_all(rig):
    rig.start("http://127.0.0.1:1")
    reply = await rig.ask(b"CONNECT default HTTP/1.1\r\nHost: h\r\n\r\n")
    assert reply.code == "target_not_allowed"


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"CONNECT a b HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad_request_line"),
        (b"CONNECT a HTTP/1.0\r\nHost: h\r\n\r\n", 400, "bad_request_line"),
        (b"CONNECT a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", 400, "connect_with_body"),
        (b"CONNECT a HTTP/1.1\r\n bad\r\n\r\n", 400, None),
        (b"CONNECT " + b"x" * 20_000, 431, "head_too_large"),
    ],
)
async def test_bad_heads(rig, head, status, code):
    await ssh(rig)
    reply = await rig.ask(head)
    assert reply.status == status
    assert code is None or reply.code == code


async def test_a_target_that_is_not_there(rig):
    target = await ssh(rig)
    target.stop_listening()
    reply = await rig.ask(CONNECT)
    assert (reply.status, reply.code) == (502, "target_refused")
    assert b'"request_id": "r1"' in reply.body


async def test_a_head_that_never_ends(rig):
    await ssh(rig, timeouts={"header": "50ms"})
    reply = await rig.answer(rig.send(CONNECT[:-2]))
    assert reply.code == "header_timeout"


@pytest.mark.parametrize("moment", ["head", "dial"])
async def test_a_visitor_that_leaves_early(rig, monkeypatch, moment):
    entered = asyncio.Event()

    async def never(*args, **kwargs):
        entered.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("agentd.tunnels.dial", never)
    await ssh(rig)
    seen = rig.send(CONNECT if moment == "dial" else CONNECT[:-2])
    await rig.settle(lambda: bool(rig.server.openings))
    if moment == "dial":
        await entered.wait()
    seen.transport.abort()
    await rig.settle(lambda: rig.server.active == 0)
    assert dict(rig.server.errors) == {"visitor_left": 1}


async def test_what_comes_before_the_connection_is_bounded(rig, monkeypatch):
    go = asyncio.Event()
    from agentd.tunnels import dial as real

    async def later(*args, **kwargs):
        await go.wait()
        await real(*args, **kwargs)

    monkeypatch.setattr("agentd.tunnels.dial", later)
    await ssh(rig, limits={"hold": 1000})
    seen = rig.send(CONNECT)
    await rig.settle(lambda: bool(rig.server.openings))
    (opening,) = rig.server.openings
    seen.transport.write(bytes(600_000))
    await rig.settle(lambda: not opening._stream.is_reading())
    assert len(opening._data) <= 1000 + 64 * 1024
    go.set()
    seen.transport.write_eof()
    await seen.until(lambda: seen.eof)
    assert bytes(seen.data) == GRANTED + bytes(600_000) + b"bye"


async def test_the_end_of_the_agent_cuts_what_is_being_opened(rig, monkeypatch):
    async def never(*args, **kwargs):
        await asyncio.Event().wait()

    monkeypatch.setattr("agentd.tunnels.dial", never)
    await ssh(rig)
    seen = rig.send(CONNECT)
    await rig.settle(lambda: bool(rig.server.openings))
    rig.server.drain()
    assert not rig.server.quiet.is_set()
    rig.server.cut()
    assert rig.server.quiet.is_set()
    await seen.until(lambda: seen.closed)
    assert seen.error is not None
