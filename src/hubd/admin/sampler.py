"""Samples for StreamStats: taken once an interval, encoded once, and shared by everybody who asks for the same.

A row that did not change costs a comparison. A client that reads in time is sent the very bytes the others are sent; one
that was late gets what changed since it last read, put together for it. A sample is taken in slices, between which
visitors are served: a thousand rows at once would hold them all up for ten milliseconds.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

from hubd.admin.names import stamp
from hubd.admin.stats_rows import Values, encode
from tunnelpb.hub.v1 import stats_pb2 as pb

if TYPE_CHECKING:
    from hubd.admin.stats_rows import Scope

# Names of rows that have gone, kept for clients that are late; whoever missed more gets all rows anew.
MAX_GONE = 10_000
# Rows between two looks at visitors: a quarter of a millisecond.
SLICE = 32
# Seconds between slices, so that a busy loop gets through what has come meanwhile.
PAUSE = 0.004
# Part of an interval that a sample may take, however many rows there are.
SHARE = 0.25


async def sliced(rows: Iterator[tuple[str, Values]], pause: float = 0.0) -> AsyncIterator[tuple[str, Values]]:
    """Rows, with other work done between slices of them."""
    for count, row in enumerate(rows, 1):
        yield row
        if not count % SLICE:
            await asyncio.sleep(pause)


class Sampler:
    """Samples of one scope at one interval.

    Args:
        scope: what rows.
        interval: seconds.

    Attributes:
        tick: number of the last sample.
        watchers: how many read it; it runs while there is one.
    """

    def __init__(self, scope: Scope, interval: float) -> None:
        self._scope = scope
        self._interval = interval
        self.tick = 0
        self.watchers = 0
        self._values: dict[str, Values] = {}
        self._encoded: dict[str, bytes] = {}
        self._changed: dict[str, int] = {}
        self._gone: deque[tuple[int, str]] = deque(maxlen=MAX_GONE)
        self._time = b""
        self._news = b""
        self._full: bytes | None = None
        self._bell: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    def enter(self) -> None:
        """One more reads it. The first sample is there after the first bell."""
        self.watchers += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def leave(self) -> bool:
        """One fewer; returns whether that was the last."""
        self.watchers -= 1
        if not self.watchers and self._task is not None:
            self._task.cancel()
            self._task = None
        return not self.watchers

    def bell(self) -> asyncio.Future[None]:
        """Done with the next sample; shared."""
        return self._bell

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self.sample()
            # A loop that was late does not catch up: the sample after it is a whole interval away.
            due = max(due + self._interval, loop.time())
            await asyncio.sleep(due - loop.time())

    async def sample(self) -> None:
        """Take one. It is there all at once, at the end."""
        tick = self.tick + 1
        before = self._values
        rows: dict[str, Values] = {}
        pieces: dict[str, bytes] = {}
        # The first one is waited for.
        pause = min(PAUSE, SHARE * self._interval * SLICE / len(before)) if before else 0.0
        async for name, values in sliced(self._scope.rows(), pause):
            rows[name] = values
            if before.get(name) != values:
                # A message with one row is that row with its tag: such pieces join to a whole.
                pieces[name] = pb.StreamStatsResponse(stats=[encode(name, values)]).SerializeToString()
        gone = [name for name in before if name not in rows]
        for name in gone:
            del self._encoded[name], self._changed[name]
            self._gone.append((tick, name))
        self._encoded.update(pieces)
        self._changed.update(dict.fromkeys(pieces, tick))
        self.tick = tick
        self._values = rows
        self._time = pb.StreamStatsResponse(time=stamp(time.time())).SerializeToString()
        self._news = b"".join([self._time, *pieces.values(), _removed(gone)])
        self._full = None
        bell, self._bell = self._bell, asyncio.get_running_loop().create_future()
        bell.set_result(None)

    def since(self, seen: int) -> bytes:
        """The answer for a client that has seen up to a sample; 0 is none."""
        if seen == self.tick - 1 and seen:
            return self._news
        lost = len(self._gone) == MAX_GONE and self._gone[0][0] > seen
        if not seen or lost:
            if self._full is None:
                full = pb.StreamStatsResponse(full=True).SerializeToString()
                self._full = b"".join([self._time, *self._encoded.values(), full])
            return self._full
        rows = [self._encoded[name] for name, tick in self._changed.items() if tick > seen]
        # A row that went and came again is there.
        gone = [name for tick, name in self._gone if tick > seen and name not in self._encoded]
        skipped = pb.StreamStatsResponse(skipped_intervals=self.tick - seen - 1).SerializeToString()
        return b"".join([self._time, *rows, _removed(gone), skipped])


def _removed(names: list[str]) -> bytes:
    return pb.StreamStatsResponse(removed=names).SerializeToString() if names else b""


class Samplers:
    """All samplers that run, by what they sample."""

    def __init__(self) -> None:
        self._running: dict[tuple[int, str, float], Sampler] = {}

    def enter(self, scope: Scope, interval: float) -> tuple[Sampler, Callable[[], None]]:
        """The sampler for a client, and what to call when the client goes."""
        key = (*scope.key, interval)
        sampler = self._running.get(key)
        if sampler is None:
            sampler = self._running[key] = Sampler(scope, interval)
        sampler.enter()

        def leave() -> None:
            if sampler.leave():
                self._running.pop(key, None)

        return sampler, leave
