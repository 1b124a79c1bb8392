"""The two readers: bytes in, heads and body pieces out. They own no socket, no clock and no task.

A reader is in one of five states. HEAD waits for a head; BODY hands out a body; IDLE (responses only) waits to be told
of the next request; RAW keeps what follows an upgrade, unread; CLOSED discards whatever comes. After a BadMessage a
reader raises the same one for ever, so nothing behind a refused message is ever parsed.
"""

from __future__ import annotations

import sys

from tunnel.http1.bodies import ChunkedDecoder, Piece, cut
from tunnel.http1.errors import BadMessage, Truncated
from tunnel.http1.framing import Framing
from tunnel.http1.heads import RequestHead, RequestPolicy, ResponseHead, ResponsePolicy, parse_request, parse_response
from tunnel.http1.limits import DEFAULT_LIMITS, Limits, Underscores
from tunnel.http1.scan import HeadRules, HeadScan

_CR = 0x0D
_LF = 0x0A

# RFC 9112 section 2.2 asks to bear one empty line before a request, for the sake of old clients; two is generous.
_MOST_EMPTY_LINES = 2


# States. Plain numbers, because an enum member costs a look-up in the class each time.
_HEAD, _BODY, _IDLE, _RAW, _CLOSED = range(5)
_STATE_NAMES = ("HEAD", "BODY", "IDLE", "RAW", "CLOSED")

_NONE, _LENGTH, _CHUNKED, _UNTIL_CLOSE = Framing.NONE, Framing.LENGTH, Framing.CHUNKED, Framing.UNTIL_CLOSE


class _Reader:
    """The buffer and the body, which are the same in both directions.

    Unread bytes are ``_data[_at:]`` and then ``_more``. ``_data`` is a bytearray only while an incomplete head grows,
    and views are never taken of it, so it can always be extended.
    """

    __slots__ = (
        "_limits", "_rules", "_state", "_data", "_at", "_more", "_scan", "_searched", "_left", "_chunks", "_error",
    )  # fmt: skip

    def __init__(self, limits: Limits, rules: HeadRules) -> None:
        self._limits = limits
        self._rules = rules
        self._state = _HEAD
        self._data: bytes | bytearray | memoryview = b""
        self._at = 0
        self._more: list[bytes | memoryview] = []
        self._scan: HeadScan | None = None
        self._searched = 0
        self._left = 0
        self._chunks: ChunkedDecoder | None = None
        self._error: BadMessage | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {_STATE_NAMES[self._state]} buffered={self.buffered} error={self._error!r}>"

    @property
    def buffered(self) -> int:
        """Bytes received and not yet handed out: the next message, or bytes nobody asked for."""
        held = self._chunks.buffered if self._chunks is not None else 0
        return len(self._data) - self._at + sum(map(len, self._more)) + held

    @property
    def body_done(self) -> bool:
        """True unless a body is still to be read with read_body()."""
        return self._state != _BODY

    def feed(self, data: bytes | memoryview) -> None:
        """Takes received bytes. They are kept, not copied, so a view must stay valid until it was handed out again.

        The reader does not limit how much is fed: stop reading from the connection while ``buffered`` is high.
        """
        if self._state == _CLOSED or self._error is not None:
            return
        if self._at == len(self._data):
            self._data = data
            self._at = 0
        elif type(self._data) is bytearray and not self._more:
            self._data += data
        else:
            self._more.append(data)

    def take_rest(self) -> bytes:
        """Everything unread, for whoever takes over the connection after an upgrade. The reader is closed by it."""
        if self._state == _BODY:
            raise RuntimeError("the body was not read to its end")
        rest = b"".join((memoryview(self._data)[self._at :], *self._more))
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
        if self._state != _BODY:
            return []
        out: list[Piece] = []
        if self._chunks is None:
            self._read_plain(out)
        else:
            self._read_chunks(self._chunks, out)
        return out

    def _read_plain(self, out: list[Piece]) -> None:
        while (size := len(self._data) - self._at) > 0:
            take = min(size, self._left)
            data = self._data
            assert not isinstance(data, bytearray)
            out.append(cut(data, self._at, self._at + take))
            self._left -= take
            self._skip(take)
            if not self._left:
                self._end_message()
                return

    def _read_chunks(self, decoder: ChunkedDecoder, out: list[Piece]) -> None:
        while (size := len(self._data) - self._at) > 0:
            if type(self._data) is not bytes:
                self._data = bytes(self._data)
            try:
                stop = decoder.decode(self._data, self._at, out)
            except BadMessage as fault:
                raise self._fail(fault) from None
            self._skip(min(stop - self._at, size))
            if decoder.done:
                self._end_message()
                return

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at == len(self._data):
            self._data = self._more.pop(0) if self._more else b""
            self._at = 0

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
        else:
            self._end_message()
            return
        self._state = _BODY

    def _end_message(self) -> None:
        raise NotImplementedError

    def _fail(self, fault: BadMessage) -> BadMessage:
        self._close()
        self._error = fault
        return fault

    def _close(self) -> None:
        self._state = _CLOSED
        self._data = b""
        self._at = 0
        self._more.clear()
        self._chunks = None
        self._scan = None


