"""The first half of an exchange: the request from the stream, to the target it names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from agentd.heads import request_id_of, target_head
from agentd.reasons import TARGET_NOT_ALLOWED, Reason, of_message
from agentd.tunnels import begins_connect
from tunnel.http1 import LAST_CHUNK, BadMessage, Framing, Piece, encode_chunk
from tunnel.writing import put

if TYPE_CHECKING:
    from agentd.exchange import Exchange
    from agentd.pool import TargetConnection, TargetPool
    from agentd.serve import Server
    from agentd.watch import Watch
    from tunnel.http1 import RequestHead, RequestReader, ResponseHead
    from yamux import StreamTransport

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
"""Methods that may be sent twice (RFC 9110 section 9.2.2)."""

# Enum members cost a look-up in the class each time.
_NONE, _CHUNKED = Framing.NONE, Framing.CHUNKED


class Asking(asyncio.Protocol):
    """The request's side of an exchange, and what both sides know.

    Attributes:
        head: of the request, once it is read.
        response: its final head, once it is there.
        sent_all: the request has been read to its end.
        over: nothing more will happen here.
        stream_full: the stream does not take more; the target is not being read.
        watch: what the sweep saw last.
        began: monotonic seconds as of the server's last sweep.
    """

    __slots__ = (
        "_chunked", "_gathered", "_held", "_held_size", "_id", "_pool", "_reader", "_reading", "_retried", "_server", "began",
        "connection", "head", "over", "response", "sent_all", "stream", "stream_full", "watch",
    )  # fmt: skip

    accepts_views = True
    stream: StreamTransport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._reader: RequestReader | None = None
        self._pool: TargetPool | None = None
        # What was sent and may be sent again, or waits for a connection.
        self._held: list[Piece] | None = None
        self._held_size = 0
        # Body for the target that has come in this turn of the loop.
        self._gathered: list[Piece] | None = None
        self._id = b""
        self._chunked = self._retried = self._reading = False
        self.connection: TargetConnection | None = None
        self.head: RequestHead | None = None
        self.response: ResponseHead | None = None
        self.sent_all = self.over = self.stream_full = False
        self.watch: Watch | None = None
        self.began = server.now

    def data_received(self, data: bytes | memoryview) -> None:
        if self.head is not None:
            self._more(data)
            return
        server, reader = self._server, self._reader
        data = bytes(data)
        if reader is None:
            recalled = server.memory.recall(data)
            if recalled is not None:
                known, self._id, request = recalled
                self.head = known.head
                self.sent_all = True
                self._dispatch(known.head, known.pool, [request], len(request))
                return
            if data[:1] == b"C" and begins_connect(data):
                server.begin_tunnel(cast("Exchange", self), data)
                return
            self._reader = reader = server.take_reader()
        reader.feed(data)
        try:
            head = reader.next_head()
            if head is None:
                return
            self.head = head
            asked = head.special.get(b"x-proxy-host")
            pool = server.default if asked is None else server.allowed.get(asked[0]) or server.find(asked[0])
            if pool is None:
                self.refuse(TARGET_NOT_ALLOWED, "not in the list of targets")
                return
            request = target_head(head, pool.target, keep_host=server.keep_host)
            held: list[Piece] = [request]
            size = len(request)
            if head.framing is _NONE:
                self.sent_all = True
                if head.upgrade is None:
                    server.memory.keep(data, head, pool, request)
            else:
                wire = self._encode(reader, reader.read_body())
                held += wire
                size += sum(map(len, wire))
        except BadMessage as fault:
            self.refuse(of_message(fault.status, fault.reason), fault.detail)
            return
        self._dispatch(head, pool, held, size)

    def _dispatch(self, head: RequestHead, pool: TargetPool, held: list[Piece], size: int) -> None:
        """Send what there is of the request, now or once there is a connection."""
        raise NotImplementedError

    def _encode(self, reader: RequestReader, pieces: list[Piece]) -> list[Piece]:
        """Body bytes as they go to the target; notes the body's end."""
        assert self.head is not None
        self.sent_all = reader.body_done
        if self.head.framing is not _CHUNKED:
            return pieces
        wire = encode_chunk(pieces)
        if self.sent_all:
            wire.append(LAST_CHUNK)
        return wire

    def _more(self, data: bytes | memoryview) -> None:
        """What follows the head: body, or the first bytes of a protocol not agreed yet."""
        reader = self._reader
        if self.over or reader is None:
            return
        assert self.head is not None
        if self.sent_all:
            # A second request on the stream is nothing anybody sends; without an upgrade it is dropped.
            if self.head.upgrade is not None:
                reader.feed(data)
                if reader.buffered > self._server.hold:
                    self.stream.pause_reading()
            return
        try:
            reader.feed(data)
            wire = self._encode(reader, reader.read_body())
        except BadMessage as fault:
            self.refuse(of_message(fault.status, fault.reason), fault.detail)
            return
        self._hold(wire)
        connection = self.connection
        if connection is None:
            self._check_room()
        elif wire:
            # One write for what comes in one turn of the loop, however many frames it comes in.
            if self._gathered:
                self._gathered += wire
            else:
                self._gathered = wire
                self._server.loop.call_soon(self._pass_on)

    def _pass_on(self) -> None:
        """Write what has gathered. Also before the connection is another's: it would be short of it, and take as much of
        the next request for this one's body."""
        wire, self._gathered = self._gathered, None
        connection = self.connection
        # A target that closes after an early answer reads no more; writing on would only break its answer.
        if wire and connection is not None and (self.response is None or self.response.keep_alive):
            put(connection.transport, wire)

    def _hold(self, wire: list[Piece]) -> None:
        held = self._held
        if held is not None:
            self._held_size += sum(map(len, wire))
            if self.connection is not None and self._held_size > self._server.hold:
                self._held = None
            else:
                held += wire

    def _check_room(self) -> None:
        """Without a connection yet: take no more from the stream than is held."""
        if self._held_size > self._server.hold:
            self.stream.pause_reading()

    def refuse(self, reason: Reason, detail: str = "") -> None:
        """Answer with an error of our own."""
        raise NotImplementedError

    @property
    def request_id(self) -> bytes:
        """The request's id, empty if it has none that is harmless anywhere."""
        return self._id or request_id_of(self.head)

    @property
    def target_name(self) -> str:
        """The target, or what was asked for, for logs."""
        if self._pool is not None:
            return self._pool.target.url
        asked = self.head.special.get(b"x-proxy-host") if self.head is not None else None
        return asked[0].decode("latin-1") if asked else ""
