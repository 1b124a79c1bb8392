"""SIGTERM: what is open ends well, nothing new is begun, the exit code is 0."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from contextlib import AsyncExitStack

import pytest
from tests.system.harness import DEADLINE, POLL, System, until
from tests.system.targets import Call, Target, WebSocketTarget, body_of
from tests.system.visitors import Visitor, fetch
from websockets.asyncio.client import connect


class Gate:
    """A handler whose response is half written until it is let go on.

    Attributes:
        begun: requests that have got the first half.
    """

    def __init__(self) -> None:
        self.begun = 0
        self.go = asyncio.Event()

    async def __call__(self, call: Call) -> None:
        await call.body()
        if call.argument("early"):
            await call.head("200 OK", "Content-Length: 200000")
            await call.send(body_of(200_000)[:100_000])
        self.begun += 1
        await self.go.wait()
        if call.argument("early"):
            await call.send(body_of(200_000)[100_000:])
        else:
            await call.answer("200 OK", body_of(200_000))


async def _open(stack: AsyncExitStack, system: System, gate: Gate) -> list[Visitor]:
    """Requests that wait in the target: for their head, for the rest of their body, and after an upload."""
    visitors = []
    for method, path, body in (("GET", "/gate", b""), ("GET", "/gate?early=1", b""), ("POST", "/gate", bytes(100_000))):
        visitor = await stack.enter_async_context(Visitor(system.port))
        visitor.write_head(method, visitor.url(path), f"Content-Length: {len(body)}")
        await visitor.send(body)
        visitors.append(visitor)
    await until(lambda: gate.begun == len(visitors), "all requests wait in the target")
    return visitors


async def _finish(visitors: list[Visitor], gate: Gate) -> None:
    gate.go.set()
    for visitor in visitors:
        answer = await visitor.response()
        assert (answer.status, answer.body) == (200, body_of(200_000))


async def test_agent_drain(system: System, sockets: list[socket.socket]) -> None:
    system.start_hub()
    gate = Gate()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(2 * DEADLINE))
        target = await stack.enter_async_context(Target(sockets[0]))
        target.on("/gate", gate)
        agent = system.start_agent("a", target.address)
        visitors = await _open(stack, system, gate)
        agent.signal(signal.SIGTERM)
        answer = await fetch(system.port, "/hello")
        while answer.status == 200:
            # The signal is on its way to the agent.
            await asyncio.sleep(POLL)
            answer = await fetch(system.port, "/hello")
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert agent.running
        await _finish(visitors, gate)
        await agent.ended()
        assert (await fetch(system.port, "/hello")).status == 503


async def test_agent_drain_beside_another_agent(system: System, sockets: list[socket.socket]) -> None:
    system.start_hub()
    gate = Gate()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(2 * DEADLINE))
        targets = [await stack.enter_async_context(Target(sock)) for sock in sockets[:2]]
        targets[0].on("/gate", gate)
        agent = system.start_agent("a", targets[0].address)
        visitors = await _open(stack, system, gate)
        system.start_agent("a", targets[1].address)
        agent.signal(signal.SIGTERM)
        before = len(targets[1].calls)
        for _ in range(50):
            assert (await fetch(system.port, "/hello")).status == 200
        assert len(targets[1].calls) - before > 0
        await _finish(visitors, gate)
        await agent.ended()


async def test_hub_drain(system: System, sockets: list[socket.socket]) -> None:
    hub = system.start_hub()
    gate = Gate()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(2 * DEADLINE))
        target = await stack.enter_async_context(Target(sockets[0]))
        target.on("/gate", gate)
        agent = system.start_agent("a", target.address)
        visitors = await _open(stack, system, gate)
        idle = await stack.enter_async_context(Visitor(system.port))
        assert (await idle.get("/hello")).status == 200
        hub.signal(signal.SIGTERM)
        assert await idle.at_end(), "idle connections are closed"

        async def refused() -> bool:
            try:
                return (await fetch(system.port, "/hello")).status == 503
            except ConnectionError:
                return True

        while not await refused():
            await asyncio.sleep(POLL)
        assert hub.running
        await _finish(visitors, gate)
        for visitor in visitors:
            assert await visitor.at_end()
        await hub.ended()
        assert agent.running, "agents wait for the hub"


@pytest.mark.parametrize("who", ["hub", "agent"])
async def test_drain_ends_upgraded_connections(system: System, sockets: list[socket.socket], who: str) -> None:
    """A second signal ends what has no end of its own."""
    hub = system.start_hub()
    async with WebSocketTarget(sockets[0]) as target, asyncio.timeout(2 * DEADLINE):
        agent = system.start_agent("a", target.address)
        url = f"ws://127.0.0.1:{system.port}/api/v1/proxy/a/echo"
        async with connect(url, compression=None, proxy=None) as visitor:
            await visitor.send("x")
            assert await visitor.recv() == "x"
            daemon = hub if who == "hub" else agent
            daemon.signal(signal.SIGTERM)
            await until(lambda: target.open == 0 or "shutting down" in daemon.log or "drain" in daemon.log, "it drains")
            daemon.signal(signal.SIGTERM)
            await visitor.wait_closed()
            await daemon.ended()
            await until(lambda: target.open == 0, "the target learns")


async def test_idle_exit(system: System, sockets: list[socket.socket]) -> None:
    system.start_hub()
    async with Target(sockets[0]) as target:
        agent = system.start_agent("a", target.address)
        assert (await fetch(system.port, "/hello")).status == 200
        for daemon in (agent, system.hub):
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            await daemon.ended()
            print(f"\nidle {daemon.name} ended in {time.monotonic() - began:.2f} s")


async def test_an_agent_without_a_hub_ends_at_once(system: System) -> None:
    agent = system.start_agent("a", "127.0.0.1:1", wait=False)
    await until(lambda: agent.log, "the agent has said something")
    agent.signal(signal.SIGTERM)
    await agent.ended()
