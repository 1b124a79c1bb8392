"""The loop's pulse: how late it runs, how much it holds, how many files are open. One timer, ten times a second."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hubd.state import Hub

INTERVAL = 0.1
"""Seconds between beats: the grain at which a late loop shows; ten timers a second cost nothing."""
LOOKS = 5
"""Beats between counts of buffers and descriptors, which cost a microsecond for each exchange in progress."""
BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Upper bounds of the histogram, in seconds."""


def open_files() -> int:
    """Descriptors this process has open; 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        size = os.stat("/proc/self/fd").st_size
        # Since Linux 6.2 the size is the count; before, it is 0.
        return size or len(os.listdir("/proc/self/fd")) - 1
    return 0


class Pulse:
    """Measures.

    Args:
        hub: whose buffers and descriptors are counted.
        clock: monotonic seconds; the loop's by default.

    Attributes:
        lag: seconds by which the last beat was late.
        worst: the same, the most since somebody asked by `take_worst`.
        counts: beats for each of `BUCKETS`, and those above all.
        total: seconds of lag together.
    """

    def __init__(self, hub: Hub, clock: Callable[[], float] | None = None) -> None:
        self._hub = hub
        self._clock = clock or hub.loop.time
        self._beats = 0
        self.lag = self.worst = self.total = 0.0
        self.counts = [0] * (len(BUCKETS) + 1)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            due = self._clock() + INTERVAL
            await asyncio.sleep(INTERVAL)
            self.beat(self._clock() - due)

    def beat(self, lag: float) -> None:
        """Note one beat, and count what is held every few.

        Args:
            lag: seconds it was late.
        """
        lag = max(0.0, lag)
        self.lag = lag
        self.worst = max(self.worst, lag)
        self.total += lag
        self.counts[sum(lag > bound for bound in BUCKETS)] += 1
        self._beats += 1
        if self._beats % LOOKS == 0:
            hub = self._hub
            hub.budget.looked(open_files())
            hub.on_budget()
            hub.pressure.look()

    def take_worst(self) -> float:
        """The worst lag since the last call."""
        worst, self.worst = self.worst, 0.0
        return worst
