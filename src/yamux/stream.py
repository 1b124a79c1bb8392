"""A stream for coroutines: asyncio's reader and writer names on one object."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, cast

from .corestream import NO_PIECES, Buffer
from .errors import SessionClosed, StreamClosed, StreamReset
from .handover import hold
from .transport import StreamTransport

# readuntil gives up on a separator after this much; the limit asyncio's StreamReader has.
SEARCH_LIMIT = 64 * 1024


class Stream(asyncio.Protocol):
    """A stream to read from and write to. Made by ``Session.open`` and ``Session.accept``.

    Credit goes back to the peer as ``read`` takes bytes, so what lies unread never exceeds the stream's window.
    One task may read and one may write at a time. ``async with`` closes it, or resets it on an exception; ``async for``
    gives its data in pieces until the peer ends it.
    """

    __slots__ = (
        "__weakref__",
        "_chunks",
        "_eof",
        "_error",
        "_over",
        "_paid",
        "_reader",
        "_size",
        "_waiters",
        "_write_paused",
        "transport",
    )

    accepts_views = True
    gives_credit = True

    def __init__(self) -> None:
        self._chunks = NO_PIECES
        self._size = 0
        self._paid = 0  # of those, how many have brought the peer its credit already
        self._eof = False
        self._error: Exception | None = None
        self._over = False
        self._write_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._waiters: list[asyncio.Future[None]] | None = None

    def __repr__(self) -> str:
        return f"<Stream {self.transport!r} unread={self._size}{' eof' if self._eof else ''}>"

    @property
    def id(self) -> int:
        """The stream's id on the wire."""
        return self.transport.id

    @property
    def bytes_in(self) -> int:
        """Data bytes received."""
        return self.transport.bytes_in

    @property
    def bytes_out(self) -> int:
        """Data bytes handed to the carrier."""
        return self.transport.bytes_out

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the transport's."""
        return self.transport.get_extra_info(name, default)

    # -- reading -----------------------------------------------------------------------------------------------------

    async def read(self, n: int = -1) -> bytes:
        """Up to ``n`` bytes as soon as there are any; all of them up to the end for -1. ``b""`` is the peer's FIN.

        Raises StreamReset or SessionClosed: a stream that was cut never looks ended. Cancellation loses no data.
        """
        if n < 0:
            parts: list[bytes] = []
            try:
                while part := await self.read(SEARCH_LIMIT):
                    parts.append(part)
            except asyncio.CancelledError:
                self._put_back(parts)
                raise
            return b"".join(parts)
        if n and not self._size:
            await self._wait_data(1)
        return self._take(min(n, self._size))

    async def readexactly(self, n: int) -> bytes:
        """Exactly ``n`` bytes. Raises asyncio.IncompleteReadError, with what there was, when the peer ends before."""
        if n < 0:
            raise ValueError("readexactly size can not be less than zero")
        if self._size >= n:
            return self._take(n)
        parts: list[bytes] = []
        left = n
        try:
            while left:
                part = await self.read(left)
                if not part:
                    raise asyncio.IncompleteReadError(b"".join(parts), n)
                parts.append(part)
                left -= len(part)
        except asyncio.CancelledError:
            self._put_back(parts)
            raise
        return b"".join(parts)

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        """Up to and with ``separator``. Raises asyncio.IncompleteReadError at the end, and
        asyncio.LimitOverrunError after 64 KiB without it; the data stays readable then."""
        if not separator:
            raise ValueError("Separator should be at least one-byte string")
        start = 0
        while True:
            data = self._joined()
            found = data.find(separator, start)
            if found >= 0:
                return self._take(found + len(separator))
            if self._size > SEARCH_LIMIT:
                raise asyncio.LimitOverrunError("Separator is not found, and chunk exceed the limit", self._size)
            start = max(0, len(data) - len(separator) + 1)
            if self._eof:
                raise asyncio.IncompleteReadError(self._take(self._size), None)
            await self._wait_data(self._size + 1)

    async def readline(self) -> bytes:
        """A line with its newline, or what is left at the end."""
        try:
            return await self.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            return error.partial

    def at_eof(self) -> bool:
        """Whether the peer has ended and everything was read."""
        return self._eof and not self._size

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data = await self.read(SEARCH_LIMIT)
        if not data:
            raise StopAsyncIteration
        return data

    def _joined(self) -> bytes:
        if len(self._chunks) > 1:
            self._chunks = deque((b"".join(self._chunks),))
        return bytes(self._chunks[0]) if self._chunks else b""

    def _take(self, n: int) -> bytes:
        if not n:
            return b""
        chunks = self._chunks
        self._size -= n
        first = chunks[0]
        size = len(first)
        if size == n:
            data = bytes(chunks.popleft())
            if not self._size:
                self._chunks = NO_PIECES
        elif size > n:
            view = first if type(first) is memoryview else memoryview(first)
            data = bytes(view[:n])
            chunks[0] = view[n:]
        else:
            parts: list[Buffer] = []
            left = n
            while left:
                piece = chunks.popleft()
                if len(piece) > left:
                    view = memoryview(piece)
                    chunks.appendleft(view[left:])
                    piece = view[:left]
                parts.append(piece)
                left -= len(piece)
            data = b"".join(parts)
            if not self._size:
                self._chunks = NO_PIECES
        if self._paid:
            paid = min(self._paid, n)
            self._paid -= paid
            n -= paid
        if n:
            self.transport.consumed(n)
        return data

    def _put_back(self, parts: list[bytes]) -> None:
        size = sum(map(len, parts))
        if not isinstance(self._error, StreamReset):
            if self._chunks is NO_PIECES:
                self._chunks = deque()
            self._chunks.extendleft(reversed(parts))
            self._size += size
            self._paid += size

    async def _wait_data(self, size: int) -> None:
        """Until ``size`` bytes are there or the end is."""
        while self._size < size and not self._eof:
            self._check()
            if self._over:
                raise StreamClosed("the stream was closed here")
            if self._reader is not None:
                raise RuntimeError("another task is already reading from this stream")
            self._reader = self.transport.session.loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None

    def _check(self) -> None:
        """Raise what ended the stream. Without its traceback, which would grow every time it is raised again."""
        if self._error is not None:
            raise self._error.with_traceback(None)

    # -- writing -----------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue data; await ``drain`` before queueing much more.

        Raises StreamReset or SessionClosed once the stream is lost, StreamClosed after ``write_eof`` or ``close``.
        """
        self._check()
        try:
            if self._over or self.transport.is_closing():
                raise StreamClosed("write on a closed stream")
            self.transport.write(data)
        except RuntimeError as error:
            raise StreamClosed(str(error)) from None

    async def drain(self) -> None:
        """Wait until the queue has room. Raises what ended the stream. Cancellation loses nothing that was queued."""
        self._check()
        if self._write_paused:
            await self._wait(lambda: not self._write_paused or self._over)
            self._check()
            if self._write_paused:
                raise StreamClosed("the stream was closed here")

    def write_eof(self) -> None:
        """Send FIN after what is queued; reading goes on."""
        self.transport.write_eof()

    def close(self) -> None:
        """Send what is queued and FIN; read no more, what was not read yet is dropped."""
        self.transport.close()
        if self._size:
            self._drop()

    async def wait_closed(self) -> None:
        """Wait until our FIN has gone out after ``close``, or both sides have ended, or the stream is lost."""
        if not self._over:
            await self._wait(lambda: self._over)

    async def wait_established(self) -> None:
        """Wait until the peer has answered the open. Raises what ended the stream."""
        await self.transport.session.answered(self.transport)
        self._check()

    def reset(self) -> None:
        """Drop the stream: nothing queued is sent, the peer sees an error."""
        if self._error is None:
            self._error = StreamReset("the stream was reset here", remote=False)
        self.transport.abort()
        self._drop()
        self._eof = False
        self._wake()

    def _drop(self) -> None:
        """Throw away what was not read; the peer gets its credit for it."""
        unpaid = self._size - self._paid
        self._chunks = NO_PIECES
        self._size = self._paid = 0
        if unpaid:
            self.transport.consumed(unpaid)

    async def _wait(self, done: Callable[[], bool]) -> None:
        while not done():
            self._check()
            waiter: asyncio.Future[None] = self.transport.session.loop.create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if self._waiters is not None and waiter in self._waiters:
                    self._waiters.remove(waiter)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.reset()
        else:
            self.close()
            try:
                await self.wait_closed()
            except (StreamReset, SessionClosed):
                pass

    # -- the transport's protocol ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the transport."""
        self.transport = cast(StreamTransport, transport)

    def data_received(self, data: Buffer) -> None:
        """Called by the transport."""
        if self._chunks is NO_PIECES:
            self._chunks = deque((data,))
        else:
            hold(self._chunks, data)
        self._size += len(data)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def eof_received(self) -> bool:
        """Called by the transport: the write side stays open."""
        self._eof = True
        if self._reader is not None or self._waiters is not None:
            self._wake()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport."""
        self._over = True
        if self._size and isinstance(exc, StreamReset):
            # What was dropped unread must not look like an end, even if the peer's FIN had come before its RST.
            self._drop()
            self._eof = False
        if self._error is None:
            self._error = exc
        if self._reader is not None or self._waiters is not None:
            self._wake()

    def pause_writing(self) -> None:
        """Called by the transport."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Called by the transport."""
        self._write_paused = False
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        if self._waiters is not None:
            waiters, self._waiters = self._waiters, None
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
