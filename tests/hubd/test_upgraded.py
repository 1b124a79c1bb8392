"""Upgrades through the hub: WebSocket visitors, and bytes that must not pass too early (A25)."""

from __future__ import annotations

import json

import pytest

P = "/api/v1/proxy/demo"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ASK = (
    f"GET {P}/ws HTTP/1.1\r\nHost: hub\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
).encode()
YES = (
    b"HTTP/1.1 101 Whatever\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    b"Sec-WebSocket-Protocol: chat\r\nTunnel-Error: none\r\n\r\n"
)


async def switched(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(ASK)
    stream = await agent.stream()
    agent.raw = True
    stream.raw.clear()
    stream.transport.write(YES)
    reply = await visitor.head()
    assert reply.status == 101
    return agent, visitor, stream, reply


async def test_websocket_visitors(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(ASK)
    stream = await agent.stream()
    assert stream.field("upgrade") == ["websocket"] and stream.field("connection") == ["Upgrade"]
    assert stream.field("sec-websocket-key") == [KEY]
    agent.raw = True
    stream.raw.clear()
    stream.transport.write(YES + b"hello")
    reply = await visitor.head()
    assert reply.head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert (reply.one("upgrade"), reply.one("connection")) == ("websocket", "Upgrade")
    assert reply.one("sec-websocket-protocol") == "chat" and "tunnel-error" not in reply.fields
    assert await visitor.reader.readexactly(5) == b"hello"
    await visitor.send(b"to the agent")
    await bench.wait(lambda: bytes(stream.raw) == b"to the agent")
    stream.transport.write_eof()
    assert await visitor.rest() == b""
    visitor.writer.write_eof()
    await stream.gone()
    assert stream.error is None
    assert bench.hub.stats.upgrades == 1


async def test_a25_bytes_behind_the_request_wait_for_the_101(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(ASK + b"early")
    stream = await agent.stream()
    await bench.wait(lambda: bench.front.reader.buffered == 5)
    assert stream.raw.endswith(b"\r\n\r\n")
    agent.raw = True
    stream.raw.clear()
    stream.transport.write(YES)
    assert (await visitor.head()).status == 101
    await bench.wait(lambda: bytes(stream.raw) == b"early")


async def test_a25_bytes_are_held_up_to_a_limit(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    size = 8 * 1024 * 1024
    visitor.writer.write(ASK + b"e" * size)
    stream = await agent.stream()
    await bench.wait(lambda: bench.front.read_paused)
    assert bench.front.reader.buffered < 512 * 1024
    agent.raw = True
    stream.raw.clear()
    stream.transport.write(YES)
    assert (await visitor.head()).status == 101
    await bench.wait(lambda: len(stream.raw) == size)


async def test_a25_bytes_are_discarded_on_any_other_status(bench):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"
    agent = await bench.agent(answer=answer)
    visitor = await bench.visitor()
    smuggled = f"GET {P}/smuggled HTTP/1.1\r\nHost: hub\r\n\r\n".encode()
    await visitor.send(ASK + smuggled)
    stream = await agent.stream()
    if not stream.complete:
        stream.reply(answer)
    reply = await visitor.reply()
    assert (reply.status, reply.body, reply.one("connection")) == (200, b"no", "close")
    assert await visitor.rest() == b""
    assert len(agent.streams) == 1


async def test_c14_another_protocol_than_asked_for(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(ASK)
    stream = await agent.stream()
    stream.transport.write(b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
    reply = await visitor.reply()
    assert (reply.status, reply.one("connection")) == (502, "close")
    await stream.gone()
    assert stream.error is not None


@pytest.mark.parametrize(
    ("line", "status"),
    [("Sec-WebSocket-Version: 12", 426), ("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short", 400)],
)
async def test_a26_bad_websocket_handshakes(bench, line, status):
    visitor = await bench.visitor()
    data = f"GET {P}/ws HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{line}\r\n\r\n".encode()
    reply = await visitor.ask(data)
    assert (reply.status, reply.one("connection")) == (status, "close")
    if status == 426:
        assert reply.one("sec-websocket-version") == "13"
    json.loads(reply.body)


async def test_a_visitor_that_resets_resets_the_stream(bench):
    _, visitor, stream, _ = await switched(bench)
    visitor.reset()
    await stream.gone()
    assert stream.error is not None


async def test_an_agent_that_is_lost_cuts_the_visitor(bench):
    agent, visitor, _, _ = await switched(bench)
    agent.session.transport.abort()
    await visitor.rest()
    await bench.wait(lambda: not bench.hub.tunnels)


async def test_a_slow_visitor_pauses_the_stream(bench):
    _, visitor, stream, _ = await switched(bench)
    visitor.writer.transport.pause_reading()
    size = 32 * 1024 * 1024
    stream.transport.write(b"x" * size)
    (tunnel,) = bench.hub.tunnels
    await bench.wait(lambda: tunnel.left.full)
    assert tunnel.left.transport.get_write_buffer_size() < 1024 * 1024
    visitor.writer.transport.resume_reading()
    assert len(await visitor.reader.readexactly(size)) == size
