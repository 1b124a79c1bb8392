"""The first half of an exchange: finding a session, sending the request, and sending it again where that is safe."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hubd.headers import request_lines
from hubd.reasons import AGENT_BUSY, BAD_PATH, Reason
from hubd.sessions import MAX_STREAMS
from tunnel.http1 import LAST_CHUNK, Framing, Piece, encode_chunk
from tunnel.writing import put
from yamux import RemoteGoAway, SessionClosed, StreamLimit, StreamReset

if TYPE_CHECKING:
    from hubd.front import Front
    from hubd.routes import Route
    from hubd.sessions import AgentSession, Pool
    from hubd.state import Hub
    from tunnel.http1 import RequestHead
    from yamux import StreamTransport

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
"""Methods that may be sent twice (RFC 9110 section 9.2.2), without TRACE, which is not served."""

# Sessions tried for one request after the first. More would let one request run through a whole broken pool.
MAX_RETRIES = 3

_CHUNKED = Framing.CHUNKED


class Sending(asyncio.Protocol):
    """The request's side of an exchange, and what both sides know.

    Attributes:
        entry: the session that serves it.
        stream: its stream, None before and after.
        sent_all: the request has been read to its end.
        asked_at: when the last of the request was sent, as of a sweep.
        over: nothing more will happen here.
        size_in: body bytes from the visitor.
    """

    __slots__ = (
        "_held",
        "_held_size",
        "_refused_by",
        "_replays",
        "_retries",
        "_waiting",
        "asked_at",
        "entry",
        "front",
        "head",
        "hub",
        "over",
        "request_id",
        "route",
        "sent_all",
        "size_in",
        "stream",
    )

    # Given their first values by the exchange, in the one call that making it takes.
    hub: Hub
    front: Front
    head: RequestHead
    route: Route
    request_id: bytes
    entry: AgentSession | None
    stream: StreamTransport | None
    sent_all: bool
    over: bool
    size_in: int
    asked_at: float
    _waiting: Pool | None
    _held: list[Piece] | None
    _held_size: int
    _refused_by: AgentSession | None
    _retries: int
    _replays: int

    @property
    def held_bytes(self) -> int:
        """Bytes that wait here: for the agent, for another try, or for the visitor to read."""
        held = self._held_size if self._held else 0
        stream = self.stream
        return held if stream is None else held + stream.get_write_buffer_size() + stream.unread

    def _refuse(self, reason: Reason) -> None:
        """No session took the request."""
        raise NotImplementedError

    def start(self, pieces: Sequence[Piece], done: bool) -> None:
        """Send the request, or wait for a free stream.

        Args:
            pieces: body bytes that are there already.
            done: they are the whole body.
        """
        hub = self.hub
        hub.active += 1
        hub.stats.exchanges += 1
        self.sent_all = done
        self._held = self._encode(pieces, done) if self.head.framing else []
        self.front.deadline = hub.now + hub.response_timeout if done else 0.0
        if not self._dispatch():
            self._queue()

    def _dispatch(self) -> bool:
        """Find a session and send, or fail; False if every session of the agent is full."""
        hub = self.hub
        pool = hub.pools.get(self.route.agent_id)
        if pool is None:
            self._refuse(hub.pools.absent(self.route.agent_id))
            return True
        entries = pool.entries
        # The only one there is finds out by itself whether it can.
        entry = entries[0] if len(entries) == 1 else hub.pick(pool)
        if entry is not None and entry is not self._refused_by and self._open(entry):
            return True
        # Off the straight path: a full session, or one that ended without a word yet. Each is asked once.
        for entry in sorted(pool.entries, key=lambda entry: entry is self._refused_by):
            if not entry.draining and self._open(entry):
                return True
        if hub.pools.get(self.route.agent_id) is None:
            self._refuse(hub.pools.absent(self.route.agent_id))
            return True
        return False

    def _open(self, entry: AgentSession) -> bool:
        """Open a stream and send what there is; False if this session cannot take it."""
        if entry.active >= MAX_STREAMS or not entry.ready:
            return False
        route = self.route
        lines = route.lines.get(entry.raw_path)
        if lines is None:
            lines = request_lines(self.head, route, self.front.link, raw_path=entry.raw_path, via=self.hub.via)
            if lines is None:
                self._refuse(BAD_PATH)
                return True
            if route.given is None:
                lines += b"X-Request-Id: "
            route.lines[entry.raw_path] = lines
        request = lines + self.request_id + b"\r\n\r\n" if route.given is None else lines + b"\r\n"
        held = self._held
        # Where the agent takes it, the request's end rides on its last frame.
        last = entry.folds and self.sent_all and self.head.upgrade is None
        try:
            if not held:
                entry.session.open_stream(self, request, end=last)
            else:
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
        entry.requests += 1
        if held:
            put(stream, [request, *held])
            if self._held_size > self.hub.limits.replay:
                self._held = None
            if last:
                stream.write_eof()
        return True

    def _encode(self, pieces: Sequence[Piece], done: bool) -> list[Piece]:
        """Body bytes as they go on the stream."""
        size = sum(map(len, pieces))
        self.size_in += size
        self._held_size += size
        if self.head.framing is not _CHUNKED:
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
        self.asked_at = self.hub.now
        if done:
            self.sent_all = True
        held = self._held
        if held is not None:
            if self.stream is not None and self._held_size > self.hub.limits.replay:
                self._held = None
            else:
                held += wire
        stream = self.stream
        if stream is not None:
            if wire:
                put(stream, wire)
            entry = self.entry
            if done and entry is not None and entry.folds:
                stream.write_eof()

    def _queue(self) -> None:
        """Every session is full: wait for a stream to end, for a moment."""
        pool = self.hub.pools.get(self.route.agent_id)
        if pool is None or not pool.wait(self):
            self._refuse(AGENT_BUSY)
            return
        self._wait_in(pool)
        self.front.deadline = max(self.hub.loop.time() + self.hub.timeouts.queue, pool.until)

    def _wait_in(self, pool: Pool | None) -> None:
        self._waiting = pool
        if not self.sent_all:
            deadline = self.front.deadline
            self.front.pause_reading()
            self.front.deadline = deadline

    def retry(self) -> bool:
        """Called by the pool when a stream may be free; False if there was none."""
        waiting, self._waiting = self._waiting, None
        # Before the request is sent: what is sent may fill the stream, which then stops reading again.
        self.front.resume_reading()
        if self._dispatch():
            if not self.over:
                done = self.sent_all and not self.front.read_paused
                self.front.deadline = self.hub.now + self.hub.response_timeout if done else 0.0
            return True
        self._wait_in(waiting)
        return False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.stream = stream = transport  # type: ignore[assignment]
        if self.front.write_paused:
            stream.pause_reading()  # type: ignore[attr-defined]

    def _try_again(self, exc: Exception | None) -> bool:
        """Send the request once more on another session, if nothing can happen twice by it."""
        held, stream = self._held, self.stream
        self.stream = None
        if held is None or self.front.gone or self._retries >= MAX_RETRIES:
            return False
        # A stream that was refused has reached nobody: agents, ours and Go's, acknowledge what they accept.
        refused = isinstance(exc, StreamReset) and exc.refused
        if refused:
            self._refused_by = self.entry
        closed = isinstance(exc, SessionClosed)
        if not (refused or (closed and stream is not None and (stream.bytes_out == 0 or self._was_shut_out(stream)))):
            lost = closed or self._was_leaving
            if self._replays or not lost or self.head.method not in IDEMPOTENT:
                return False
            self._replays += 1
        self._retries += 1
        self.hub.stats.retries += 1
        # The lost stream may have stopped the reading, and will not start it again.
        self.front.resume_reading()
        if not self._dispatch():
            self._queue()
        return True

    def _was_shut_out(self, stream: StreamTransport) -> bool:
        """Whether the agent has closed its door before this stream came, and ended without having accepted it.

        Our agents acknowledge what they have accepted before they say GoAway, and refuse what comes later. What others
        do with streams that wait to be accepted then is not known.
        """
        entry = self.entry
        return entry is not None and entry.folds and entry.session.core.remote_go_away and not stream.answered

    @property
    def _was_leaving(self) -> bool:
        """Whether the session has been told to open no more streams: it may have refused this one unseen."""
        return self.entry is not None and not self.entry.session.can_open
