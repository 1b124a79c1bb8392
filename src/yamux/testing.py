"""Plumbing for tests of sessions, carriers and protocols: two joined transports in memory, and a recording protocol.

No pytest, no sockets, no clock. The pair keeps asyncio's contract (marks, pause and resume, half close, flush on
close), and misbehaves on demand: it splits writes into tiny pieces, joins them, stalls, or is cut.

    left, right = Recorder(), Recorder()
    pair = memory_pair(left, right, Link(chunk=1))
    left.transport.write(b"hello")
    await right.received(5)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

__all__ = ["CLEAN", "COALESCING", "TINY", "Link", "MemoryPair", "MemoryTransport", "Recorder", "memory_pair"]

TURN = 64 * 1024
"""Bytes moved in one turn of the loop and direction, so that neither side starves the other."""
TINY_TURN = 256
"""Pieces handed over in one turn when writes are split."""


@dataclass(frozen=True, slots=True)
class Link:
    """How bytes travel between the two ends.

    Args:
        chunk: largest piece handed to a protocol; None hands over what was written, write by write.
        coalesce: join what is waiting, up to 64 KiB.
        stalled: move nothing until `MemoryPair.release`.
        cut_after: bytes, of both directions together, after which the link breaks: what is under way is lost and both
            ends get `connection_lost(ConnectionResetError)`.
    """

    chunk: int | None = None
    coalesce: bool = False
    stalled: bool = False
    cut_after: int | None = None


CLEAN = Link()
TINY = Link(chunk=1)
COALESCING = Link(coalesce=True)


class MemoryTransport(asyncio.Transport):
    """One end of a `MemoryPair`. Behaves as a socket transport does."""

    def __init__(self, pair: MemoryPair, protocol: asyncio.BaseProtocol, name: str) -> None:
        super().__init__({"peername": f"memory-{name}"})
        self.peer: MemoryTransport
        self.lost = False
        self._pair = pair
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._out: deque[bytes] = deque()
        self._size = 0
        self._high, self._low = 64 * 1024, 16 * 1024
        self._write_paused = False
        self._read_paused = False
        self._eof_queued = False
        self._eof_sent = False
        self._closing = False
        self._scheduled = False
        self._name = name

    def __repr__(self) -> str:
        state = "lost" if self.lost else "closing" if self._closing else "open"
        return f"<MemoryTransport {self._name} {state} {self._size} bytes queued>"

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue a copy."""
        if self._eof_queued:
            raise RuntimeError("write after write_eof")
        if self._closing or not len(data):
            return
        self._out.append(bytes(data))
        self._size += len(self._out[-1])
        if self._size > self._high and not self._write_paused:
            self._write_paused = True
            self._protocol.pause_writing()
        self.wake()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Queue all pieces as one write, as a gathering system call does."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """True: there is a half close."""
        return True

    def write_eof(self) -> None:
        """End this direction behind what is queued."""
        self._eof_queued = True
        self.wake()

    def close(self) -> None:
        """Flush, then end; what still arrives is dropped."""
        if not self._closing:
            self._closing = True
            self.wake()

    def abort(self) -> None:
        """Drop what is queued and break the link."""
        self._closing = True
        self.break_off(None)
        self.peer.break_off(ConnectionResetError("the other end of the memory pair was aborted"))

    def is_closing(self) -> bool:
        """Whether this end was closed or lost."""
        return self._closing

    def pause_reading(self) -> None:
        """Hold back what arrives."""
        self._read_paused = True

    def resume_reading(self) -> None:
        """Hand over again."""
        self._read_paused = False
        self.peer.wake()

    def is_reading(self) -> bool:
        """Whether data may be handed over."""
        return not self._read_paused and not self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks in bytes."""
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high mark."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Bytes queued."""
        return self._size

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Exchange the protocol."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The present protocol."""
        return self._protocol

    def wake(self) -> None:
        """Move bytes on the next turn of the loop."""
        if not self._scheduled and not self.lost:
            self._scheduled = True
            self._loop.call_soon(self._move)

    def break_off(self, exc: Exception | None) -> None:
        """End at once, dropping what is queued."""
        if not self.lost:
            self.lost = self._closing = True
            self._out.clear()
            self._size = 0
            self._loop.call_soon(self._protocol.connection_lost, exc)

    def _move(self) -> None:
        self._scheduled = False
        moved = pieces = 0
        link = self._pair.link
        most = TINY_TURN if link.chunk is not None else TURN
        while self._out and moved < TURN and pieces < most and self._open():
            piece = self._pair.passes(self._next(link))
            moved += len(piece)
            pieces += 1
            if piece and not self.peer._closing:
                self.peer._receive(piece)
            if self._pair.is_used_up():
                self._pair.cut()
            if self._pair.is_cut:
                return
        if self._write_paused and self._size <= self._low and not self.lost:
            self._write_paused = False
            self._protocol.resume_writing()
        if self._out:
            if self._open():
                self.wake()
        elif not self._pair.stalled:
            self._finish()

    def _open(self) -> bool:
        return not (self.lost or self._pair.stalled or (self.peer._read_paused and not self.peer._closing))

    def _next(self, link: Link) -> bytes:
        if link.coalesce and len(self._out) > 1:
            joined = b"".join(self._out)
            self._out.clear()
            self._out.append(joined)
        most = TURN if link.chunk is None else link.chunk
        piece = self._out.popleft()
        if len(piece) > most:
            self._out.appendleft(piece[most:])
            piece = piece[:most]
        self._size -= len(piece)
        return piece

    def _receive(self, piece: bytes) -> None:
        cast(asyncio.Protocol, self._protocol).data_received(piece)

    def _finish(self) -> None:
        """Everything queued has left: tell the end that was asked for."""
        if (self._eof_queued or self._closing) and not self._eof_sent:
            self._eof_sent = True
            self._loop.call_soon(self.peer._end)
        if self._closing and not self.lost:
            self.break_off(None)

    def _end(self) -> None:
        if self.lost or self._closing:
            return
        if not cast(asyncio.Protocol, self._protocol).eof_received():
            self.close()


