"""An asyncio transport that carries bytes in binary WebSocket messages over another transport."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from carrier_websocket.frames import (
    CLOSE,
    MAX_INBOUND,
    NO_STATUS,
    NORMAL,
    PING,
    PONG,
    FrameReader,
    FrameWriter,
    Piece,
    Violation,
    parse_close,
)

CLOSE_TIMEOUT = 5.0
"""Seconds without progress before a close handshake is given up: as long as a TLS shutdown may take."""
MAX_JOIN = 64 * 1024
"""Bytes of small messages that are joined for one call of the session. Larger buffers cost more than they save: the C
library gives memory from 128 KiB up back to the system and fetches it again each time."""
MAX_PONGS = 16
"""Pings of one read that are answered, the latest ones. Peers that test a connection send a few at once and want them
all back; a flood of them does not come back out."""
LINGER_TIMEOUT = 2.0
"""Seconds to go on reading after a violation, so that the kernel does not answer unread bytes with a reset, which could
overtake our close frame."""


class WebSocketError(ConnectionError):
    """The connection ended in another way than by a clean close handshake.

    Args:
        code: close code sent or received; 1006 if there was none.
        message: one line.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class WebSocketTransport(asyncio.Transport, asyncio.Protocol):
    """Protocol of the connection below, transport of the session above.

    There is no half close: `can_write_eof` is False. `close` sends what was written, then a close frame, and waits for
    the peer's. The session learns of the end as from any transport: `eof_received` and `connection_lost(None)` after
    the peer's close frame with code 1000, `connection_lost(WebSocketError)` after anything else, an end without a close
    frame included. `abort` gives `connection_lost(None)`, as asyncio's own transports do.

    Args:
        lower: the upgraded connection.
        session: protocol above; `connection_made` is the caller's to call. If it has `accepts_views = True`, its
            `data_received` may get a memoryview.
        client: which side this is.
        close_timeout: seconds without progress before a close handshake is given up.
    """

    __slots__ = (
        "_close_timeout",
        "_closing",
        "_deliver",
        "_failure",
        "_last_size",
        "_linger",
        "_loop",
        "_lost",
        "_lower",
        "_peer_closed",
        "_pong",
        "_reader",
        "_session",
        "_timer",
        "_views",
        "_write_paused",
        "_writer",
        "client",
    )

    def __init__(
        self,
        lower: asyncio.Transport,
        session: asyncio.Protocol,
        *,
        client: bool,
        close_timeout: float = CLOSE_TIMEOUT,
    ) -> None:
        self.client = client
        self._loop = asyncio.get_running_loop()
        self._lower = lower
        self._session = session
        self._views: bool = getattr(session, "accepts_views", False)
        self._reader = FrameReader(masked=not client)
        self._writer = FrameWriter(masked=client)
        self._close_timeout = close_timeout
        # Our close frame is written (or its place is taken by an abort): nothing is written any more.
        self._closing = False
        # The session is still to get what arrives.
        self._deliver = True
        self._peer_closed = False
        self._lost = False
        self._failure: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_size = 0
        self._linger = MAX_INBOUND
        self._write_paused = False
        self._pong: bytes | None = None

    def __repr__(self) -> str:
        state = "lost" if self._lost else "closing" if self._closing else "open"
        return f"<WebSocketTransport {'client' if self.client else 'server'} {state} over {self._lower!r}>"

    # Transport, called by the session.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes; ignored once closing."""
        self.writelines((data,))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Queue all pieces with one write below; ignored once closing."""
        if self._closing:
            return
        buffers = self._writer.binary(tuple(list_of_data))
        if len(buffers) == 1:
            self._lower.write(buffers[0])
        elif buffers:
            self._lower.writelines(buffers)

    def can_write_eof(self) -> bool:
        """Never: WebSocket has no half close."""
        return False

    def close(self) -> None:
        """Send what was written, then close; what still arrives is dropped. Idempotent."""
        if self._closing:
            return
        self._deliver = False
        self._send_close(NORMAL)
        # The peer's close frame must be seen.
        self._lower.resume_reading()

    def abort(self) -> None:
        """Drop the connection and what was not sent; the peer sees an error."""
        self._closing = True
        self._deliver = False
        self._lower.abort()

    def is_closing(self) -> bool:
        """Whether closing has begun on either side."""
        return self._closing or self._lower.is_closing()

    def pause_reading(self) -> None:
        """Stop reading the socket."""
        if not self._closing:
            self._lower.pause_reading()

    def resume_reading(self) -> None:
        """Read the socket again."""
        self._lower.resume_reading()

    def is_reading(self) -> bool:
        """Whether the session may get data."""
        return self._deliver and self._lower.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks, in bytes on the wire."""
        self._lower.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high mark."""
        return self._lower.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """Bytes on the wire still to be sent."""
        return self._lower.get_write_buffer_size()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Exchange the session."""
        self._session = cast(asyncio.Protocol, protocol)
        self._views = getattr(protocol, "accepts_views", False)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The session."""
        return self._session

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Facts of the connection below."""
        return self._lower.get_extra_info(name, default)

    # Protocol, called by the connection below.

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if self._failure is not None or self._peer_closed:
            self._discard(len(data))
            return
        pieces = reader.feed(data)
        if len(pieces) == 1:
            self._hand_over(pieces[0])
        elif pieces:
            self._hand_over_all(pieces)
        if reader.controls:
            self._controls()
        if reader.violation is not None:
            self._violated(reader.violation)

    def _hand_over_all(self, pieces: list[Piece]) -> None:
        """Join small pieces, so that the session is called once for them."""
        batch: list[Piece] = []
        size = 0
        for piece in pieces:
            if size and size + len(piece) > MAX_JOIN:
                self._hand_over(batch[0] if len(batch) == 1 else b"".join(batch))
                batch, size = [], 0
            batch.append(piece)
            size += len(piece)
        self._hand_over(batch[0] if len(batch) == 1 else b"".join(batch))

    def _hand_over(self, piece: Piece) -> None:
        if self._deliver:
            data = piece if self._views or isinstance(piece, bytes) else bytes(piece)
            self._session.data_received(cast(bytes, data))

    def eof_received(self) -> None:
        self._no_close_frame()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if exc is not None and not self._peer_closed:
            self._failure = self._failure or exc
        elif not self._closing:
            self._no_close_frame()
        self._closing = True
        self._tell_lost()

    def pause_writing(self) -> None:
        self._write_paused = True
        if not self._lost:
            self._session.pause_writing()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._pong is not None:
            self._send_pong(self._pong)
        if not self._lost:
            self._session.resume_writing()

    # Control frames and the end.

    def _controls(self) -> None:
        controls, self._reader.controls = self._reader.controls, []
        # An answer to the latest ping would do (RFC 6455 section 5.5.3).
        for payload in [payload for opcode, payload in controls if opcode == PING][-MAX_PONGS:]:
            self._send_pong(payload)
        # Nothing is read behind a close frame, so it is the last one.
        opcode, payload = controls[-1]
        if opcode == CLOSE:
            self._peer_close(parse_close(payload))

    def _send_pong(self, payload: bytes) -> None:
        self._pong = None
        if self._closing:
            return
        if self._write_paused:
            self._pong = payload
        else:
            self._lower.write(self._writer.control(PONG, payload))

    def _peer_close(self, code: int) -> None:
        self._peer_closed = True
        if code != NORMAL:
            self._failure = WebSocketError(code, f"the peer closed the WebSocket with code {code}")
        elif self._deliver:
            self._session.eof_received()
        self._deliver = False
        if not self._closing:
            # The peer's own code is the usual answer (RFC 6455 section 5.5.1).
            self._send_close(NORMAL if code == NO_STATUS else code)
            self._lower.resume_reading()
        # The server ends the TCP connection, the client waits for that (RFC 6455 section 7.1.1) until the deadline.
        if not self.client:
            self._lower.close()

    def _violated(self, violation: Violation) -> None:
        self._failure = WebSocketError(violation.code, f"WebSocket peer: {violation.reason}")
        self._deliver = False
        if self._closing:
            self._lower.abort()
            return
        self._send_close(violation.code, violation.reason)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(LINGER_TIMEOUT, self._lower.abort)
        self._lower.resume_reading()
        self._loop.call_soon(self._tell_lost)

    def _discard(self, size: int) -> None:
        self._linger -= size
        if self._linger < 0:
            self._lower.abort()

    def _no_close_frame(self) -> None:
        if not self._peer_closed and self._failure is None:
            self._failure = WebSocketError(1006, "the connection ended without a WebSocket close frame")

    def _send_close(self, code: int, reason: str = "") -> None:
        self._closing = True
        self._lower.write(self._writer.close(code, reason))
        self._last_size = self._lower.get_write_buffer_size()
        self._timer = self._loop.call_later(self._close_timeout, self._close_late)

    def _close_late(self) -> None:
        """Give up, unless the peer is still taking what was written before the close frame."""
        size = self._lower.get_write_buffer_size()
        if size < self._last_size:
            self._last_size = size
            self._timer = self._loop.call_later(self._close_timeout, self._close_late)
            return
        self._timer = None
        if not self._peer_closed and self._failure is None:
            self._failure = WebSocketError(1006, "no WebSocket close frame came back in time")
        self._lower.abort()

    def _tell_lost(self) -> None:
        if not self._lost:
            self._lost = True
            self._session.connection_lost(self._failure)
