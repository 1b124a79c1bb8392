"""Somebody goes away in the middle: everybody else is told, nothing looks complete that is not, nothing is left behind."""

from __future__ import annotations

import asyncio
import http.client
import signal
import socket
from contextlib import AsyncExitStack

import pytest
from tests.system.conftest import Plant
from tests.system.harness import DEADLINE, System, settle_fds, until
from tests.system.relay import Relay
from tests.system.targets import Call, Target, body_of
from tests.system.visitors import Cut, Visitor, fetch

MIB = 2**20
FRAMINGS = {
    "length": ("Content-Length: 10000000",),
    "chunked": ("Transfer-Encoding: chunked",),
    "close": (),
}


class Halfway:
    """A handler that sends part of a body and then waits for its connection to end.

    Attributes:
        reached: set once the part is written.
        told: set once the connection has ended.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.reached = asyncio.Event()
        self.told = asyncio.Event()

    async def __call__(self, call: Call) -> None:
        await call.head("200 OK", *FRAMINGS[self.mode])
        part = body_of(100_000)
        await (call.chunk(part) if self.mode == "chunked" else call.send(part))
        self.reached.set()
        await call.left()
        self.told.set()
        call.cut()


@pytest.mark.parametrize(
    ("moment", "how"),
    [
        ("thinking", "reset"),
        ("downloading", "reset"),
        ("downloading", "fin"),
        ("uploading", "reset"),
        ("uploading", "fin"),
    ],
)
async def test_the_target_learns_that_the_visitor_left(ws_plant: Plant, moment: str, how: str) -> None:
    plant = ws_plant
    started, told = asyncio.Event(), asyncio.Event()

    async def think(call: Call) -> None:
        started.set()
        await call.left()
        told.set()
        call.cut()

    async def pour(call: Call) -> None:
        await call.head("200 OK", "Transfer-Encoding: chunked")
        try:
            while True:
                await call.chunk(bytes(65536))
        finally:
            told.set()

    async def sink(call: Call) -> None:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            async for _ in call.pieces():
                started.set()
        told.set()
        call.cut()

    before = {daemon: daemon.fds for daemon in plant.system.daemons}
    async with plant.target() as target, asyncio.timeout(DEADLINE):
        target.on("/x", {"thinking": think, "downloading": pour, "uploading": sink}[moment])
        async with Visitor(plant.port) as visitor:
            if moment == "uploading":
                visitor.write_head("POST", visitor.url("/x"), "Content-Length: 1000000")
                await visitor.send(bytes(200_000))
            else:
                visitor.write_head("GET", visitor.url("/x"))
            if moment == "downloading":
                await visitor.head()
            else:
                await started.wait()
            visitor.leave(reset=how == "reset")
            await told.wait()
    await settle_fds(before)


async def test_a_visitor_that_only_half_closes_gets_its_answer(ws_plant: Plant) -> None:
    plant = ws_plant
    started, go = asyncio.Event(), asyncio.Event()

    async def think(call: Call) -> None:
        started.set()
        await go.wait()
        await call.answer("200 OK", b"thought")

    async with plant.target() as target, asyncio.timeout(DEADLINE), Visitor(plant.port) as visitor:
        target.on("/think", think)
        visitor.write_head("GET", visitor.url("/think"))
        visitor.writer.write_eof()
        await started.wait()
        assert (await fetch(plant.port, "/hello")).status == 200
        go.set()
        assert (await visitor.response()).body == b"thought"
        assert await visitor.at_end()


@pytest.mark.parametrize("minor", [1, 0])
@pytest.mark.parametrize("reset", ["", "&reset=1"])
@pytest.mark.parametrize("mode", ["length", "chunked"])
async def test_the_visitor_learns_that_the_target_died(ws_plant: Plant, mode: str, reset: str, minor: int) -> None:
    plant = ws_plant
    before = {daemon: daemon.fds for daemon in plant.system.daemons}
    async with plant.target(), asyncio.timeout(DEADLINE):
        for part in (100_000, 0):
            async with Visitor(plant.port) as visitor:
                visitor.write_head("GET", visitor.url(f"/cut?mode={mode}&part={part}{reset}"), minor=minor)
                try:
                    response = await visitor.response()
                except Cut as cut:
                    assert cut.response.status == 200
                else:
                    assert response.status == 502, "a cut response looked complete"
    await settle_fds(before)


@pytest.mark.parametrize("mode", ["length", "chunked", "close"])
async def test_the_standard_library_sees_the_cut(ws_plant: Plant, mode: str) -> None:
    plant = ws_plant

    def visit() -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", plant.port, timeout=DEADLINE)
        try:
            connection.request("GET", f"/api/v1/proxy/a/cut?mode={mode}&reset=1")
            answer = connection.getresponse()
            if answer.status != 200:
                assert answer.status == 502
                raise http.client.IncompleteRead(answer.read())
            return answer.read()
        finally:
            connection.close()

    async with plant.target():
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            await asyncio.to_thread(visit)


@pytest.mark.parametrize("how", ["kill", "reset", "fin"])
async def test_a_cut_carrier_is_told_to_both_ends(system: System, sockets: list[socket.socket], how: str) -> None:
    """The agent killed, or its carrier cut on the way, in the middle of bodies of every framing both ways."""
    hub = system.start_hub()
    fds = hub.fds
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(2 * DEADLINE))
        target = await stack.enter_async_context(Target(sockets[0]))
        relay = stack.enter_context(Relay(system.port))
        agent = system.start_agent("a", target.address, url=f"ws://127.0.0.1:{relay.port}")
        agent_fds = agent.fds
        halves = {mode: Halfway(mode) for mode in FRAMINGS}
        visits = []
        for mode, half in halves.items():
            target.on(f"/{mode}", half)
            for minor in (1, 0):
                visitor = await stack.enter_async_context(Visitor(system.port))
                visitor.write_head("GET", visitor.url(f"/{mode}"), minor=minor)
                visits.append((visitor, await visitor.head()))
        uploader = await stack.enter_async_context(Visitor(system.port))
        uploader.write_head("POST", uploader.url("/upload"), "Content-Length: 1000000")
        await uploader.send(bytes(100_000))
        await until(lambda: any(call.path == "/upload" for call in target.calls), "the upload has begun")
        for half in halves.values():
            await half.reached.wait()

        if how == "kill":
            agent.signal(signal.SIGKILL)
        else:
            relay.cut(reset=how == "reset")

        for visitor, response in visits:
            with pytest.raises(Cut):
                async for _ in visitor.pieces(response):
                    pass
        assert (await uploader.response()).status in (502, 503)
        for half in halves.values():
            await half.told.wait()
        await until(lambda: "/upload" in target.aborted, "the target learns that the upload is over")
        if how == "kill":
            await until(lambda: system.detached("a"), "the hub has noticed")
            assert (await fetch(system.port, "/hello")).status == 503
        else:
            await asyncio.to_thread(system.wait_attached, "a", 2)
            assert (await fetch(system.port, "/hello")).status == 200
    # Target and relay are gone by now, and with them whatever connections were idle.
    await settle_fds({hub: fds} if how == "kill" else {hub: fds, agent: agent_fds})


async def test_nothing_is_left_after_many_unfinished_requests(ws_plant: Plant) -> None:
    plant = ws_plant
    async with plant.target() as target, asyncio.timeout(2 * DEADLINE):
        for mode in FRAMINGS:
            target.on(f"/half-{mode}", Halfway(mode))
        assert (await fetch(plant.port, "/hello")).status == 200
        before = {daemon: daemon.fds for daemon in plant.system.daemons}

        async def leave(number: int) -> None:
            mode = list(FRAMINGS)[number % 3]
            async with Visitor(plant.port) as visitor:
                match number % 4:
                    case 0:
                        visitor.write_head("GET", visitor.url(f"/half-{mode}"))
                        await visitor.head()
                    case 1:
                        visitor.write_head("POST", visitor.url("/upload"), "Content-Length: 100000")
                        await visitor.send(bytes(10_000))
                    case 2:
                        visitor.write_head("GET", visitor.url(f"/cut?mode={mode}"))
                    case 3:
                        visitor.writer.write(b"GET /api/v1/proxy/a/hel")
                # Who waits for an answer and only sends FIN may well be there: that one is found when it comes.
                visitor.leave(reset=number % 4 == 0 or number % 8 < 4)

        for _ in range(5):
            await asyncio.gather(*(leave(number) for number in range(40)))
        assert (await fetch(plant.port, "/hello")).status == 200
    # Idle connections to the target end with it.
    await settle_fds(before)
