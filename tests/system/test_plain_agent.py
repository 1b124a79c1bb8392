"""An agent of another make: raw yamux behind a WebSocket handshake, no instance id, nothing of our own."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tests.system.agents import PlainAgent
from tests.system.harness import DEADLINE, System, until
from tests.system.targets import Call, Target, digest_of
from tests.system.visitors import Cut, Visitor, fetch

MIB = 2**20


async def test_requests_of_every_shape(system: System, sockets: list[socket.socket]) -> None:
    system.start_hub()
    async with Target(sockets[0]) as target, PlainAgent(system.port, "a", target.address) as agent:
        assert "sec-websocket-protocol" not in agent.answer.lower()
        assert "tunnel-hub" in agent.answer.lower()
        assert (await fetch(system.port, "/hello", target.address)).body == b"Hello, there\n"
        seen = (await fetch(system.port, "/echo%20x/%2F?q=%41", target.address)).status
        assert seen == 404
        # Decoded, since these agents encode it again.
        assert b"\r\nX-Proxy-Path: /echo x//\r\n" in agent.heads[-1]
        assert agent.heads[-1].startswith(b"GET /api/v1/proxy/a/echo%20x/%2F?q=%41 HTTP/1.1\r\n")
        async with Visitor(system.port) as visitor:
            visitor.write_head("GET", visitor.url(f"/download?size={4 * MIB}"))
            assert (await visitor.digest()).digest == digest_of(4 * MIB)
            answer = await visitor.upload(visitor.url("/upload"), 4 * MIB, chunked=True)
            assert answer.body.decode() == f"{4 * MIB} {digest_of(4 * MIB)}"
        await until(lambda: agent.session.num_streams == 0, "all streams are over")


@pytest.mark.parametrize("moment", ["thinking", "download", "upload"])
async def test_no_stream_is_left_when_the_visitor_leaves(
    system: System, sockets: list[socket.socket], moment: str
) -> None:
    system.start_hub()
    started = asyncio.Event()

    async def think(call: Call) -> None:
        started.set()
        await call.left()

    async def sink(call: Call) -> None:
        async for _ in call.pieces():
            started.set()

    async def pour(call: Call) -> None:
        await call.head("200 OK", "Transfer-Encoding: chunked")
        while True:
            await call.chunk(bytes(65536))

    async with Target(sockets[0]) as target, PlainAgent(system.port, "a", target.address) as agent:
        target.on("/thinking", think)
        target.on("/download", pour)
        target.on("/upload", sink)
        async with asyncio.timeout(DEADLINE), Visitor(system.port) as visitor:
            fields = ("Content-Length: 1000000",) if moment == "upload" else ()
            visitor.write_head("POST" if fields else "GET", visitor.url(f"/{moment}"), *fields)
            if fields:
                await visitor.send(bytes(1000))
            if moment == "download":
                await visitor.head()
                await visitor.reader.readexactly(100_000)
            else:
                await started.wait()
            assert agent.session.num_streams == 1
            visitor.leave()
            await until(lambda: agent.session.num_streams == 0, "the stream is over")
            await until(lambda: target.open == 0, "the target's connection is over")
        assert not agent.session.is_closed


async def test_a_reset_stream_never_looks_complete(system: System, sockets: list[socket.socket]) -> None:
    system.start_hub()

    async def wait(call: Call) -> None:
        await call.head("200 OK", "Transfer-Encoding: chunked")
        await call.chunk(b"first")
        await call.left()

    async with Target(sockets[0]) as target, PlainAgent(system.port, "a", target.address) as agent:
        target.on("/wait", wait)
        async with asyncio.timeout(DEADLINE), Visitor(system.port) as visitor:
            visitor.write_head("GET", visitor.url("/wait"))
            response = await visitor.head()
            pieces = visitor.pieces(response)
            assert await anext(pieces) == b"first"
            agent.session.abort()
            with pytest.raises(Cut):
                await anext(pieces)
        assert (await fetch(system.port, "/hello")).status == 503
