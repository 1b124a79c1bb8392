"""Ids of the hub's own making: short, in the order of their time, never the same twice."""

from __future__ import annotations

import secrets
import time

# Crockford's base 32, lower case: no letter that reads as a digit, and its order is that of the bytes.
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
# 45 bits of milliseconds last until the year 3084; 15 random ones tell apart what two processes make in one.
_LENGTH = 12
_RANDOM_BITS = 15


class Ids:
    """Makes ids of twelve characters, each greater than the one before."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> str:
        """One more."""
        number = (time.time_ns() // 1_000_000 << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
        # A clock that is set back, or two ids within a millisecond.
        self._last = number = max(number, self._last + 1)
        return "".join(_DIGITS[(number >> shift) & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))
