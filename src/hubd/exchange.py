"""One request from its head to the last byte of its response. Is itself the protocol of its yamux stream.

The life of an exchange, in the order of the methods: `start` finds a session and sends head and body so far in one
write; `send_body` passes the rest of the body as it comes; `data_received` turns the agent's response into the
visitor's; `_finish` ends the stream and hands the connection back. A failure before the first byte of a response
becomes another try or an error answer; after it the visitor's connection is cut, so that nothing looks complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from hubd import patience
from hubd.headers import informational_head, request_head, response_head
from hubd.reasons import (
    AGENT_BUSY,
    AGENT_LOST,
    AGENT_RESET,
    BAD_PATH,
    BAD_RESPONSE,
    BAD_UPGRADE,
    TRUNCATED,
    VISITOR_LEFT,
    Reason,
)
from hubd.sessions import MAX_STREAMS
from hubd.upgraded import switch
from tunnel.http1 import LAST_CHUNK, BadMessage, Framing, Piece, Truncated, encode_chunk
from yamux import RemoteGoAway, SessionClosed, StreamLimit

if TYPE_CHECKING:
    from hubd.front import Front
    from hubd.routes import Route
    from hubd.sessions import AgentSession, Pool
    from hubd.state import Hub
    from tunnel.http1 import RequestHead, ResponseHead
    from yamux import StreamTransport

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
"""Methods that may be sent twice (RFC 9110 section 9.2.2), without TRACE, which is not served."""

# Below this one copy is cheaper than a write of several buffers.
JOIN_BYTES = 16 * 1024
# Sessions tried for one request after the first. More would let one request run through a whole broken pool.
MAX_RETRIES = 3


class Exchange(asyncio.Protocol):
    """One request and its response.

    Attributes:
        sent_all: the request has been read to its end.
        started: part of a final response has gone to the visitor.
        over: nothing more will happen here.
        entry: the session that serves it.
        size_in: body bytes from the visitor.
        size_out: bytes to the visitor.
    """

    __slots__ = (
        "_chunked",
        "_held",
        "_held_size",
        "_keep",
        "_own_id",
        "_replays",
        "_retries",
        "_waiting",
        "began",
        "entry",
        "front",
        "head",
        "hub",
        "over",
        "patience",
        "reader",
        "request_id",
        "response",
        "route",
        "sent_all",
        "size_in",
        "size_out",
        "started",
        "stream",
    )

    accepts_views = True

    def __init__(
        self, hub: Hub, front: Front, head: RequestHead, route: Route, request_id: bytes, own_id: bool
    ) -> None:
        self.hub = hub
        self.front = front
        self.head = head
        self.route = route
        self.request_id = request_id
        self._own_id = own_id
        self.reader = hub.take_reader()
        self.entry: AgentSession | None = None
        self.stream: StreamTransport | None = None
        self.response: ResponseHead | None = None
        self.began = hub.now
        self.patience: patience.Patience | None = None
        self.sent_all = True
        self.started = self.over = False
        self.size_in = self.size_out = 0
        self._chunked = self._keep = False
        self._waiting: Pool | None = None
        self._held: list[Piece] | None = []
        self._held_size = 0
        self._retries = self._replays = 0

    def __repr__(self) -> str:
        state = "over" if self.over else "started" if self.started else "queued" if self._waiting else "waiting"
        return f"<Exchange {self.request_id!r} {self.route.agent_id} {state}>"

    # -- sending the request ------------------------------------------------------------------------------------------

    def start(self, pieces: Sequence[Piece], done: bool) -> None:
        """Send the request, or wait for a free stream.

        Args:
            pieces: body bytes that are there already.
            done: they are the whole body.
        """
        hub = self.hub
        hub.active += 1
        hub.stats.exchanges += 1
        if hub.access_log is not None:
            self.began = hub.loop.time()
        self.sent_all = done
        if self.head.framing:
            self._held = self._encode(pieces, done)
        self.reader.expect(self.head.method, self.head.upgrade)
        self.front.deadline = hub.now + hub.timeouts.response if done else 0.0
        if not self._dispatch():
            self._queue()

    def _dispatch(self) -> bool:
        """Find a session and send, or fail; False if every session of the agent is full."""
        hub = self.hub
        pool = hub.pools.get(self.route.agent_id)
        if pool is None:
            self._refuse(hub.pools.absent(self.route.agent_id))
            return True
        entry = hub.pick(pool)
        if entry is not None and self._open(entry):
            return True
        # Off the straight path: a full session, or one that ended without a word yet. Each is asked once.
        for entry in list(pool.entries):
            if not entry.draining and self._open(entry):
                return True
        if hub.pools.get(self.route.agent_id) is None:
            self._refuse(hub.pools.absent(self.route.agent_id))
            return True
        return False

    def _open(self, entry: AgentSession) -> bool:
        """Open a stream and send what there is; False if this session cannot take it."""
        if entry.active >= MAX_STREAMS:
            return False
        request = request_head(
            self.head,
            self.route,
            self.front.link,
            raw_path=entry.raw_path,
            request_id=self.request_id,
            own_id=self._own_id,
            via=self.hub.via,
        )
        if request is None:
            self._refuse(BAD_PATH)
            return True
        try:
            stream = entry.session.open_stream(self)
        except StreamLimit:
            return False
        except RemoteGoAway:
            self.hub.pools.retire(entry)
            return False
        except SessionClosed:
            self.hub.pools.remove(entry)
            return False
        self.entry = entry
        entry.active += 1
        held = self._held
        if not held:
            stream.write(request)
            return True
        self._send(stream, [request, *held], len(request) + self._held_size)
        if self._held_size > self.hub.limits.replay:
            self._held = None
        return True

    def _send(self, stream: StreamTransport, data: list[Piece], size: int) -> None:
        if size <= JOIN_BYTES:
            stream.write(b"".join(data))
        else:
            stream.writelines(data)

    def _encode(self, pieces: Sequence[Piece], done: bool) -> list[Piece]:
        """Body bytes as they go on the stream."""
        size = sum(map(len, pieces))
        self.size_in += size
        self._held_size += size
        if self.head.framing is not Framing.CHUNKED:
            return list(pieces)
        wire = encode_chunk(pieces)
        if done:
            wire.append(LAST_CHUNK)
        return wire

    def send_body(self, pieces: Sequence[Piece], done: bool) -> None:
        """Pass on body bytes.

        Args:
            pieces: as read.
            done: the body is complete with them.
        """
        wire = self._encode(pieces, done)
        if done:
            self.sent_all = True
        held = self._held
        if held is not None:
            if self.stream is not None and self._held_size > self.hub.limits.replay:
                self._held = None
            else:
                held += wire
        if self.stream is not None and wire:
            self._send(self.stream, wire, sum(map(len, wire)))

    def _queue(self) -> None:
        """Every session is full: wait for a stream to end, for a moment."""
        pool = self.hub.pools.get(self.route.agent_id)
        if pool is None or not pool.wait(self):
            self._refuse(AGENT_BUSY)
            return
        self._waiting = pool
        if not self.sent_all:
            self.front.pause_reading()
        self.front.deadline = self.hub.loop.time() + self.hub.timeouts.queue

    def retry(self) -> bool:
        """Called by the pool when a stream may be free; False if there was none."""
        waiting, self._waiting = self._waiting, None
        if self._dispatch():
            if not self.over:
                self.front.deadline = self.hub.now + self.hub.timeouts.response if self.sent_all else 0.0
                self.front.resume_reading()
            return True
        self._waiting = waiting
        return False

    # -- the stream's calls -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.stream = cast("StreamTransport", transport)
        if self.front.write_paused:
            self.stream.pause_reading()

    def data_received(self, data: bytes | memoryview) -> None:
        if self.over:
            return
        reader = self.reader
        try:
            response = self.response
            out: list[Piece] = []
            if response is None:
                self._held = None
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
            self.hub.stats.stream_errors[fault.reason] += 1
            self._fail(BAD_RESPONSE)
            return
        if not self._chunked:
            out += pieces
        else:
            if pieces:
                out += encode_chunk(pieces)
            if done:
                out.append(LAST_CHUNK)
        if out:
            self._write(out)
        if done and not self.over:
            self._finish()

    def eof_received(self) -> bool:
        if not self.over:
            try:
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
        while True:
            response = self.reader.next_head()
            if response is None:
                return None
            if response.status >= 200:
                out.append(self._begin_response(response))
                return response
            if response.status == 101:
                if response.upgrade is None or response.upgrade != self.head.upgrade:
                    self._fail(BAD_UPGRADE)
                else:
                    switch(self, response)
                return None
            if self.head.minor:
                out.append(informational_head(response))

    def _begin_response(self, response: ResponseHead) -> bytes:
        self.response = response
        self.started = True
        head = self.head
        close = not (head.keep_alive and self.sent_all) or head.upgrade is not None or self.hub.draining
        if response.framing >= Framing.CHUNKED:
            self._chunked = head.minor == 1
            close = close or head.minor == 0
        self._keep = not close
        if response.special and b"tunnel-error" in response.special:
            self.hub.note_tunnel_error(response.special[b"tunnel-error"][0])
        return response_head(response, minor=head.minor, close=close)

    def _write(self, out: list[Piece]) -> None:
        transport = self.front.transport
        if len(out) == 1:
            self.size_out += len(out[0])
            transport.write(out[0])
            return
        size = sum(map(len, out))
        self.size_out += size
        if size <= JOIN_BYTES:
            transport.write(b"".join(out))
        else:
            transport.writelines(out)

    def _finish(self) -> None:
        """The response is complete and written."""
        self.over = True
        stream = self.stream
        assert stream is not None
        if self.sent_all:
            stream.close()
        else:
            # FIN would tell the agent that the half of a body it has is the whole.
            stream.abort()
        self.hub.return_reader(self.reader)
        self.close_books(self.response.status if self.response is not None else 0, "")
        self.front.finish(self._keep)

    # -- failing ------------------------------------------------------------------------------------------------------

    def _try_again(self, exc: Exception | None) -> bool:
        """Send the request once more on another session, if nothing can happen twice by it."""
        held, stream = self._held, self.stream
        self.stream = None
        if held is None or self.front.gone or self._retries >= MAX_RETRIES:
            return False
        untouched = stream is not None and stream.bytes_out == 0 and isinstance(exc, SessionClosed)
        if not untouched:
            lost = isinstance(exc, SessionClosed) or self._was_leaving
            if self._replays or not lost or self.head.method not in IDEMPOTENT:
                return False
            self._replays += 1
        self._retries += 1
        self.hub.stats.retries += 1
        if not self._dispatch():
            self._queue()
        return True

    @property
    def _was_leaving(self) -> bool:
        """Whether the session has been told to open no more streams: it may have refused this one unseen."""
        return self.entry is not None and not self.entry.session.can_open

    def _refuse(self, reason: Reason) -> None:
        """No session took the request."""
        self.over = True
        self.close_books(0, "")
        self.front.refuse(reason, self.head)

    def _fail(self, reason: Reason) -> None:
        """The agent's side failed: tell the visitor, by an answer or by a cut."""
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
            self.patience = patience.Patience(self, now)
        verdict = self.patience.judge(self, now)
        if isinstance(verdict, float):
            return verdict
        self._time_out(verdict)
        return self.front.deadline

    def _time_out(self, reason: Reason) -> None:
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
        if self._waiting is not None:
            self._waiting.forget(self)
            self._waiting = None
        if self.stream is not None:
            self._release()
        if hub.access_log is not None and status:
            hub.log_access(self, status, reason)
        pool = hub.pools.get(self.route.agent_id)
        if pool is not None and pool.waiters:
            hub.loop.call_soon(pool.wake)
