"""The Date field, for answers the hub gives itself and for what comes without one (RFC 9110 section 6.6.1)."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache


def date_line() -> bytes:
    """The field line for now, with its CRLF."""
    return line_at(int(time.time()))


@lru_cache(maxsize=1)
def line_at(second: int) -> bytes:
    """The field line for a second since 1970. Remembered, so that a flood of refusals makes it once a second."""
    return b"Date: %b\r\n" % formatdate(second, usegmt=True).encode("ascii")
