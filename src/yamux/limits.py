"""What keeps a peer from spending our memory or time with frames that do nothing."""

from __future__ import annotations

from collections.abc import Callable

from .errors import FloodDetected

# Ids the peer skipped and may still use: concurrent openers of the reference send their SYNs out of order. Past this
# many the oldest count as used.
REMEMBERED_GAPS = 1024


class TokenBucket:
    """``burst`` tokens that come back at ``rate`` a second. The clock is asked only once the bucket looks empty."""

    __slots__ = ("_burst", "_clock", "_filled_at", "_name", "_rate", "_tokens")

    def __init__(self, name: str, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._name = name
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._clock = clock
        self._filled_at = clock()

    def take(self) -> None:
        """Spend one token. Raises FloodDetected when there is none."""
        self._tokens -= 1
        if self._tokens >= 0:
            return
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + 1 + (now - self._filled_at) * self._rate) - 1
        self._filled_at = now
        if self._tokens < 0:
            raise FloodDetected(f"too many {self._name}: more than {self._rate:g} a second")


class IdHistory:
    """Which stream ids the peer has used, in constant space."""

    __slots__ = ("_gaps", "_highest", "_reuse")

    def __init__(self, first: int, *, reuse: bool) -> None:
        self._highest = first - 2
        self._gaps: dict[int, None] = {}
        self._reuse = reuse

    def use(self, stream_id: int) -> bool:
        """Note that ``stream_id`` (of the right parity) is used now; False when it was used before."""
        expected = self._highest + 2
        if stream_id == expected:
            self._highest = stream_id
            return True
        if stream_id > expected:
            for skipped in range(max(expected, stream_id - 2 * REMEMBERED_GAPS), stream_id, 2):
                self._gaps[skipped] = None
            while len(self._gaps) > REMEMBERED_GAPS:
                del self._gaps[next(iter(self._gaps))]
            self._highest = stream_id
            return True
        if stream_id in self._gaps:
            del self._gaps[stream_id]
            return True
        return self._reuse
