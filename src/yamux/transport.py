"""A stream as an ``asyncio.Transport``: any asyncio protocol runs on it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from .corestream import Buffer
from .errors import StreamReset, YamuxError
from .handover import frozen, hold
from .streamend import HIGH_MARK, StreamEnd
from .streamstate import CLOSED, RESET, WRITABLE


class StreamTransport(StreamEnd):
    """One stream of a session. Made by ``Session``.

    Told to the protocol as asyncio does: the peer's FIN is ``eof_received``, the end of both directions
    ``connection_lost(None)``; a reset or the loss of the carrier is ``connection_lost(exc)`` and never an EOF.

    Data given to ``write`` must not change until it was sent (bytearrays are copied). A protocol whose class sets
    ``accepts_views = True`` may be handed memoryviews, which saves a copy. Credit goes back to the peer once
    ``data_received`` has returned, unless reading was paused in it: then when reading resumes.
    """

    __slots__ = ()

    _start_tls_compatible = True  # what loop.start_tls asks for; TLS then also calls _force_close

    def __repr__(self) -> str:
        return f"<StreamTransport {self._stream.id} {self._stream.state.name}{' closing' if self._closing else ''}>"

    # -- reading -----------------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Whether data is being handed over."""
        return not self._paused and not self._closing and not self._over

    def pause_reading(self) -> None:
        """Hand over nothing more and give the peer no credit. What still comes fits in the window it holds."""
        if not self._closing:
            self._paused = True

    def resume_reading(self) -> None:
        """Go on. What has come meanwhile is handed over in the next turn of the loop."""
        if not self._paused:
            return
        self._paused = False
        if self._held:
            held, self._held = self._held, 0
            self.consumed(held)
        if self._inbox or self._eof_waiting or self._failure is not None:
            self.session.loop.call_soon(self._drain_inbox)

    def consumed(self, count: int) -> None:
        """Give credit for ``count`` bytes. Only for a protocol whose class sets ``gives_credit = True``."""
        self._core.consume(self._stream, count)
        if self._core.outbox.control:
            self.session.wake()

    def _deliver(self, data: Buffer) -> None:
        if self._paused or self._inbox:
            if self._inbox is None:
                self._inbox = deque()
            hold(self._inbox, data)
        elif self._closing or self._manual:
            self._feed(data)
        else:
            # The common case of _feed, spelled out: it runs for every frame.
            try:
                if self._push is None:
                    self._protocol.data_received(data if self._views else bytes(data))
                else:
                    self._push(data)
            except BaseException as error:
                self._protocol_failed(error)
                return
            if self._paused:
                self._held += len(data)
            elif self._stream.readable:
                self._core.consume(self._stream, len(data))
            else:
                # Nothing more can come: nobody needs the credit.
                self._stream.unread -= len(data)

    def _feed(self, data: Buffer) -> None:
        if self._over:
            return
        if not self._closing:
            try:
                (self._push or self._protocol.data_received)(data if self._views else bytes(data))
            except BaseException as error:
                self._protocol_failed(error)
                return
            if self._manual:
                return
            if self._paused:
                self._held += len(data)
                return
        self._core.consume(self._stream, len(data))

    def _drain_inbox(self) -> None:
        while self._inbox and not self._paused:
            self._feed(self._inbox.popleft())
        if self._core.outbox.control:
            self.session.wake()
        if self._inbox or self._paused or self._over:
            return
        if self._eof_waiting:
            self._eof_waiting = False
            self._tell_eof()
        if self._failure is not None:
            self._lose(self._failure)

    def _ended(self) -> None:
        """The peer's FIN came."""
        if self._closing and self._stream.state is CLOSED:
            # The common case: the protocol is done, and nothing waits to be handed over.
            self._eof_told = True
            self._lose(None)
        elif self._inbox or self._paused:
            self._eof_waiting = True
        else:
            self._tell_eof()

    def _tell_eof(self) -> None:
        if self._over:
            return
        self._eof_told = True
        if self._closing:
            keep_open = True
        else:
            try:
                keep_open = self._protocol.eof_received()
            except BaseException as error:
                self._protocol_failed(error)
                return
        if self._stream.state is CLOSED:
            self._lose(None)
        elif not keep_open:
            self.close()
        elif self._stream.ending:
            self.session.finish(self)

    # -- writing -----------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue data. Ignored once the stream is closing or lost, as asyncio does; RuntimeError after write_eof."""
        if self._closing or self._over:
            return
        stream = self._stream
        if stream.ending or stream.state not in WRITABLE:
            if stream.state is RESET or self._core.error is not None:
                return
            raise RuntimeError("Cannot call write() after write_eof()")
        self._core.send_data(stream, data if type(data) is bytes else frozen(data))
        session = self.session
        if not session.woken:
            session.wake()
        if stream.pending_bytes > self._high and not self._write_paused:
            self._pause_protocol()

    def write_last(self, data: bytes) -> None:
        """``write`` and ``close`` in one: a whole answer."""
        stream = self._stream
        if self._closing or self._paused or self._inbox or stream.ending or stream.state not in WRITABLE:
            self.write(data)
            self.close()
            return
        self._closing = stream.deaf = True
        self._core.send_last(stream, data)
        session = self.session
        session._finishing.append(self)
        if not session.woken:
            session.wake()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Queue several buffers without joining them."""
        for data in list_of_data:
            self.write(data)

    def can_write_eof(self) -> bool:
        """A stream always half-closes."""
        return True

    def write_eof(self) -> None:
        """Send FIN after what is queued; reading goes on."""
        if self._over or self._stream.ending:
            return
        self._core.end_stream(self._stream)
        if self._eof_told:
            self.session.finish(self)  # nothing but our own FIN is missing for the end of both directions
        elif not self.session.woken:
            self.session.wake()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Marks, in bytes, at which the protocol is asked to pause and to resume writing."""
        if high is None:
            high = HIGH_MARK if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be >= low ({low}) must be >= 0")
        self._high, self._low = high, low
        if self._stream.pending_bytes > high and not self._write_paused:
            self._pause_protocol()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """(low, high) in bytes."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Bytes queued that have not been handed to the carrier."""
        return self._stream.pending_bytes

    def _pause_protocol(self) -> None:
        self._write_paused = True
        self._stream.low_mark = self._low
        try:
            self._protocol.pause_writing()
        except BaseException as error:
            self._protocol_failed(error)

    def _drained(self) -> None:
        if self._write_paused:
            self._write_paused = False
            self._stream.low_mark = -1
            try:
                self._protocol.resume_writing()
            except BaseException as error:
                self._protocol_failed(error)

    # -- the end -----------------------------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Whether the stream is closing or over."""
        return self._closing or self._over

    def close(self) -> None:
        """Send what is queued and FIN; drop whatever still comes. ``connection_lost(None)`` follows once FIN is out."""
        if self._closing or self._over:
            return
        stream = self._stream
        self._closing = stream.deaf = True
        self._paused = False
        if self._failure is not None:
            self.session.loop.call_soon(self._lose, self._failure)
        unread = self._held
        if self._inbox:
            unread += sum(map(len, self._inbox))
            self._inbox = None
        if unread:
            self._held = 0
            self._core.consume(stream, unread)
        # With both FINs through there is nothing to do but to tell of the peer's, which is about to happen.
        if stream.state is not CLOSED or self._eof_told or self._eof_waiting:
            self._core.end_stream(stream)
            self.session.finish(self)

    def abort(self) -> None:
        """Reset the stream now: nothing queued is sent, and the peer sees an error, not an end."""
        self._force_close(None)

    def _force_close(self, error: BaseException | None) -> None:
        if self._over:
            return
        self._closing = True
        self._paused = False
        self._inbox = None
        self._core.reset_stream(self._stream)
        self.session.commanded()
        self.session.loop.call_soon(self._lose, error)

    def _protocol_failed(self, error: BaseException) -> None:
        if isinstance(error, SystemExit | KeyboardInterrupt):
            raise error
        self.session.loop.call_exception_handler(
            {
                "message": "Fatal error: the protocol of a yamux stream raised",
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )
        self._force_close(error)

    def _finished(self) -> bool:
        """Whether our FIN is out, or never will be; tells the protocol if that was the end."""
        state = self._stream.state
        if state in WRITABLE and self._core.error is None:
            return False
        if not self._over and (self._closing or (state is CLOSED and self._eof_told)):
            self._lose(None)
        return True

    def _dropped(self, error: StreamReset) -> None:
        self._inbox = None
        self._lose(error)

    def _session_lost(self, error: YamuxError) -> None:
        """The carrier is gone: hand over what had come, an EOF among it, then tell."""
        if self._inbox:
            self._failure = error
            return
        if self._eof_waiting:
            self._eof_waiting = False
            self._tell_eof()
        self._lose(error)

    def _lose(self, error: BaseException | None) -> None:
        if self._over:
            return
        self._over = self._closing = True
        self._stream.owner = None
        # A protocol mostly knows its transport: without this every stream would be work for the cycle collector.
        protocol, self._protocol, self._push = self._protocol, _GONE, None
        try:
            protocol.connection_lost(error)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as failure:
            context = {"message": "connection_lost of a yamux stream raised", "exception": failure, "transport": self}
            self.session.loop.call_exception_handler(context)


_GONE = asyncio.Protocol()