class MemoryPair:
    """Two joined transports, `left` and `right`, and the switches of the link between them."""

    def __init__(self, left: asyncio.BaseProtocol, right: asyncio.BaseProtocol, link: Link) -> None:
        self.link = link
        self.stalled = link.stalled
        self.is_cut = False
        self._passed = 0
        self.left = MemoryTransport(self, left, "left")
        self.right = MemoryTransport(self, right, "right")
        self.left.peer, self.right.peer = self.right, self.left

    def stall(self) -> None:
        """Move nothing any more; neither end is told, as with a black hole."""
        self.stalled = True

    def release(self) -> None:
        """Move again."""
        self.stalled = False
        self.left.wake()
        self.right.wake()

    def cut(self) -> None:
        """Break the link now."""
        self.is_cut = True
        for end in (self.left, self.right):
            end.break_off(ConnectionResetError("the memory pair was cut"))

    def passes(self, piece: bytes) -> bytes:
        """What of a piece gets through before the link breaks."""
        after = self.link.cut_after
        if after is not None:
            piece = piece[: after - self._passed]
        self._passed += len(piece)
        return piece

    def is_used_up(self) -> bool:
        """Whether as many bytes have passed as the link is to live for."""
        return self.link.cut_after is not None and self._passed >= self.link.cut_after


def memory_pair(left: asyncio.BaseProtocol, right: asyncio.BaseProtocol, link: Link = CLEAN) -> MemoryPair:
    """Join two protocols; both have had `connection_made` on return. Needs a running loop."""
    pair = MemoryPair(left, right, link)
    left.connection_made(pair.left)
    right.connection_made(pair.right)
    return pair


@dataclass(slots=True)
class _Waiter:
    ready: Callable[[], bool]
    future: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Recorder(asyncio.Protocol):
    """A protocol that writes down what happens to it, and lets coroutines wait for it.

    Attributes:
        transport: as soon as connected.
        data: everything received.
        chunks: sizes of the pieces received.
        eof: whether `eof_received` was called.
        closed: whether `connection_lost` was called; `error` is its argument.
        paused: whether the transport asked to stop writing; `pauses` counts how often.
        keep_open: what `eof_received` returns.
    """

    transport: asyncio.Transport

    def __init__(self, *, keep_open: bool = False, keep_data: bool = True) -> None:
        self.data = bytearray()
        self.size = 0
        self.chunks: list[int] = []
        self.connected = self.eof = self.closed = self.paused = False
        self.pauses = 0
        self.error: Exception | None = None
        self.keep_open = keep_open
        self._keep_data = keep_data
        self._waiters: list[_Waiter] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.connected = True
        self._changed()

    def data_received(self, data: bytes) -> None:
        self.size += len(data)
        if self._keep_data:
            self.data += data
            self.chunks.append(len(data))
        self._changed()

    def eof_received(self) -> bool:
        self.eof = True
        self._changed()
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed, self.error = True, exc
        self._changed()

    def pause_writing(self) -> None:
        self.paused = True
        self.pauses += 1
        self._changed()

    def resume_writing(self) -> None:
        self.paused = False
        self._changed()

    async def until(self, ready: Callable[[], bool], timeout: float = 30.0) -> None:
        """Wait until `ready()` holds; it is asked after every event.

        Raises:
            TimeoutError: after `timeout` seconds.
        """
        if ready():
            return
        waiter = _Waiter(ready)
        self._waiters.append(waiter)
        async with asyncio.timeout(timeout):
            await waiter.future

    async def received(self, size: int, timeout: float = 30.0) -> bytes:
        """Wait for `size` bytes in all; what has been received so far.

        Raises:
            ConnectionError: the connection ended before.
            TimeoutError: after `timeout` seconds.
        """
        await self.until(lambda: self.size >= size or self.closed, timeout)
        if self.size < size:
            raise ConnectionError(f"connection ended after {self.size} of {size} bytes")
        return bytes(self.data)

    async def writable(self, timeout: float = 30.0) -> None:
        """Wait until writing is not paused."""
        await self.until(lambda: not self.paused or self.closed, timeout)

    async def lost(self, timeout: float = 30.0) -> Exception | None:
        """Wait for the end; `connection_lost`'s argument."""
        await self.until(lambda: self.closed, timeout)
        return self.error

    def _changed(self) -> None:
        for waiter in [w for w in self._waiters if w.future.done() or w.ready()]:
            self._waiters.remove(waiter)
            if not waiter.future.done():
                waiter.future.set_result(None)
