"""One request from the stream to the target, and the response back. Is itself the protocol of its yamux stream.

The life of an exchange, in the order of the methods: the stream's head finds a target and an idle connection, and head
and body so far leave in one write; the rest of the body follows as it comes; what the target answers goes back, head
and body in one write; the stream is ended and the connection kept. A failure before the first byte of a response
becomes another try or an error answer; after it the stream is reset, so that nothing looks complete.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agentd.asking import IDEMPOTENT, Asking
from agentd.heads import informational_head, stream_head
from agentd.reasons import (
    BAD_RESPONSE,
    BAD_UPGRADE,
    LEFT,
    TARGET_CLOSED,
    TRUNCATED,
    Reason,
    error_response,
)
from tunnel.http1 import LAST_CHUNK, BadMessage, Framing, Piece, Truncated, encode_chunk
from tunnel.writing import put

if TYPE_CHECKING:
    from agentd.dial import DialError
    from agentd.pool import TargetConnection, TargetPool
    from tunnel.http1 import RequestHead, ResponseHead

# Enum members cost a look-up in the class each time.
_CHUNKED = Framing.CHUNKED


class Exchange(Asking):
    """One stream's request and response."""

    __slots__ = ()

    def __repr__(self) -> str:
        state = "over" if self.over else "answering" if self.response is not None else "waiting"
        return f"<Exchange {self.head!r} {state}>"

    # -- the request -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.stream = transport  # type: ignore[assignment]
        self._server.open.add(self)

    def _dispatch(self, head: RequestHead, pool: TargetPool, held: list[Piece], size: int) -> None:
        """Send what there is of the request, now or once there is a connection."""
        self._pool = pool
        self._held = held
        self._held_size = size
        connection = pool.acquire(self, sure=head.method not in IDEMPOTENT)
        if connection is not None:
            self.target_ready(connection)
        else:
            self._check_room()
            pool.wait(self)

    # -- the connection's calls --------------------------------------------------------------------------------------

    def target_ready(self, connection: TargetConnection) -> None:
        head, held = self.head, self._held
        assert head is not None
        assert held is not None
        self.connection = connection
        # All that is not written yet is among what was held.
        self._gathered = None
        if self.stream_full:
            connection.pause_reading()
        if self._held_size > self._server.hold:
            self._held = None
            self.stream.resume_reading()
        if len(held) == 1:
            connection.transport.write(held[0])
        else:
            put(connection.transport, held)

    def target_failed(self, error: DialError) -> None:
        self.refuse(error.reason, error.detail)

    def target_data(self, data: bytes) -> None:
        connection = self.connection
        assert connection is not None
        reader = connection.reader
        response = self.response
        if not self._reading:
            head = self.head
            assert head is not None
            response = connection.pool.answers.whole(data)
            if response is not None and head.method != b"HEAD":
                # The short way for what most services mostly send: one known head, and the body with it.
                self.response = response
                self._finish(connection, response, stream_head(response, chunked=False) + data[response.size :])
                return
            response = None
            self._reading = True
            reader.expect(head.method, head.upgrade)
        reader.feed(data)
        try:
            out: list[Piece] = []
            if response is None:
                self._held = None
                response = self._next_response(connection, out)
                if response is None:
                    if out and not self.over:
                        put(self.stream, out)
                    return
            pieces = reader.read_body()
            done = reader.body_done
        except BadMessage as fault:
            self._bad_response(fault)
            return
        if not self._chunked:
            out += pieces
        else:
            if pieces:
                out += encode_chunk(pieces)
            if done:
                out.append(LAST_CHUNK)
        if out:
            put(self.stream, out)
        if done and not self.over:
            self._finish(connection, response)

    def target_eof(self) -> None:
        connection, response = self.connection, self.response
        assert connection is not None
        try:
            connection.reader.eof()
        except Truncated:
            self._target_gone()
            return
        if response is None:
            self._target_gone()
            return
        # The end of a response that had no other.
        if self._chunked:
            self.stream.write(LAST_CHUNK)
        if not self.over:
            self._finish(connection, response)

    def target_lost(self, exc: Exception | None) -> None:
        self._target_gone(str(exc) if exc is not None else "")

    def target_full(self) -> None:
        self.stream.pause_reading()

    def target_drained(self) -> None:
        self.stream.resume_reading()

    # -- the response ------------------------------------------------------------------------------------------------

    def _next_response(self, connection: TargetConnection, out: list[Piece]) -> ResponseHead | None:
        """The final head, once it is there; what it and heads before it become is added to ``out``."""
        head = self.head
        assert head is not None
        while True:
            response = connection.reader.next_head()
            if response is None:
                return None
            if response.status >= 200:
                self.response = response
                self._chunked = response.framing >= _CHUNKED and head.minor == 1
                out.append(stream_head(response, chunked=self._chunked))
                return response
            if response.status == 101:
                if head.upgrade is None or response.upgrade != head.upgrade:
                    self.refuse(BAD_UPGRADE)
                else:
                    self._switch(connection, response)
                return None
            if head.minor:
                out.append(informational_head(response))

    def _finish(self, connection: TargetConnection, response: ResponseHead, data: bytes = b"") -> None:
        """The response is complete and written, but for ``data``."""
        if self._gathered:
            self._pass_on()
        self.connection = None
        pool = self._pool
        assert pool is not None
        # Bytes behind the response are nobody's; an unread request body would be taken for the next request.
        if response.keep_alive and self.sent_all and (data or not connection.reader.buffered):
            pool.release(connection, response.special.get(b"keep-alive"))
        else:
            pool.discard(connection)
        if data:
            self.stream.write_last(data)
        else:
            self.stream.close()
        self._leave()
        head, reader = self.head, self._reader
        if reader is not None and self.sent_all and head is not None and head.keep_alive and head.upgrade is None:
            self._server.return_reader(reader)

    def _switch(self, connection: TargetConnection, response: ResponseHead) -> None:
        """The 101 that was asked for: pass it on, and join the stream and the connection."""
        if self._gathered:
            self._pass_on()
        self.connection = None
        self._leave()
        self.stream.write(informational_head(response))
        reader = self._reader
        early = reader.take_rest() if reader is not None else b""
        self._server.join(self.stream, connection, early, stream_full=self.stream_full)

    # -- the stream's calls ------------------------------------------------------------------------------------------

    def eof_received(self) -> bool:
        if self.sent_all:
            return True
        if self.head is None and (self._reader is None or not self._reader.buffered):
            # Opened and closed without a word.
            self._leave()
            return False
        self.give_up(LEFT)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over:
            self.give_up(LEFT)
        # Stream and exchange hold each other. Without this only the garbage collector could free them, at a fifth of
        # the whole cost of a small request.
        del self.stream

    def pause_writing(self) -> None:
        self.stream_full = True
        if self.connection is not None:
            self.connection.pause_reading()

    def resume_writing(self) -> None:
        self.stream_full = False
        if self.connection is not None:
            self.connection.resume_reading()

    # -- failing -----------------------------------------------------------------------------------------------------

    def _bad_response(self, fault: BadMessage) -> None:
        if self.response is None:
            self.refuse(BAD_RESPONSE, str(fault))
        else:
            self.give_up(TRUNCATED, str(fault))

    def _target_gone(self, detail: str = "") -> None:
        """The target's side ended too early: try once more if nothing can happen twice by it, else tell."""
        connection, pool, head = self.connection, self._pool, self.head
        assert connection is not None
        assert pool is not None
        assert head is not None
        self.connection = None
        pool.discard(connection)
        if self.response is not None:
            self.give_up(TRUNCATED, detail)
        elif self._held is None or not connection.reused or self._retried or head.method not in IDEMPOTENT:
            self.refuse(TARGET_CLOSED, detail)
        else:
            # It closed an idle connection just as we used it: every server does, sooner or later.
            self._retried = True
            self._server.retries += 1
            pool.wait(self)

    def refuse(self, reason: Reason, detail: str = "") -> None:
        """Answer with an error of our own; reset the stream if part of a response is out already."""
        if self.response is not None:
            self.give_up(reason, detail)
            return
        self._drop_target()
        head = self.head
        self._server.failed(self, reason, detail)
        head_only = head is not None and head.method == b"HEAD"
        self._leave()
        self.stream.write(error_response(reason, self.request_id, head_only=head_only))
        self.stream.close()

    def give_up(self, reason: Reason, detail: str = "") -> None:
        """Reset the stream and let go of the target at once."""
        if self.over:
            return
        self._drop_target()
        self._server.failed(self, reason, detail)
        self._leave()
        self.stream.abort()

    def _drop_target(self) -> None:
        connection, pool = self.connection, self._pool
        if connection is not None:
            self.connection = None
            connection.user = None
            connection.transport.abort()
            connection.pool.forget(connection)
        elif pool is not None:
            pool.withdraw(self)

    def _leave(self) -> None:
        self.over = True
        self._held = None
        self._server.leave(self)
