"""Token buckets: how many requests or bytes a second. Each is one number, the time at which it is empty again. Pure.

A bucket that is not used costs nothing and needs no timer: what it holds follows from the clock.
"""

from __future__ import annotations

BURST_SECONDS = 1.0
"""Requests a bucket holds, in seconds of its rate: a page with its parts comes at once, also where the rate is low."""
FLOW_BURST_SECONDS = 0.25
"""Bytes a bucket holds, in seconds of its rate: short enough to be no burst, long enough for a timer's grain."""
GRAIN = 1e-6
"""Seconds of earliness that are rounding, not haste."""
LEAST_FLOW = 4096
"""Bytes a second below which a transfer would look dead to the deadlines."""


class Rate:
    """Requests a second.

    Args:
        per_second: more than 0.
    """

    __slots__ = ("_due", "_interval", "_latest", "_slack")

    def __init__(self, per_second: float) -> None:
        self._interval = 1.0 / per_second
        # At least one request fits.
        self._slack = max(0.0, BURST_SECONDS - self._interval)
        self._latest = self._slack + GRAIN
        self._due = 0.0

    def take(self, now: float) -> float:
        """Take one request; 0.0 if it fits, else the seconds until one will.

        Args:
            now: monotonic seconds.
        """
        due = self._due
        # Comparisons alone: a call of max() takes as long as all of this.
        if due <= now:
            self._due = now + self._interval
        elif due - now > self._latest:
            return due - self._slack - now
        else:
            self._due = due + self._interval
        return 0.0


class Flow:
    """Bytes a second in one direction. What has moved is paid afterwards, by waiting.

    Args:
        per_second: at least `LEAST_FLOW`.
    """

    __slots__ = ("_burst", "_due", "_seconds")

    def __init__(self, per_second: float) -> None:
        self._seconds = 1.0 / per_second
        self._burst = FLOW_BURST_SECONDS
        self._due = 0.0

    def spend(self, size: int, now: float) -> float:
        """Count bytes that have moved; returns the seconds to wait before the next, 0.0 for none.

        Args:
            size: bytes.
            now: monotonic seconds.
        """
        due = self._due
        floor = now - self._burst
        self._due = due = (max(floor, due)) + size * self._seconds
        return due - now if due > now else 0.0
