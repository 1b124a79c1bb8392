"""Flow-control arithmetic of one stream; knows nothing of frames, states or sessions.

Credit is a promise in bytes. The sender may send what it holds; the receiver gives more only after its own consumer
took bytes, so what lies unread never exceeds the window. Credit is given in portions of at least half a window: one
update for many reads, and early enough that the sender need not stop.
"""

from __future__ import annotations

from .config import INITIAL_WINDOW, MAX_U32
from .errors import ProtocolError

# An update within this many round trips of the one before it means that the window, not the consumer, set the pace.
GROWTH_ROUND_TRIPS = 4.0

# No window grows beyond what a pipe of 10 Gbit/s holds in two round trips. Over loopback updates always come fast, since
# whole buffers are read at once; without this every window would end at its maximum, and a stalled reader cost that much.
BYTES_PER_ROUND_TRIP_SECOND = 2.5e9


class Credit:
    """Credit in both directions. ``send_credit``: bytes we may send. ``recv_credit``: bytes the peer may still send.
    ``unread``: bytes received and not consumed. ``window``: what ``recv_credit + unread`` is filled up to."""

    __slots__ = ("granted_at", "recv_credit", "send_credit", "unread", "window")

    def __init__(self, window: int, recv_credit: int) -> None:
        self.send_credit = INITIAL_WINDOW
        self.recv_credit = recv_credit
        self.window = window
        self.unread = 0
        self.granted_at = 0.0

    def add_send_credit(self, count: int) -> None:
        """Take a window update. Raises ProtocolError above 2^32-1 (the reference wraps; CVE-2026-31814 is its kin)."""
        if self.send_credit + count > MAX_U32:
            raise ProtocolError(f"window update of {count} takes the send window past 2^32-1")
        self.send_credit += count

    def due(self) -> int:
        """Bytes of credit to give now: 0 until at least half a window is free (reference: sendWindowUpdate)."""
        delta = self.window - self.unread - self.recv_credit
        return delta if delta * 2 >= self.window else 0

    def growth(self, now: float, rtt: float | None, maximum: int) -> int:
        """How many bytes the window should grow by at an update due at ``now``; 0 keeps it. ``rtt`` in seconds."""
        last, self.granted_at = self.granted_at, now
        if rtt is None or not last or now - last > GROWTH_ROUND_TRIPS * rtt:
            return 0
        return max(0, min(self.window, min(maximum, int(rtt * BYTES_PER_ROUND_TRIP_SECOND)) - self.window))
