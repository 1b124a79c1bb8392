"""How long to wait before the next attempt: full jitter under a ceiling that doubles. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST = 0.5
"""Seconds; the first ceiling. A hub that was restarted is back within one."""
CEILING = 20.0
"""Seconds. Ten thousand agents waiting ten on average bring a thousand handshakes a second, about one core."""
STEADY = 10.0
"""Seconds a session must have lived for the next failure to count as the first. A hub that takes agents and drops them
at once would else be called on without pause."""
LONGEST_WISH = 300.0
"""Seconds. A longer Retry-After would keep an agent away after the fault is mended."""


class Backoff:
    """Delays between attempts.

    Args:
        uniform: gives a random number between its two arguments; for tests.
    """

    __slots__ = ("_failures", "_uniform")

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._failures = 0
        self._uniform = uniform

    def __repr__(self) -> str:
        return f"<Backoff after {self._failures} failures>"

    def next(self, wished: float | None = None) -> float:
        """Seconds to wait after one more failure.

        Args:
            wished: what the other side asked for (Retry-After). Kept, with jitter on top, so that all who were sent
                away together do not come back together.
        """
        ceiling = min(CEILING, FIRST * 2.0 ** min(self._failures, 16))
        self._failures += 1
        delay = self._uniform(0.0, ceiling)
        if wished is None or wished <= 0:
            return delay
        return min(wished, LONGEST_WISH) + delay

    def lived(self, seconds: float) -> None:
        """Tell how long the session lived that has just ended."""
        if seconds >= STEADY:
            self._failures = 0
