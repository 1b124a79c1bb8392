"""Two transports joined back to back: bytes, half-closes and failures of one go to the other. Knows no HTTP.

Each side is held up when the other cannot take more, by nothing but the transports' own marks. An end is passed on as
what it was: an EOF as a half close, a failure as an abort, so that a cut never looks like an end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from tunnel.cutting import cut
from tunnel.unread import unread

__all__ = ["Splice", "SpliceSide", "Waiting"]


class SpliceSide(asyncio.Protocol):
    """Protocol of one of the two transports.

    Attributes:
        transport: this side's.
        other: the other side.
        received: bytes that came from this side.
        eof: this side has sent its last byte.
        full: this side does not take more at the moment; the other one is not being read.
        lost: this side's connection is gone.
        last_words: bytes were found on it when it was lost.
    """

    __slots__ = ("_splice", "eof", "full", "last_words", "lost", "other", "received", "transport")

    accepts_views = True
    other: SpliceSide

    def __init__(self, splice: Splice, transport: asyncio.Transport) -> None:
        self._splice = splice
        self.transport = transport
        self.received = 0
        self.eof = self.full = self.lost = self.last_words = False

    def data_received(self, data: bytes | memoryview) -> None:
        self.received += len(data)
        self.other.transport.write(data)

    def eof_received(self) -> bool:
        self.eof = True
        other = self.other
        if other.eof:
            # Both directions are over: what is queued still leaves.
            other.transport.close()
            return False
        if other.transport.can_write_eof():
            other.transport.write_eof()
            # TLS closes with its EOF whatever is returned, and warns if asked not to.
            return self.transport.can_write_eof()
        # No half close (TLS): the end of one direction is the end of both, and nothing more is taken from there.
        other.eof = True
        other.transport.close()
        return False

    def pause_writing(self) -> None:
        self.full = True
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.full = False
        self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self.eof and not self.other.lost:
            for data in unread(self.transport):
                self.data_received(data)
                self.last_words = True
        self.lost = True
        self._splice.side_lost(self)


class Splice:
    """Joins two transports until both are gone. Makes itself their protocol at once.

    Args:
        left: one of them.
        right: the other one.
        to_left: bytes for the left one that were read before.
        to_right: bytes for the right one that were read before.
        left_full: the left one has called ``pause_writing`` on its former protocol and not resumed since.
        right_full: the same of the right one.
        on_end: called once, when both are gone.

    The owner watches ``moved`` if it wants a limit on idle time: neither loop reports a peer that is gone while reading
    from it is paused.
    """

    __slots__ = ("_on_end", "left", "right")

    side = SpliceSide

    def __init__(
        self,
        left: asyncio.Transport,
        right: asyncio.Transport,
        *,
        to_left: bytes = b"",
        to_right: bytes = b"",
        left_full: bool = False,
        right_full: bool = False,
        on_end: Callable[[Splice], None] | None = None,
    ) -> None:
        self._on_end = on_end
        self.left, self.right = self.side(self, left), self.side(self, right)
        self.left.other, self.right.other = self.right, self.left
        for side, rest in ((self.left, to_right), (self.right, to_left)):
            side.received = len(rest)
            side.transport.set_protocol(side)
        if to_left:
            left.write(to_left)
        if to_right:
            right.write(to_right)
        # A write above may have paused, or resumed nothing: say once what holds now.
        for side, full in ((self.left, left_full), (self.right, right_full)):
            if full or side.full:
                side.pause_writing()
            else:
                side.resume_writing()

    def __repr__(self) -> str:
        return f"<Splice left={self.left.received} right={self.right.received} bytes received>"

    @property
    def moved(self) -> tuple[int, int, int, int]:
        """Changes whenever something moves: bytes received on either side, and bytes waiting to leave."""
        left, right = self.left, self.right
        return (
            left.received,
            right.received,
            left.transport.get_write_buffer_size() if not left.lost else 0,
            right.transport.get_write_buffer_size() if not right.lost else 0,
        )

    def abort(self) -> None:
        """Cut both sides now, queued bytes included."""
        for side in (self.left, self.right):
            if not side.lost:
                cut(side.transport)

    def side_lost(self, side: SpliceSide) -> None:
        """Called by a side whose connection is gone."""
        other = side.other
        if not other.lost:
            # After its EOF everything from this side has been passed on and may leave in peace. Gone without one is an
            # abort, also when this machine did it: nobody may take it for an end.
            if side.eof:
                other.transport.close()
            elif side.last_words:
                # A stream writes them at the end of this turn; nothing more is taken from it.
                other.transport.pause_reading()
                asyncio.get_running_loop().call_soon(cut, other.transport)
            else:
                cut(other.transport)
        elif self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end(self)


class Waiting(asyncio.Protocol):
    """Protocol of a connection between its making and its being joined: loses nothing of what comes meanwhile."""

    __slots__ = ("_data", "_eof", "_lost", "transport")

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._data = bytearray()
        self._eof = self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's

    def data_received(self, data: bytes) -> None:
        # uvloop begins to read behind connection_made, so pausing there would change nothing.
        self._data += data
        self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._eof = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True

    def join(
        self,
        left: asyncio.Transport,
        *,
        to_right: bytes = b"",
        left_full: bool = False,
        left_eof: bool = False,
        on_end: Callable[[Splice], None] | None = None,
    ) -> Splice:
        """Join this connection, on the right, to another.

        Args:
            left: the other one.
            to_right: bytes from there that were read before.
            left_full: it has called ``pause_writing`` on its former protocol and not resumed since.
            left_eof: it has sent its last byte.
            on_end: called once, when both are gone.
        """
        data = bytes(self._data)
        splice = Splice(left, self.transport, to_left=data, to_right=to_right, left_full=left_full, on_end=on_end)
        # What happened before the protocols were changed has to be told again.
        if self._eof:
            splice.right.eof_received()
        if left_eof:
            splice.left.eof_received()
        if self._lost:
            splice.right.connection_lost(None)
        return splice
