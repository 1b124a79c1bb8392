"""One request from its head to the last byte of its response. Is itself the protocol of its yamux stream.

The life of an exchange, in the order of the methods: `start` finds a session and sends head and body so far in one
write; `send_body` passes the rest of the body as it comes; `data_received` turns the agent's response into the
visitor's; `_finish` ends the stream and hands the connection back. A failure before the first byte of a response
becomes another try or an error answer; after it the visitor's connection is cut, so that nothing looks complete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubd.headers import informational_head, response_head
from hubd.patience import Patience
from hubd.reasons import (
    AGENT_BUSY,
    AGENT_LOST,
    AGENT_RESET,
    BAD_RESPONSE,
    BAD_UPGRADE,
    TRUNCATED,
    VISITOR_LEFT,
    Reason,
)
from hubd.sending import Sending
from hubd.upgraded import switch
from tunnel.http1 import LAST_CHUNK, BadMessage, Framing, Piece, Truncated, encode_chunk
from tunnel.writing import put
from yamux import SessionClosed

if TYPE_CHECKING:
    from hubd.front import Front
    from hubd.routes import Route
    from hubd.state import Hub
    from tunnel.http1 import RequestHead, ResponseHead, ResponseReader

# Turns of the loop that parts of a body wait for more of it, while a session has more to read than a turn takes, and bytes
# from which they do not: with hundreds of downloads each gets a few KiB in a turn, and a write costs as much as 10 KiB.
GATHER_TURNS = 3
GATHER_BYTES = 64 * 1024

_UNTIL_CLOSE = Framing.UNTIL_CLOSE
_UNSIZED = Framing.CHUNKED
"""This and what is above it have no length that is known in advance."""


class Exchange(Sending):
    """One request and its response.

    Attributes:
        started: part of a final response has gone to the visitor.
        size_out: bytes to the visitor.
        began: monotonic seconds; exact only with an access log.
    """

    __slots__ = ("_chunked", "_gathered", "_keep", "began", "patience", "reader", "response", "size_out", "started")

    accepts_views = True

    def __init__(self, hub: Hub, front: Front, head: RequestHead, route: Route, request_id: bytes) -> None:
        self.hub = hub
        self.front = front
        self.head = head
        self.route = route
        self.request_id = request_id
        self.entry = self.stream = self._waiting = self._held = self._refused_by = None
        self.sent_all = True
        self.over = False
        self.size_in = self._held_size = self._retries = self._replays = 0
        self.asked_at = hub.now
        self.reader: ResponseReader | None = None
        self.response: ResponseHead | None = None
        self.began = hub.now if hub.access_log is None else hub.loop.time()
        self.patience: Patience | None = None
        self.started: bool = False
        self.size_out = 0
        # Body that has come in this turn of the loop and is not written yet.
        self._gathered: list[Piece] = []
        self._chunked = self._keep = False

    def __repr__(self) -> str:
        state = "over" if self.over else "started" if self.started else "queued" if self._waiting else "waiting"
        return f"<Exchange {self.request_id!r} {self.route.agent_id} {state}>"

    # -- the stream's calls -------------------------------------------------------------------------------------------

    def data_received(self, data: bytes | memoryview) -> None:
        if self.over:
            return
        reader = self.reader
        if reader is None:
            data = bytes(data)
            self._held = None
            response = self.hub.answers.whole(data)
            if response is not None and self.head.method != b"HEAD":
                # The short way for what most services mostly send: one known head, and the body with it.
                data = self._begin_response(response) + data[response.size :]
                self.size_out += len(data)
                self.front.transport.write(data)
                self._finish()
                return
            reader = self._take_reader()
        try:
            response = self.response
            begun = response is not None
            out: list[Piece] = []
            if response is None:
                reader.feed(bytes(data))
                response = self._next_head(out)
                if response is None:
                    if out and not self.over:
                        self._write(out)
                    return
            else:
                reader.feed(data)
            pieces = reader.read_body()
            done = reader.body_done
        except BadMessage as fault:
            self._bad_response(fault, begun)
            return
        if not self._chunked:
            out += pieces
        else:
            if pieces:
                out += encode_chunk(pieces)
            if done:
                out.append(LAST_CHUNK)
        if out:
            if begun and not done:
                self._gather(out)
            else:
                self._write(out)
        if done and not self.over:
            self._finish()

    def _take_reader(self) -> ResponseReader:
        self.reader = reader = self.hub.take_reader()
        reader.expect(self.head.method, self.head.upgrade)
        return reader

    def eof_received(self) -> bool:
        if not self.over:
            try:
                if self.reader is None:
                    raise Truncated("no_response")
                self.reader.eof()
            except Truncated:
                self._fail(TRUNCATED)
            else:
                # The end of a response that had no other.
                if self._chunked:
                    self._write([LAST_CHUNK])
                self._finish()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self.over:
            return
        self._release()
        if not self._try_again(exc):
            if self.started:
                self._fail(TRUNCATED)
            else:
                self._fail(AGENT_LOST if isinstance(exc, SessionClosed) else AGENT_RESET)

    def pause_writing(self) -> None:
        self.front.pause_reading()

    def resume_writing(self) -> None:
        if not self.over and not self.sent_all:
            self.front.resume_reading()

    def visitor_full(self) -> None:
        """The visitor reads too slowly: take no more from the stream, so that the agent's window closes."""
        if self.stream is not None:
            self.stream.pause_reading()

    def visitor_drained(self) -> None:
        """The visitor has caught up."""
        if self.stream is not None:
            self.stream.resume_reading()

    # -- passing the response on --------------------------------------------------------------------------------------

    def _next_head(self, out: list[Piece]) -> ResponseHead | None:
        """The final head, once it is there; what it and heads before it become is added to ``out``."""
        reader = self.reader
        assert reader is not None
        while True:
            response = reader.next_head()
            if response is None:
                return None
            if response.status >= 200:
                out.append(self._begin_response(response))
                return response
            if response.status == 101:
                if response.upgrade is None or response.upgrade != self.head.upgrade:
                    self._fail(BAD_UPGRADE)
                else:
                    self._switch(response)
                return None
            if self.head.minor:
                out.append(informational_head(response))

    def _switch(self, response: ResponseHead) -> None:
        switch(self, response)

    def _begin_response(self, response: ResponseHead) -> bytes:
        self.response = response
        self.started = True
        head = self.head
        close = not (head.keep_alive and self.sent_all) or head.upgrade is not None
        close = close or (self.hub.draining and not self.front.movable)
        if response.framing >= _UNSIZED:
            self._chunked = head.minor == 1
            self.front.unframed = head.minor == 0
            close = close or head.minor == 0
        self._keep = not close
        if response.special and b"tunnel-error" in response.special:
            self.hub.note_tunnel_error(response.special[b"tunnel-error"][0])
        return response_head(response, minor=head.minor, close=close)

    def _gather(self, out: list[Piece]) -> None:
        """Pass on part of a body with whatever else comes in this turn of the loop: one write instead of many."""
        if not self._gathered:
            self.hub.loop.call_soon(self._pass_on, GATHER_TURNS)
        self._gathered += out

    def _pass_on(self, turns: int) -> None:
        if not self._gathered or self.over:
            return
        entry = self.entry
        more = turns and entry is not None and entry.session.pace.resting
        if more and sum(map(len, self._gathered)) < GATHER_BYTES:
            self.hub.loop.call_soon(self._pass_on, turns - 1)
        else:
            self._write([])

    def _write(self, out: list[Piece]) -> None:
        transport = self.front.transport
        if self._gathered:
            out = self._gathered + out
            self._gathered = []
        self.size_out += put(transport, out)

    def _finish(self) -> None:
        """The response is complete; what is left of it is written here."""
        if self._gathered:
            self._write([])
        self.over = True
        stream = self.stream
        assert stream is not None
        if self.sent_all:
            stream.close()
        else:
            # FIN would tell the agent that the half of a body it has is the whole.
            stream.abort()
        response = self.response
        assert response is not None
        if self.reader is not None and response.framing is not _UNTIL_CLOSE:
            self.hub.return_reader(self.reader)
        self.close_books(response.status, "")
        self.front.finish(self._keep)

    # -- failing ------------------------------------------------------------------------------------------------------

    def _refuse(self, reason: Reason) -> None:
        """No session took the request."""
        self.over = True
        self.close_books(0, "")
        self.front.refuse(reason, self.head)

    def _bad_response(self, fault: BadMessage, begun: bool) -> None:
        self.hub.stats.stream_errors[fault.reason] += 1
        if not begun:
            # Its head came in this very read, and has not gone out.
            self.started = self.front.unframed = False
        self._fail(BAD_RESPONSE)

    def _fail(self, reason: Reason) -> None:
        """The agent's side failed: tell the visitor, by an answer or by a cut."""
        if self._gathered and not self.over:
            self._write([])
        if self.entry is not None:
            self.entry.errors += 1
        self.give_up(reason)
        self.hub.stream_error(reason.code, reason.message, self.request_id.decode(), self.route.agent_id)
        if self.started:
            self.front.abort()
        else:
            self.front.refuse(reason, self.head, count=False)

    def visitor_gone(self) -> None:
        """The visitor's connection is over: reset the stream, so that the agent stops at once."""
        if not self.over:
            self.hub.stats.rejects[VISITOR_LEFT.code] += 1
            self.give_up(VISITOR_LEFT)

    def give_up(self, reason: Reason) -> None:
        """End it without a word to the visitor."""
        if self.over:
            return
        self.over = True
        if self.stream is not None:
            self.stream.abort()
        logged = self.started or reason is VISITOR_LEFT
        self.close_books(reason.status if logged else 0, reason.code)

    def check(self, now: float) -> float:
        """Look at the deadlines; returns when to look again. Called by the sweep."""
        if self._waiting is not None:
            self._waiting.forget(self)
            self._waiting = None
            self._refuse(AGENT_BUSY)
            return 0.0
        if self.patience is None:
            self.patience = Patience(self, now)
        verdict = self.patience.judge(self, now)
        if isinstance(verdict, float):
            return verdict
        self._time_out(verdict)
        return self.front.deadline

    def _time_out(self, reason: Reason) -> None:
        if self.entry is not None:
            self.entry.errors += 1
        self.give_up(reason)
        self.hub.stream_error(reason.code, reason.message, self.request_id.decode(), self.route.agent_id)
        if self.started or reason.status == 499:
            self.front.abort()
        else:
            self.front.refuse(reason, self.head, close=reason.status == 408, count=False)

    def _release(self) -> None:
        entry = self.entry
        if entry is not None:
            entry.active -= 1

    def close_books(self, status: int, reason: str) -> None:
        """The one place where an exchange leaves the books."""
        hub = self.hub
        hub.active -= 1
        hub.stats.bytes_to_visitors += self.size_out
        hub.stats.bytes_from_visitors += self.size_in
        if self._waiting is not None:
            self._waiting.forget(self)
            self._waiting = None
        if self.stream is not None:
            if self.entry is not None:
                self.entry.active -= 1
            # The stream knows us: without this every exchange would be work for the cycle collector.
            self.stream = None
        if hub.access_log is not None and status:
            hub.log_access(self, status, reason)
        pool = hub.pools.get(self.route.agent_id)
        if pool is not None and pool.waiters:
            hub.loop.call_soon(pool.wake)
