"""StatsService: counters, once or again and again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from hubd.admin.endless import LIFE_SECONDS, Endings, leaving
from hubd.admin.gate import Context
from hubd.admin.names import seconds, stamp
from hubd.admin.sampler import Samplers, sliced
from hubd.admin.stats_rows import Scope, encode
from tunnelpb.hub.v1 import stats_pb2 as pb
from tunnelpb.hub.v1.stats_pb2_grpc import StatsServiceServicer

if TYPE_CHECKING:
    from hubd.state import Hub

# More often than four times a second no eye sees, and every sample costs.
SHORTEST = 0.25
LONGEST = 60.0
# Intervals are told apart by steps of this, so that clients with nearly the same share one sampler.
GRAIN = 0.05


class StatsService(StatsServiceServicer):
    """Counters.

    Args:
        hub: shared state.
        endings: ends streams.
    """

    def __init__(self, hub: Hub, endings: Endings) -> None:
        self._hub = hub
        self._endings = endings
        self._samplers = Samplers()

    async def GetStats(self, request: pb.GetStatsRequest, context: Context) -> pb.GetStatsResponse:
        """The rows of one scope."""
        scope = Scope(self._hub, request.scope, request.parent)
        rows = [encode(name, values) async for name, values in sliced(scope.rows())]
        return pb.GetStatsResponse(time=stamp(time.time()), stats=rows)

    async def StreamStats(
        self, request: pb.StreamStatsRequest, context: Context
    ) -> AsyncIterator[pb.StreamStatsResponse]:
        """All rows, then at every interval what changed; the latest, however slowly the client reads."""
        interval = seconds(request, "interval", 1.0, least=SHORTEST, most=LONGEST)
        scope = Scope(self._hub, request.scope, request.parent)
        loop, ending = asyncio.get_running_loop(), self._endings.current()
        end = loop.time() + random.uniform(*LIFE_SECONDS)
        sampler, leave = self._samplers.enter(scope, round(interval / GRAIN) * GRAIN)
        try:
            seen = 0
            while True:
                # Under a slow client the next sample may be long past, and then there is no need to wait.
                while sampler.tick == seen:
                    left = end - loop.time()
                    if ending.done() or left <= 0:
                        raise leaving()
                    await asyncio.wait({sampler.bell(), ending}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                answer, seen = sampler.since(seen), sampler.tick
                # Encoded already, for everybody; the gate lets bytes through as they are.
                yield answer  # type: ignore[misc]
        finally:
            leave()
