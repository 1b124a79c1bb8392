"""A yamux session on asyncio, for coroutines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self, TypeVar

from .errors import SessionClosed, StreamLimit, YamuxError
from .shell import SessionShell
from .stats import SessionStats
from .stream import Stream
from .transport import StreamTransport

_P = TypeVar("_P", bound=asyncio.BaseProtocol)


class Session(SessionShell):
    """One yamux session over one carrier.

    It is an ordinary asyncio protocol: give it to ``create_connection``, ``create_server`` or ``set_protocol``.
    ``stream_factory`` makes the protocol for each stream the peer opens, which is then acknowledged at once; without it
    they wait for ``accept``. ``on_close`` is called once, when the session has ended, with the session.

    As a context manager it closes gracefully on a normal exit and aborts on an exception.
    """

    def __repr__(self) -> str:
        side = "client" if self.core.client else "server"
        state = "open" if self.core.error is None else f"ended: {self.core.error}"
        return f"<Session {side} streams={self.num_streams} {state}>"

    # -- facts -------------------------------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether the session has ended."""
        return self.core.error is not None

    @property
    def close_reason(self) -> YamuxError | None:
        """Why the session ended; None while it lives."""
        return self.core.error

    @property
    def num_streams(self) -> int:
        """Streams that are open in either direction."""
        return len(self.core.streams)

    @property
    def can_open(self) -> bool:
        """Whether ``open_stream`` would succeed now."""
        return self.core.can_open and self.transport is not None

    @property
    def rtt(self) -> float | None:
        """Round trip time in seconds, the least of the last pings; None before the first answer."""
        return self.core.keepalive.rtt

    @property
    def stats(self) -> SessionStats:
        """Counters, as of now."""
        core = self.core
        return SessionStats(
            bytes_in=core.bytes_in,
            bytes_out=self.bytes_out,
            frames_in=core.frames_in,
            frames_out=core.outbox.frames_out,
            streams_opened=core.streams_opened,
            streams_accepted=core.streams_accepted,
            streams_open=len(core.streams),
        )

    # -- streams -----------------------------------------------------------------------------------------------------

    async def create_connection(self, factory: Callable[[], _P]) -> tuple[StreamTransport, _P]:
        """Open a stream for ``factory()``, waiting for a place among the unanswered opens if need be.

        Raises SessionClosed or RemoteGoAway. Cancellation opens nothing.
        """
        await self._place()
        protocol = factory()
        return self.open_stream(protocol), protocol

    async def open(self) -> Stream:
        """Open a stream to read from and write to. Errors and cancellation as ``create_connection``."""
        stream = Stream()
        try:
            self.open_stream(stream)
        except StreamLimit:
            await self._place()
            self.open_stream(stream)
        return stream

    async def open_connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a stream as asyncio's own pair, for libraries that take one. Errors as ``create_connection``."""
        reader = asyncio.StreamReader(limit=64 * 1024, loop=self.loop)
        transport, protocol = await self.create_connection(lambda: asyncio.StreamReaderProtocol(reader, loop=self.loop))
        return reader, asyncio.StreamWriter(transport, protocol, reader, self.loop)

    async def accept(self) -> Stream:
        """The next stream the peer opened; this acknowledges it.

        Raises SessionClosed when the session has ended and nothing waits. Cancellation loses no stream.
        """
        while True:
            if self._backlog:
                return self._accept(self._backlog.popleft())
            if self.core.error is not None:
                raise SessionClosed(f"session closed: {self.core.error}", self.core.error.code)
            await self._acceptors.wait(lambda: bool(self._backlog))

    def _accept(self, stream: Stream) -> Stream:
        self.core.accept(stream.transport._stream)
        if self.core.owed_acks:
            self._ack_soon()
        self.wake()
        return stream

    def __aiter__(self) -> AsyncIterator[Stream]:
        return self._streams()

    async def _streams(self) -> AsyncIterator[Stream]:
        while True:
            try:
                stream = await self.accept()
            except SessionClosed:
                return
            yield stream

    async def _place(self) -> None:
        while not self.can_open:
            core = self.core
            if self.transport is None and core.error is None:
                raise SessionClosed("the session has no carrier yet")
            if not core.is_full:
                core.open_stream()  # raises the error that says why
            core.report_answers = True
            await self._openers.wait(lambda: self.core.can_open)

    # -- session commands --------------------------------------------------------------------------------------------

    async def ping(self, timeout: float = 10.0) -> float:
        """Round trip time in seconds. Raises TimeoutError after ``timeout`` seconds, SessionClosed; both leave the
        session usable if it was. Cancellation forgets the ping; a late answer is ignored."""
        ping_id = self.core.ping()
        answer: asyncio.Future[float] = self.loop.create_future()
        # One timer for all that waits: a timer a ping, or asyncio.timeout, would cost as much as the rest of a ping.
        due = time.monotonic() + timeout
        self._pings[ping_id] = (answer, due)
        if due < self._timer_due:
            self._arm()
        self._flush()
        try:
            return await answer
        except BaseException:
            self._pings.pop(ping_id, None)
            self.core.keepalive.forget(ping_id)
            raise

    def go_away(self, code: int = 0) -> None:
        """Ask the peer to open no more streams, and reset those it opens all the same. Open streams go on.

        Some implementations (go-yamux, rust-yamux, js) drop all their streams at any GoAway.
        """
        self.core.go_away(code)
        self.wake()

    async def close(self, grace: float = 5.0) -> None:
        """End the session gracefully: let open streams end and queued data leave, say GoAway(0), close the carrier.

        After ``grace`` seconds what is still open is reset. Cancellation aborts at once. Idempotent.
        """
        if self.transport is None:
            self.abort(SessionClosed("closed here"))
        try:
            if self.core.error is None:
                self.core.local_go_away = self.core.closing = True
                try:
                    async with asyncio.timeout(grace):
                        await self._empty()
                except TimeoutError:
                    pass
                self._shut()
            await self.wait_closed()
        except asyncio.CancelledError:
            self.abort()
            raise

    async def _empty(self) -> None:
        while self.core.error is None and (self.core.streams or self.core.has_output):
            await self._empties.wait(lambda: False)

    def _shut(self) -> None:
        if self.core.error is None:
            for core_stream in list(self.core.streams.values()):
                if core_stream.owner is not None:
                    core_stream.owner.abort()
                else:
                    self.core.reset_stream(core_stream)
            self.core.go_away(0)
            self._dispatch(self.core.close(SessionClosed("closed here")))

    async def wait_closed(self) -> None:
        """Wait until the carrier is gone and every stream has been told."""
        await asyncio.shield(self._over)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
        await self.close()
