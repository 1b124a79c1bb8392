"""A visitor that closes while nothing is being sent looks like one that waits; it must be found all the same."""

from __future__ import annotations

import time

from tests.system.conftest import Plant
from tests.system.harness import settle_fds, until
from tests.system.targets import Call
from tests.system.visitors import Visitor


async def test_a_closed_visitor_of_a_quiet_response_is_found(ws_plant: Plant) -> None:
    plant = ws_plant
    before = {daemon: daemon.fds for daemon in plant.system.daemons}

    async def quiet(call: Call) -> None:
        await call.head("200 OK", "Content-Type: text/event-stream")
        await call.send(b"data: 1\n\n")
        await call.left()
        call.cut()

    async with plant.target() as target:
        target.on("/quiet", quiet)
        for _ in range(20):
            async with Visitor(plant.port) as visitor:
                visitor.write_head("GET", visitor.url("/quiet"))
                await visitor.head()
        began = time.monotonic()
        # Their kernel keeps what is closed but not finished for a minute, and only then says that nobody is there.
        await until(lambda: target.open == 0, "the target learns that nobody listens", 100)
        print(f"\nfound after {time.monotonic() - began:.0f} s")
    await settle_fds(before)
