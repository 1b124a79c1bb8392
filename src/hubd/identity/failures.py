"""Counts failed proofs of identity by where they come from, so that guessing is slow."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

ALLOWED: Final = 10
"""Failures of one source a minute: more than people make, far less than guessing takes."""
WINDOW: Final = 60.0
MAX_SOURCES: Final = 10_000
"""Sources remembered; the ones quiet longest are forgotten. About 200 bytes each."""


class Failures:
    """A leaky bucket for each source.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # How full a bucket was, and when that was.
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def note(self, peer: str) -> int:
        """One more failure. Returns 0 if the source may fail again, else the seconds until it may."""
        source = source_of(peer)
        now = self._clock()
        level = self._level(source, now)
        if level > ALLOWED - 1:
            return self._wait(level)
        self._levels[source] = (level + 1.0, now)
        self._levels.move_to_end(source)
        if len(self._levels) > MAX_SOURCES:
            self._levels.popitem(last=False)
        return 0

    def blocked(self, peer: str) -> int:
        """Seconds until a source may try again; 0 if it may now."""
        level = self._level(source_of(peer), self._clock())
        return self._wait(level) if level > ALLOWED - 1 else 0

    def _level(self, source: str, now: float) -> float:
        level, then = self._levels.get(source, (0.0, now))
        return max(0.0, level - (now - then) * ALLOWED / WINDOW)

    @staticmethod
    def _wait(level: float) -> int:
        return max(1, math.ceil((level - (ALLOWED - 1)) * WINDOW / ALLOWED))


def source_of(peer: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 that one subscriber of IPv6 has."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
