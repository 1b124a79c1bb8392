"""Agents that attach, share an id and die, with the Go programs on either side."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable

import aiohttp
import psutil
import pytest

from conformance import gobuild
from conformance import target as targets
from conformance.children import Child
from conformance.daemons import Hub, start_agent, start_hub
from conformance.target import Target

MIXED = [("ours", "go"), ("go", "ours"), ("ours", "ours")]


@pytest.fixture(params=MIXED, ids=lambda pair: f"hub_agent_{pair[0]}_{pair[1]}")
def kinds(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Return whose the hub and the agents are."""
    pair: tuple[str, str] = request.param
    return pair


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with targets.running() as running:
        yield running


@pytest.fixture
async def visitor() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@pytest.fixture
async def hub(kinds: tuple[str, str]) -> AsyncIterator[Hub]:
    started = await start_hub(kinds[0])
    yield started
    await started.child.stop()


async def _until(look: Callable[[], object]) -> None:
    """Wait until look gives something true; for what other processes do and never tell."""
    async with asyncio.timeout(30):
        while not look():
            await asyncio.sleep(0.02)


async def _status(visitor: aiohttp.ClientSession, url: str) -> int:
    async with visitor.get(url) as response:
        await response.read()
        return response.status


async def _until_steady(visitor: aiohttp.ClientSession, url: str, count: int = 20) -> None:
    """Wait until so many requests in a row succeed."""
    async with asyncio.timeout(30):
        row = 0
        while row < count:
            row = row + 1 if await _status(visitor, url) == 200 else 0


def _towards(agent: Child, target: Target) -> int:
    """Return how many connections the agent has to the target."""
    port = int(target.address.rpartition(":")[2])
    connections = psutil.Process(agent.process.pid).net_connections("tcp4")
    return sum(1 for each in connections if each.raddr and each.raddr.port == port and each.status == "ESTABLISHED")


async def test_s_agents_of_one_id_share_its_requests(
    kinds: tuple[str, str], hub: Hub, target: Target, visitor: aiohttp.ClientSession
) -> None:
    agents = [await start_agent(kinds[1], hub, "pool", [target.address]) for _ in range(3)]
    try:
        url = hub.url("pool", "/hold", target.address)
        asked = [asyncio.ensure_future(_status(visitor, url)) for _ in range(12)]
        await target.held(12)
        used = [_towards(agent, target) for agent in agents]
        assert sum(used) == 12
        # Their hub picks at random: that all twelve fall on one of three happens once in 180,000 runs.
        assert sum(1 for count in used if count) >= (2 if kinds[0] == "go" else 3)
        target.release.set()
        assert await asyncio.gather(*asked) == [200] * 12
        for agent in agents[:2]:
            agent.kill()
            await agent.ended()
            await _until_steady(visitor, hub.url("pool", "/hello", target.address))
    finally:
        for agent in agents:
            await agent.stop()


async def test_s_a_request_under_way_when_the_agent_dies(
    kinds: tuple[str, str], hub: Hub, target: Target, visitor: aiohttp.ClientSession
) -> None:
    async with await start_agent(kinds[1], hub, "one", [target.address]) as agent:
        asked = asyncio.ensure_future(_status(visitor, hub.url("one", "/hold", target.address)))
        await target.held(1)
        agent.kill()
        assert await asked in ((400,) if kinds[0] == "go" else (502, 503))
        refused = (400,) if kinds[0] == "go" else (404, 503)
        async with asyncio.timeout(20):
            while await _status(visitor, hub.url("one", "/hello", target.address)) not in refused:
                pass


async def test_s_another_agent_takes_over_the_id(
    kinds: tuple[str, str], hub: Hub, target: Target, visitor: aiohttp.ClientSession
) -> None:
    for _ in range(3):
        async with await start_agent(kinds[1], hub, "one", [target.address]):
            await _until_steady(visitor, hub.url("one", "/hello", target.address), 3)


async def test_s_a_target_that_refuses(
    kinds: tuple[str, str], hub: Hub, target: Target, visitor: aiohttp.ClientSession
) -> None:
    nobody = "127.0.0.1:1"
    async with await start_agent(kinds[1], hub, "one", [target.address, nobody]):
        assert await _status(visitor, hub.url("one", "/hello", nobody)) == 502
        assert await _status(visitor, hub.url("one", "/hello", target.address)) == 200


async def test_s_their_agent_gets_its_first_stream_right_after_the_upgrade(
    target: Target, visitor: aiohttp.ClientSession
) -> None:
    """Their agent loses what arrives in one read with the 101, so the hub must not send yamux frames along with it."""
    hub = await start_hub("ours")
    program = gobuild.programs()["seedagent"]

    async def first(agent_id: str) -> None:
        url = hub.url(agent_id, "/hello", target.address)
        status = 404
        while status in (404, 503):
            status = await _status(visitor, url)
        assert status == 200

    try:
        for number in range(15):
            asking = asyncio.ensure_future(first(f"agent-{number}"))
            argv = [program, "-hub", hub.address, "-id", f"agent-{number}"]
            async with await Child.start("Go agent", argv):
                await asyncio.wait_for(asking, 15)
    finally:
        await hub.child.stop()


async def test_s_their_agent_is_told_to_stop(target: Target, visitor: aiohttp.ClientSession) -> None:
    hub = await start_hub("ours")
    try:
        agent = await start_agent("go", hub, "one", [target.address])
        await _until_steady(visitor, hub.url("one", "/hello", target.address), 1)
        agent.kill(signal.SIGTERM)
        assert await agent.ended() == 0
        async with asyncio.timeout(20):
            while await _status(visitor, hub.url("one", "/hello", target.address)) not in (404, 503):
                pass
        await agent.stop()
    finally:
        await hub.child.stop()


async def test_s_our_agent_comes_back_to_their_hub(target: Target, visitor: aiohttp.ClientSession) -> None:
    """Their agent never reconnects. Ours does, on the same address once a hub is there again."""
    first = await start_hub("go")
    agent = await start_agent("ours", first, "one", [target.address])
    try:
        await _until_steady(visitor, first.url("one", "/hello", target.address), 1)
        await first.child.stop()
        argv = [gobuild.programs()["seedhub"], "-addr", f"127.0.0.1:{first.port}"]
        async with await Child.start("Go hub", argv):
            attached = len([line for line in agent.lines if "attached" in line])
            await _until(lambda: len([line for line in agent.lines if "attached" in line]) > attached)
            await _until_steady(visitor, first.url("one", "/hello", target.address), 3)
    finally:
        await agent.stop()
        await first.child.stop()