class RequestReader(_Reader):
    """Reads requests from one connection, one after the other.

    Call next_head() for the next request only when the one before is answered; until then pipelined requests stay in
    the buffer. After a request that ends the connection everything that follows is discarded. After a head with
    ``upgrade`` set, bytes are kept for take_rest() and none is parsed.

    Args:
        limits: budgets.
        trusted: True for the inner leg, where X-Proxy-* comes from the hub; elsewhere only X-Proxy-Host is let through.
        underscores: what becomes of ordinary field names with "_" in them.
    """

    __slots__ = ("_policy", "_empty_lines", "_last")

    def __init__(
        self, limits: Limits = DEFAULT_LIMITS, *, trusted: bool = False, underscores: Underscores = "pass"
    ) -> None:
        self._policy = RequestPolicy(limits, trusted, underscores)
        super().__init__(limits, self._policy.rules)
        self._empty_lines = 0
        self._last = False

    def next_head(self) -> RequestHead | None:
        """The next request, or None if its head is not complete or the body before it was not read.

        Raises:
            BadMessage: the request must be refused, and the connection closed after the answer.
        """
        if self._error is not None:
            raise self._error
        if self._state != _HEAD or self._at == len(self._data):
            return None
        if self._data[self._at] in (_CR, _LF) and not self._skip_empty_lines():
            return None
        block = self._head_block()
        if block is None:
            return None
        try:
            head = parse_request(block, self._policy)
        except BadMessage as fault:
            raise self._fail(fault) from None
        self._empty_lines = 0
        self._last = not head.keep_alive
        if head.upgrade is not None:
            self._state = _RAW
        elif head.framing is not _NONE:
            self._begin_body(head.framing, head.length, block, response=False)
        elif self._last:
            self._close()
        return head

    def decline_upgrade(self) -> None:
        """Goes on reading requests after a head with ``upgrade`` that is answered as a plain request."""
        if self._state != _RAW:
            raise RuntimeError("no upgrade was asked for")
        self._state = _HEAD

    def eof(self) -> None:
        """Tells that the peer sent its last byte.

        Raises:
            Truncated: a request was begun and is not complete.
        """
        if self._state == _BODY:
            raise Truncated("truncated_body")
        if self._state == _HEAD and self.buffered:
            raise Truncated("truncated_head")

    def _skip_empty_lines(self) -> bool:
        """Skips empty lines before a request line; False if there is nothing but those yet."""
        data = self._data if not self._more else b"".join((memoryview(self._data)[self._at :], *self._more))
        if data is not self._data:
            self._data, self._at = data, 0
            self._more.clear()
        while self._at < len(data) and data[self._at] in (_CR, _LF):
            if data[self._at] == _LF:
                raise self._fail(BadMessage(400, "bare_lf"))
            if self._empty_lines == _MOST_EMPTY_LINES:
                raise self._fail(BadMessage(400, "empty_lines"))
            pair = bytes(data[self._at : self._at + 2])
            if pair == b"\r":
                return False
            if pair != b"\r\n":
                raise self._fail(BadMessage(400, "bare_cr"))
            self._at += 2
            self._empty_lines += 1
        if self._at == len(data):
            self._data, self._at = b"", 0
            return False
        return True

    def _end_message(self) -> None:
        self._chunks = None
        if self._last:
            self._close()
        else:
            self._state = _HEAD


class ResponseReader(_Reader):
    """Reads the responses on one connection. Call expect() before each.

    Bytes behind a complete response show in ``buffered``; such a connection must not be used again.

    Args:
        limits: budgets.
    """

    __slots__ = ("_policy", "_method", "_upgrade", "_informational")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._policy = ResponsePolicy(limits)
        super().__init__(limits, self._policy.rules)
        self._state = _IDLE
        self._method = b"GET"
        self._upgrade: bytes | None = None
        self._informational = 0

    def expect(self, method: bytes, upgrade: bytes | None = None) -> None:
        """Tells which request the next response answers; without it the response to a HEAD cannot be read.

        Args:
            method: its method.
            upgrade: the protocol it asked for. If given, a 101 must name just that one; if not, whoever gets a 101
                has to compare ``head.upgrade`` with what was asked for.

        Raises:
            RuntimeError: the response before is not complete.
        """
        if self._state not in (_IDLE, _HEAD):
            raise RuntimeError("the response before is not complete")
        self._method = method
        self._upgrade = upgrade
        self._informational = 0
        self._state = _HEAD

    def next_head(self) -> ResponseHead | None:
        """The next head, or None if it is not complete. After a 1xx head other than 101 call it again.

        Raises:
            BadMessage: 502; the connection must be closed.
        """
        if self._error is not None:
            raise self._error
        if self._state != _HEAD or self._at == len(self._data):
            return None
        block = self._head_block()
        if block is None:
            return None
        try:
            head = parse_response(block, self._policy, self._method)
            self._check_informational(head)
        except BadMessage as fault:
            raise self._fail(fault) from None
        if head.status >= 200:
            self._begin_body(head.framing, head.length, block, response=True)
        elif head.status == 101:
            self._state = _RAW
        return head

    def eof(self) -> None:
        """Tells that the peer sent its last byte: the end of a body that has no other.

        Read the body once more before it, so that no piece is lost.

        Raises:
            Truncated: the response is not complete, or did not begin.
        """
        if self._state == _BODY:
            if self._left != 0 and self._chunks is None and self._left > sys.maxsize // 2:
                self._close()
                return
            raise Truncated("truncated_body")
        if self._state == _HEAD:
            raise Truncated("truncated_head" if self.buffered else "no_response")

    def _check_informational(self, head: ResponseHead) -> None:
        if head.status >= 200:
            return
        self._informational += 1
        if self._informational > self._limits.informational:
            raise BadMessage(502, "too_many_informational")
        if head.status == 101 and self._upgrade is not None and head.upgrade != self._upgrade:
            raise BadMessage(502, "other_protocol_in_101")

    def _end_message(self) -> None:
        self._chunks = None
        self._state = _IDLE
