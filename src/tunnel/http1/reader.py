"""The two readers: bytes in, heads and body pieces out. They own no socket, no clock and no task."""

from __future__ import annotations

from tunnel.http1.answers import Answers
from tunnel.http1.base import BODY, HEAD, IDLE, RAW, Reader
from tunnel.http1.errors import BadMessage, Truncated
from tunnel.http1.framing import Framing
from tunnel.http1.heads import (
    RequestHead,
    RequestPolicy,
    ResponseHead,
    ResponsePolicy,
    parse_request,
    parse_response,
)
from tunnel.http1.limits import DEFAULT_LIMITS, Limits, Underscores
from tunnel.http1.retarget import retarget

_CR = 0x0D
_LF = 0x0A
_NONE = Framing.NONE

# A head is remembered, with what was read from it, up to this size: clients that keep a connection mostly repeat
# themselves, and to see that costs a twentieth of reading the head again. Idle connections hold it, so it is bounded.
REMEMBERED_HEAD = 2048

# RFC 9112 section 2.2 asks to bear one empty line before a request, for the sake of old clients; two is generous.
_MOST_EMPTY_LINES = 2


class RequestReader(Reader):
    """Reads requests from one connection, one after the other.

    Call next_head() for the next request only when the one before is answered; until then pipelined requests stay in
    the buffer. After a request that ends the connection everything that follows is discarded. After a head with
    ``upgrade`` set, bytes are kept for take_rest() and none is parsed.

    Args:
        limits: budgets.
        trusted: True for the inner leg, where X-Proxy-* comes from the hub; elsewhere only X-Proxy-Host is let through.
        underscores: what becomes of ordinary field names with "_" in them.
    """

    __slots__ = ("_policy", "_empty_lines", "_last", "_block", "_tail", "_head")

    def __init__(
        self, limits: Limits = DEFAULT_LIMITS, *, trusted: bool = False, underscores: Underscores = "pass"
    ) -> None:
        self._policy = RequestPolicy(limits, trusted, underscores)
        super().__init__(limits, self._policy.rules)
        self._empty_lines = 0
        self._last = False
        self._block = b""
        # The remembered head from the end of its first line on; empty if it must be read anew each time.
        self._tail = b""
        self._head: RequestHead | None = None

    def repeated(self, data: bytes) -> RequestHead | None:
        """The head before, if ``data`` is the same bytes again, a request without body, and nothing else is unread.

        This is the short form of feed() and next_head() for what clients that keep a connection mostly send.
        """
        if data == self._block and self._state == HEAD and self._at == len(self._data):
            head = self._head
            if head is not None and head.framing is _NONE and head.keep_alive:
                return head
        return None

    def next_head(self) -> RequestHead | None:
        """The next request, or None if its head is not complete or the body before it was not read.

        A head that repeats the one before it byte for byte is the same object, so heads must not be changed.

        Raises:
            BadMessage: the request must be refused, and the connection closed after the answer.
        """
        if self._error is not None:
            raise self._error
        if self._state != HEAD or self._at == len(self._data):
            return None
        if self._data[self._at] in (_CR, _LF) and not self._skip_empty_lines():
            return None
        block = self._head_block()
        if block is None:
            return None
        head = self._head
        if head is None or block != self._block:
            head = self._read_head(block)
        self._empty_lines = 0
        self._last = not head.keep_alive
        if head.upgrade is not None:
            self._state = RAW
        elif head.framing is not _NONE:
            self._begin_body(head.framing, head.length, block, response=False)
        elif self._last:
            self._close()
        return head

    def _read_head(self, block: bytes) -> RequestHead:
        size = len(block)
        known, tail = self._head, self._tail
        head = None
        if known is not None and block.endswith(tail) and size <= self._rules.small:
            line = block[: size - len(tail)]
            if b"\r" not in line:
                head = retarget(known, line, self._limits)
        if head is None:
            try:
                head = parse_request(block, self._policy)
            except BadMessage as fault:
                raise self._fail(fault) from None
            if size > REMEMBERED_HEAD or head.upgrade is not None:
                return head
            self._tail = block[block.find(b"\r\n") :]
        self._block = block
        self._head = head
        return head

    def decline_upgrade(self) -> None:
        """Goes on reading requests after a head with ``upgrade`` that is answered as a plain request."""
        if self._state != RAW:
            raise RuntimeError("no upgrade was asked for")
        self._state = HEAD

    def forget(self) -> None:
        """Reads the next head anew, even if it repeats the one before it."""
        self._head = None

    def eof(self) -> None:
        """Tells that the peer sent its last byte. Call next_head() and read_body() first.

        Raises:
            Truncated: a request was begun and is not complete.
        """
        if self._state == BODY:
            self._end_body()
        elif self._state == HEAD and self.buffered:
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
            self._state = HEAD


class ResponseReader(Reader):
    """Reads the responses on one connection. Call expect() before each.

    Bytes behind a complete response show in ``buffered``; such a connection must not be used again.

    Args:
        limits: budgets.
        answers: heads met before; to be shared by readers with the same limits.
    """

    __slots__ = ("_policy", "_method", "_upgrade", "_informational", "_answers")

    def __init__(self, limits: Limits = DEFAULT_LIMITS, answers: Answers | None = None) -> None:
        self._policy = ResponsePolicy(limits)
        super().__init__(limits, self._policy.rules)
        self._state = IDLE
        self._method = b"GET"
        self._upgrade: bytes | None = None
        self._informational = 0
        self._answers = answers or Answers()

    def expect(self, method: bytes, upgrade: bytes | None = None) -> None:
        """Tells which request the next response answers; without it the response to a HEAD cannot be read.

        Args:
            method: its method.
            upgrade: the protocol it asked for. If given, a 101 must name just that one; if not, whoever gets a 101
                has to compare ``head.upgrade`` with what was asked for.

        Raises:
            RuntimeError: the response before is not complete.
        """
        if self._state not in (IDLE, HEAD):
            raise RuntimeError("the response before is not complete")
        self._method = method
        self._upgrade = upgrade
        self._informational = 0
        self._state = HEAD

    def next_head(self) -> ResponseHead | None:
        """The next head, or None if it is not complete. After a 1xx head other than 101 call it again.

        A final head that repeats one before it is the same object: heads must not be changed.

        Raises:
            BadMessage: 502; the connection must be closed.
        """
        if self._error is not None:
            raise self._error
        if self._state != HEAD or self._at == len(self._data):
            return None
        block = self._head_block()
        if block is None:
            return None
        ordinary = self._method != b"HEAD"
        head = self._answers.recall(block) if ordinary else None
        if head is None:
            try:
                head = parse_response(block, self._policy, self._method)
                self._check_informational(head)
            except BadMessage as fault:
                raise self._fail(fault) from None
            if ordinary and head.status >= 200:
                self._answers.keep(block, head)
        if head.status >= 200:
            self._begin_body(head.framing, head.length, block, response=True)
        elif head.status == 101:
            self._state = RAW
        return head

    def eof(self) -> None:
        """Tells that the peer sent its last byte: the end of a body that has no other.

        Call next_head() and read_body() first. What they left unread of a body without a length can still be read;
        ``body_done`` says when it was.

        Raises:
            Truncated: the response is not complete, or did not begin.
        """
        if self._state == BODY:
            self._end_body()
        elif self._state == HEAD:
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
        if self._endless:
            self._close()
            return
        self._chunks = None
        self._state = IDLE
