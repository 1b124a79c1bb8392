"""What both readers share: the buffer of unread bytes, the search for the end of a head, and the body.

A reader is in one of five states. HEAD waits for a head; BODY hands out a body; IDLE (responses only) waits to be told
of the next request; RAW keeps what follows an upgrade, unread; CLOSED discards whatever comes. After a BadMessage a
reader raises the same one for ever, so nothing behind a refused message is ever parsed.
"""

from __future__ import annotations

import sys

from tunnel.http1.bodies import ChunkedDecoder, Piece, cut
from tunnel.http1.errors import BadMessage, Truncated
from tunnel.http1.framing import Framing
from tunnel.http1.limits import Limits
from tunnel.http1.scan import HeadRules, HeadScan

# States. Plain numbers, because an enum member costs a look-up in the class each time.
HEAD, BODY, IDLE, RAW, CLOSED = range(5)
_STATES = ("HEAD", "BODY", "IDLE", "RAW", "CLOSED")

_NONE, _LENGTH, _CHUNKED, _UNTIL_CLOSE = Framing.NONE, Framing.LENGTH, Framing.CHUNKED, Framing.UNTIL_CLOSE


class Reader:
    """The buffer and the body, which are the same in both directions.

    Unread bytes are ``_data[_at:]`` and then ``_more``. ``_data`` is a bytearray only while an incomplete head grows,
    and views are never taken of it, so it can always be extended.
    """

    __slots__ = (
        "_limits", "_rules", "_state", "_data", "_at", "_more", "_scan", "_searched", "_left", "_endless", "_chunks", "_error",
    )  # fmt: skip

    def __init__(self, limits: Limits, rules: HeadRules) -> None:
        self._limits = limits
        self._rules = rules
        self._state = HEAD
        self._data: bytes | bytearray | memoryview = b""
        self._at = 0
        self._more: list[bytes | memoryview] = []
        self._scan: HeadScan | None = None
        self._searched = 0
        self._left = 0
        self._endless = False
        self._chunks: ChunkedDecoder | None = None
        self._error: BadMessage | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {_STATES[self._state]} buffered={self.buffered} error={self._error!r}>"

    @property
    def buffered(self) -> int:
        """Bytes received and not yet handed out: the next message, or bytes nobody asked for."""
        held = len(self._data) - self._at
        if self._more:
            held += sum(map(len, self._more))
        if self._chunks is not None:
            held += self._chunks.buffered
        return held

    @property
    def body_done(self) -> bool:
        """True unless a body is still to be read with read_body()."""
        return self._state != BODY

    def feed(self, data: bytes | memoryview) -> None:
        """Takes received bytes. They are kept, not copied, so a view must stay valid until it was handed out again.

        The reader does not limit how much is fed: stop reading from the connection while ``buffered`` is high.
        """
        if self._state == CLOSED or not data:
            return
        if self._at == len(self._data):
            self._data = data
            self._at = 0
        elif type(self._data) is bytearray and not self._more:
            self._data += data
        else:
            self._more.append(data)

    def unread(self) -> bytes:
        """A copy of everything unread, which stays."""
        return b"".join((memoryview(self._data)[self._at :], *self._more))

    def take_rest(self) -> bytes:
        """Everything unread, for whoever takes over the connection after an upgrade. The reader is closed by it."""
        if self._state == BODY:
            raise RuntimeError("the body was not read to its end")
        rest = self.unread()
        self._close()
        return rest

    def read_body(self) -> list[Piece]:
        """The pieces of body that are there now, decoded, in order; empty if none are or there is no body.

        Pieces of a body with a length are the received buffers themselves, or views of them.

        Raises:
            BadMessage: chunked framing is malformed or over a limit, or the body is over its limit.
        """
        if self._error is not None:
            raise self._error
        if self._state != BODY:
            return []
        out: list[Piece] = []
        if self._chunks is not None:
            self._read_chunks(self._chunks, out)
        elif len(self._data) - self._at < self._left and not self._more:
            # All there is belongs to the body and more is to come, as for every read inside a long body.
            if self._data:
                self._left -= len(self._data) - self._at
                out.append(self._take(len(self._data)))
        else:
            self._read_plain(out)
        return out

    def _read_plain(self, out: list[Piece]) -> None:
        while (size := len(self._data) - self._at) > 0:
            take = min(size, self._left)
            self._left -= take
            out.append(self._take(self._at + take))
            if not self._left:
                self._end_message()
                return

    def _take(self, stop: int) -> Piece:
        """Hands out the bytes up to ``stop`` of the first buffer."""
        data, start = self._data, self._at
        assert not isinstance(data, bytearray)
        if stop == len(data):
            self._data = self._more.pop(0) if self._more else b""
            self._at = 0
        else:
            self._at = stop
        return data if start == 0 and stop == len(data) else cut(data, start, stop)

    def _read_chunks(self, decoder: ChunkedDecoder, out: list[Piece]) -> None:
        while self._at < len(self._data):
            if type(self._data) is not bytes:
                self._data = bytes(self._data)
            try:
                stop = decoder.decode(self._data, self._at, out)
            except BadMessage as fault:
                raise self._fail(fault) from None
            self._at = stop
            if stop == len(self._data):
                self._data = self._more.pop(0) if self._more else b""
                self._at = 0
            if decoder.done:
                self._end_message()
                return

    def _head_block(self) -> bytes | None:
        """The next whole head, or None if it is not there yet; raises if what is there cannot become a good one."""
        data = self._data
        if type(data) is bytes and not self._more:
            start = self._at
            end = data.find(b"\r\n\r\n", start) + 4
            if end == 3:
                self._watch(bytearray(memoryview(data)[start:]))
                return None
            if end == len(data):
                self._data = b""
                self._at = 0
            else:
                self._at = end
            return data[start:end]
        if self._more or type(data) is not bytearray:
            data = bytearray().join((memoryview(data)[self._at :], *self._more))
            self._at = self._searched = 0
            self._more.clear()
        end = data.find(b"\r\n\r\n", self._searched) + 4
        if end == 3:
            self._watch(data)
            return None
        self._data = bytes(data[end:])
        self._at = self._searched = 0
        self._scan = None
        return bytes(data[:end])

    def _watch(self, data: bytearray) -> None:
        """Keeps an incomplete head, which begins at 0, and refuses it if it is wrong already."""
        self._data = data
        self._at = 0
        self._searched = max(len(data) - 3, 0)
        if self._scan is None:
            self._scan = HeadScan(self._rules)
        fault = self._scan.advance(data)
        if fault is not None:
            raise self._fail(fault)

    def _begin_body(self, framing: Framing, length: int, block: bytes, response: bool) -> None:
        if framing is _LENGTH and length > 0:
            self._left = length
        elif framing is _CHUNKED:
            fields = block.count(b"\r\n") - 2
            self._chunks = ChunkedDecoder(self._limits, len(block), fields, response=response)
        elif framing is _UNTIL_CLOSE:
            self._left = sys.maxsize
            self._endless = True
        else:
            self._end_message()
            return
        self._state = BODY

    def _end_body(self) -> None:
        """The peer's last byte came while a body was being read."""
        if self._endless:
            self._left = self.buffered
            if not self._left:
                self._end_message()
        elif self._chunks is not None or self.buffered < self._left:
            raise Truncated("truncated_body")

    def _end_message(self) -> None:
        raise NotImplementedError

    def _fail(self, fault: BadMessage) -> BadMessage:
        self._close()
        self._error = fault
        return fault

    def _close(self) -> None:
        self._state = CLOSED
        self._data = b""
        self._at = 0
        self._more.clear()
        self._chunks = None
        self._scan = None
