"""How late the loop was lately: a percentile of the pulse's histogram over the last minute."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from hubd.pulse import BUCKETS

# Shorter shows nothing of a hiccup, longer nothing of its end.
LAG_SECONDS = 60.0


class Lags:
    """How late the loop was in the last minute, from the pulse's histogram.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, list[int]]] = deque()

    def percentile(self, counts: list[int], part: float = 0.99) -> float:
        """The lag that so large a part of the beats stayed under, in seconds, to the histogram's grain.

        Args:
            counts: beats by bucket, since the start.
            part: of one.
        """
        now = self._clock()
        if not self._seen or now - self._seen[-1][0] >= 1.0:
            self._seen.append((now, list(counts)))
        while len(self._seen) > 1 and now - self._seen[1][0] >= LAG_SECONDS:
            self._seen.popleft()
        first = self._seen[0][1] if now - self._seen[0][0] >= 1.0 else [0] * len(counts)
        recent = [after - before for after, before in zip(counts, first, strict=True)]
        left = sum(recent) * part
        for count, bound in zip(recent, BUCKETS, strict=False):
            left -= count
            if left <= 0:
                return bound if sum(recent) else 0.0
        return BUCKETS[-1]
