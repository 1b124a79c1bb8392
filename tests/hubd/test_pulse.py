"""The loop's lag, and what is counted with it (row D6)."""

from __future__ import annotations

import asyncio
import os

from hubd import pulse
from hubd.pulse import BUCKETS, Pulse, open_files


async def test_lag_is_sorted_into_buckets(start):
    beat = Pulse((await start()).hub)
    for lag in (-0.1, 0.0005, 0.003, 0.02, 0.02, 3.0):
        beat.beat(lag)
    assert sum(beat.counts) == 6 and beat.counts[0] == 2 and beat.counts[-1] == 1
    assert beat.counts[BUCKETS.index(0.025)] == 2
    assert beat.lag == 3.0 and beat.take_worst() == 3.0 and beat.take_worst() == 0.0


async def test_a_late_loop_shows(start, monkeypatch):
    monkeypatch.setattr(pulse, "INTERVAL", 0.0)
    now = [0.0]

    def clock() -> float:
        now[0] += 0.25
        return now[0]

    beat = Pulse((await start()).hub, clock)
    running = asyncio.ensure_future(beat.run())
    while not beat.counts[BUCKETS.index(0.25)]:
        await asyncio.sleep(0)
    running.cancel()


def test_d6_descriptors_are_counted():
    before = open_files()
    numbers = [os.open("/dev/null", os.O_RDONLY) for _ in range(10)]
    try:
        assert open_files() == before + 10
    finally:
        for number in numbers:
            os.close(number)


async def test_d6_descriptors_of_others_stop_the_accepting(start):
    bench = await start()
    budget = bench.hub.budget
    budget.looked(budget.limit)
    bench.hub.on_budget()
    assert not bench.app.doors.accepting and bench.hub.stats.accept_pauses == 1
    for _ in range(pulse.LOOKS):
        bench.hub.pulse.beat(0.0)
    await bench.wait(lambda: bench.app.doors.accepting)
    assert 0 < budget.open < 500
