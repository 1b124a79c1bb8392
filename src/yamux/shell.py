"""The callback side of a session: what the carrier calls, what streams call, and one write a turn of the loop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from .config import DEFAULT, Config
from .connection import Connection
from .corestream import Buffer, CoreStream
from .errors import SessionClosed, YamuxError
from .events import (
    DataReceived,
    Event,
    GoAwayReceived,
    PingAnswered,
    SessionEnded,
    StreamAnswered,
    StreamDropped,
    StreamEnded,
    StreamOpened,
)
from .line import Line
from .pace import TURN_BYTES, Pace
from .stream import Stream
from .streamstate import RESET
from .transport import StreamTransport

# A write of at most this many bytes is joined into one buffer: below it a copy costs less than another iovec entry, and
# on TLS every buffer becomes a record of its own.
JOIN_BYTES = 32 * 1024

# Seconds an ACK waits for the first data of its stream to ride on, and how many streams' ACKs may: half of what the peer
# may have unanswered by default.
ACK_DELAY = 0.005
ACKS_OWED = 128

# Seconds the peer gets to close its side after we ended the session, before the socket is dropped: closing with unread
# input makes the kernel send RST, which can destroy what the peer has not read yet.
LINGER = 1.0

NEVER = float("inf")


class SessionShell(asyncio.Protocol):
    """The protocol of a carrier's transport and the owner of its streams' transports; see ``Session``."""

    def __init__(
        self,
        *,
        client: bool,
        config: Config = DEFAULT,
        stream_factory: Callable[[], asyncio.BaseProtocol] | None = None,
        on_close: Callable[[Any], None] | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.core = Connection(client=client, config=config, clock=time.monotonic)
        self.transport: asyncio.Transport | None = None
        self.woken = False
        self.bytes_out = 0
        self._stream_factory = stream_factory
        self._on_close = on_close
        self.pace = Pace(self.loop)
        self._write_paused = False
        self._ending = self._told = False
        self._finishing: list[StreamTransport] = []
        self._backlog: deque[Stream] = deque()
        self._acceptors = Line(self.loop)
        self._openers = Line(self.loop)
        self._answers = Line(self.loop)
        self._empties = Line(self.loop)
        self._pings: dict[int, tuple[asyncio.Future[float], float]] = {}
        self._acking = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = NEVER
        self._lingering: asyncio.TimerHandle | None = None
        self._over: asyncio.Future[None] = self.loop.create_future()
        self._handlers: dict[type, Callable[[Any], None]] = {
            StreamOpened: self._on_opened,
            StreamAnswered: self._on_answered,
            StreamEnded: self._on_ended,
            StreamDropped: self._on_dropped,
            PingAnswered: self._on_pong,
            GoAwayReceived: self._on_go_away,
            SessionEnded: self._on_over,
        }

    def open_stream(self, protocol: asyncio.BaseProtocol, data: bytes = b"", *, end: bool = False) -> StreamTransport:
        """Open a stream for ``protocol`` and return its transport, without waiting for the peer.

        ``data`` is written first, and with ``end`` is all that will be, as by ``write`` and ``write_eof``.
        ``connection_made`` has been called when this returns. SYN and what is written in this turn of the loop leave
        together. Raises SessionClosed, RemoteGoAway or StreamLimit; none of them has opened anything.
        """
        if self.transport is None:
            raise SessionClosed("the session has no carrier yet")
        stream = StreamTransport(self, self.core.open_stream(data, end=end), protocol)
        if not self.woken:
            self.wake()
        try:
            protocol.connection_made(stream)
        except BaseException:
            stream.abort()
            raise
        return stream

    async def answered(self, stream: StreamTransport) -> None:
        """Wait until the peer has answered the opening of ``stream``, or it is over."""
        while not stream.answered and self.core.error is None:
            self.core.report_answers = True
            await self._answers.wait(lambda: False)

    def abort(self, error: YamuxError | None = None) -> None:
        """End the session now: every stream fails, nothing queued is sent. Idempotent."""
        self._dispatch(self.core.close(error or SessionClosed("aborted here")))
        if self.transport is not None:
            self.transport.abort()
        else:
            self._gone()

    def commanded(self) -> None:
        """Act on what a command to the core has caused, and write what it wants written."""
        if self.core.report_answers:
            self._dispatch(self.core.take_events())
        self.wake()

    def fold(self) -> None:
        """Save frames towards a peer that is known to take SYN, ACK and FIN on data; see ``Core.fold``."""
        self.core.fold()

    def _ack_soon(self) -> None:
        if len(self.core.owed_acks) >= ACKS_OWED:
            self.core.send_acks()
        elif not self._acking:
            self._acking = True
            self.loop.call_later(ACK_DELAY, self._ack)

    def _ack(self) -> None:
        self._acking = False
        self.core.send_acks()
        if self.core.has_output:
            self.wake()

    # -- the carrier's protocol --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the carrier."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's
        self._arm()
        self.wake()

    def data_received(self, data: bytes) -> None:
        """Called by the carrier."""
        core = self.core
        handlers = self._handlers
        pace = self.pace
        pace.taken += len(data)
        if pace.taken >= TURN_BYTES:
            pace.rest(self.transport)
        for event in core.receive_data(data):
            if isinstance(event, DataReceived):
                owner = event.stream.owner
                if owner is not None:
                    owner._deliver(event.data)
                    if event.last:
                        owner._ended()
                else:
                    core.consume(event.stream, len(event.data))
            else:
                handlers[type(event)](event)
        if core.owed_acks:
            self._ack_soon()
        if core.keepalive.owed:
            # A pong is to measure the way, not our turn of the loop.
            self._flush()
        elif not self.woken and (core.outbox.control or core.outbox.ready):
            self.wake()
        if core.closing and not core.streams:
            self._empties.release()

    def eof_received(self) -> bool:
        """Called by the carrier: its end is the end of every stream that has not seen a FIN."""
        self._dispatch(self.core.receive_eof())
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the carrier."""
        if exc is None:
            self._dispatch(self.core.receive_eof())
        else:
            self._dispatch(self.core.close(SessionClosed(f"the carrier was lost: {exc}")))
        if self._lingering is not None:
            self._lingering.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self.transport = None
        self._gone()

    def _gone(self) -> None:
        if not self._over.done():
            self._over.set_result(None)
            if self._on_close is not None:
                self._on_close(self)

    def pause_writing(self) -> None:
        """Called by the carrier when its buffer is full."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Called by the carrier when its buffer has room."""
        self._write_paused = False
        self.core.keepalive.drained += 1
        self.wake()

    # -- output ------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Write what there is at the end of this turn of the loop, once."""
        if not self.woken:
            self.woken = True
            self.loop.call_soon(self._flush)

    def finish(self, stream: StreamTransport) -> None:
        """Look after a stream whose FIN was asked for."""
        if self.core.error is None:
            self._finishing.append(stream)
            if not self.woken:
                self.wake()

    def _flush(self) -> None:
        self.woken = False
        transport = self.transport
        if transport is None or self._ending:
            return
        core = self.core
        outbox = core.outbox
        if not self._write_paused or core.error is not None:
            out = core.data_to_send()
            if len(out) == 1:
                self.bytes_out += len(out[0])
                transport.write(out[0])
            elif out:
                self._write(transport, out)
        if outbox.drained:
            for core_stream in core.take_drained():
                if core_stream.owner is not None:
                    core_stream.owner._drained()
        if self._finishing:
            self._finishing = [stream for stream in self._finishing if not stream._finished()]
        if core.report_answers:
            self._dispatch(core.take_events())
        if core.error is not None:
            self._end(transport)
        elif outbox.control or outbox.ready:
            if not self._write_paused:
                self.wake()
        elif core.closing and not core.streams:
            self._empties.release()

    def _write(self, transport: asyncio.Transport, out: list[Buffer]) -> None:
        if self.core.outbox.taken <= JOIN_BYTES:
            data = b"".join(out)
            self.bytes_out += len(data)
            transport.write(data)
        else:
            self.bytes_out += sum(map(len, out))
            transport.writelines(out)

    def _end(self, transport: asyncio.Transport) -> None:
        """The session has failed or is finished: let the last frames leave, then close the carrier."""
        self._ending = True
        if not transport.is_closing():
            if transport.can_write_eof():
                transport.write_eof()
            else:
                transport.close()
        self._linger(transport, transport.get_write_buffer_size())

    def _linger(self, transport: asyncio.Transport, before: int) -> None:
        """Drop the carrier once the peer had its time, and what waits to be written makes no progress any more."""

        def look() -> None:
            left = transport.get_write_buffer_size()
            if left and left < before:
                self._linger(transport, left)
            else:
                transport.abort()

        self._lingering = self.loop.call_later(LINGER, look)

    # -- events ------------------------------------------------------------------------------------------------------

    def _dispatch(self, events: list[Event]) -> None:
        for event in events:
            self._handlers[type(event)](event)
        if self.core.has_output or self.core.error is not None or self.core.closing:
            self.wake()

    def _on_opened(self, event: StreamOpened) -> None:
        core_stream = event.stream
        if core_stream.state is RESET or self._told:
            return
        if self._stream_factory is None:
            protocol = Stream()
            protocol.transport = StreamTransport(self, core_stream, protocol)
            self._backlog.append(protocol)
            self._acceptors.next()
        else:
            self._serve(core_stream, self._stream_factory)

    def _serve(self, core_stream: CoreStream, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        try:
            protocol = factory()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.loop.call_exception_handler({"message": "the factory for yamux streams raised", "exception": error})
            self.core.reset_stream(core_stream)
            return
        stream = StreamTransport(self, core_stream, protocol)
        self.core.accept(core_stream)
        try:
            protocol.connection_made(stream)
        except BaseException as error:
            stream._protocol_failed(error)

    def _on_answered(self, event: StreamAnswered) -> None:
        self._openers.next()
        self._answers.release()
        if not self._openers:
            self.core.report_answers = False

    def _on_ended(self, event: StreamEnded) -> None:
        if event.stream.owner is not None:
            event.stream.owner._ended()

    def _on_dropped(self, event: StreamDropped) -> None:
        owner = event.stream.owner
        if owner is not None:
            if self._backlog and owner.get_protocol() in self._backlog:
                self._backlog.remove(owner.get_protocol())
            owner._dropped(event.error)

    def _on_pong(self, event: PingAnswered) -> None:
        waiting = self._pings.pop(event.ping_id, None)
        if waiting is not None:
            if not waiting[0].done():
                waiting[0].set_result(event.rtt)
        else:
            # A keepalive ping: the next may be due before what the timer was set for.
            self._arm()

    def _on_go_away(self, event: GoAwayReceived) -> None:
        self._openers.release()

    def _on_over(self, event: SessionEnded) -> None:
        """The one place that fails every waiter."""
        error = event.error
        self._told = True
        self._finishing.clear()
        closed = error if isinstance(error, SessionClosed) else SessionClosed(f"session closed: {error}", error.code)
        if closed is not error:
            closed.__cause__ = error
        for core_stream in event.lost:
            if core_stream.owner is not None:
                core_stream.owner._session_lost(closed)
        for line in (self._acceptors, self._openers, self._answers, self._empties):
            line.release()
        for answer, _ in self._pings.values():
            if not answer.done():
                answer.set_exception(SessionClosed(f"session closed: {error}", error.code))
        self.wake()

    def _arm(self) -> None:
        """Set the one timer to what is due first: something of the core's, or the last moment of a ping's answer."""
        if self._timer is not None:
            self._timer.cancel()
        due = self.core.next_timeout()
        if due is None:
            self._timer_due = NEVER
            return
        for _, last in self._pings.values():
            due = min(due, last)
        self._timer_due = due
        # uvloop's own clock only moves once a turn and in milliseconds: too coarse to measure round trips with.
        self._timer = self.loop.call_later(due - time.monotonic(), self._on_timer)

    def _on_timer(self) -> None:
        now = time.monotonic()
        for answer, last in self._pings.values():
            if last <= now and not answer.done():
                answer.set_exception(TimeoutError("no answer to the ping in time"))
        self._dispatch(self.core.handle_timeout())
        self._arm()
