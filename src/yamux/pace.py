"""A carrier that always has more to read gives way, so that nobody else waits behind it.

libuv reads one socket up to 32 times in a row, 8 MiB, which take tens of milliseconds to pass on; asyncio's own loop reads once.
"""

from __future__ import annotations

import asyncio

# A few milliseconds of work, and large enough that to stop and go on costs nothing beside it.
TURN_BYTES = 2 * 1024 * 1024


class Pace:
    """Counts what is read.

    Attributes:
        taken: bytes since the last rest; the session counts here, and calls `rest` from `TURN_BYTES` on.
        resting: more may wait in the carrier, which is read in the next turn of the loop.
    """

    __slots__ = ("_loop", "resting", "taken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.taken = 0
        self.resting = False

    def rest(self, transport: asyncio.Transport | None) -> None:
        """Read no more before the next turn of the loop."""
        self.taken = 0
        if self.resting or transport is None or transport.is_closing():
            return
        self.resting = True
        transport.pause_reading()
        self._loop.call_soon(self._go_on, transport)

    def _go_on(self, transport: asyncio.Transport) -> None:
        self.resting = False
        if not transport.is_closing():
            transport.resume_reading()
