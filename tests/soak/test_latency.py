"""How long an event takes to the visitor, and idle daemons to end: printed, and bounded far above what is expected."""

from __future__ import annotations

import asyncio
import signal
import socket
import time

from tests.system.conftest import Plant
from tests.system.harness import System
from tests.system.targets import Call, Target
from tests.system.visitors import Visitor, fetch

EVENTS = 2000


async def test_events_arrive_within_50_ms(ws_plant: Plant) -> None:
    plant = ws_plant
    written: list[float] = []

    async def events(call: Call) -> None:
        await call.head("200 OK", "Content-Type: text/event-stream")
        for number in range(EVENTS):
            written.append(time.monotonic())
            await call.send(b"data: %d\n\n" % number)
            await asyncio.sleep(0.01)
        call.cut()

    async with plant.target() as target, Visitor(plant.port) as visitor:
        target.on("/events", events)
        visitor.write_head("GET", visitor.url("/events"))
        response = await visitor.head()
        times = []
        async for piece in visitor.pieces(response):
            now = time.monotonic()
            times += [now - written[len(times)]] * piece.count(b"data:")
    assert len(times) == EVENTS
    times.sort()
    p50, p99, worst = (times[int(EVENTS * part)] * 1000 for part in (0.5, 0.99, 0.9999))
    print(f"\n{EVENTS} events: p50 {p50:.2f} ms, p99 {p99:.2f} ms, worst {worst:.2f} ms")
    assert p99 < 50


async def test_g5_idle_daemons_end_within_a_second(system: System, sockets: list[socket.socket]) -> None:
    system.start_hub()
    async with Target(sockets[0]) as target:
        agent = system.start_agent("a", target.address)
        assert (await fetch(system.port, "/hello")).status == 200
        for daemon in (agent, system.hub):
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            await daemon.ended()
            taken = time.monotonic() - began
            print(f"\nidle {daemon.name} ended in {taken:.2f} s")
            assert taken < 1.0
