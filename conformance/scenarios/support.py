"""What the scenarios share: sessions joined to the Go reference, peers made by hand, and a record of the frames."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from conformance.peer import GoPeer
from yamux import Config, Session, Stream
from yamux.frames import ACK, DATA, FIN, GO_AWAY, PING, RST, SYN, WINDOW_UPDATE, describe, pack, unpack_from
from yamux.trace import CLIENT, SERVER, Frame, Tracer

KIB = 1 << 10
MIB = 1 << 20
WINDOW = 256 * KIB
MAX_U32 = 0xFFFF_FFFF
# No frame of ours but those a scenario asks for: keepalive pings would come between.
QUIET = Config(keepalive_interval=0)
# Longest wait for anything: far above what a loaded machine needs, below the limit of a test.
PATIENCE = 40.0

OTHER = {"client": "server", "server": "client"}


def ours(role: str, nth: int = 0) -> int:
    """Return the id of the nth stream that our side, in this role, opens."""
    return 2 * nth + (1 if role == "client" else 2)


def theirs(role: str, nth: int = 0) -> int:
    """Return the id of the nth stream that the other side opens."""
    return ours(OTHER[role], nth)


# -- frames by hand ------------------------------------------------------------------------------------------------------


def data(stream: int, body: bytes = b"", flags: int = 0) -> bytes:
    """Return a Data frame."""
    return pack(DATA, flags, stream, len(body)) + body


def update(stream: int, delta: int = 0, flags: int = 0) -> bytes:
    """Return a window update."""
    return pack(WINDOW_UPDATE, flags, stream, delta)


def ping(value: int, flags: int = SYN, stream: int = 0) -> bytes:
    """Return a ping, or with ACK alone a pong."""
    return pack(PING, flags, stream, value)


def go_away(code: int, stream: int = 0, flags: int = 0) -> bytes:
    """Return a GoAway."""
    return pack(GO_AWAY, flags, stream, code)


@dataclass(frozen=True, slots=True)
class Seen:
    """One frame that arrived."""

    kind: int
    flags: int
    stream: int
    length: int
    body: bytes = b""

    def __repr__(self) -> str:
        return f"<{describe(pack(self.kind, self.flags, self.stream, self.length))}>"


class Raw:
    """A peer that knows no protocol: it sends the bytes it is told to and reads frames."""

    MARK = 0x5EA1_0000

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._marks = self.MARK

    def send(self, *frames: bytes) -> None:
        """Send bytes."""
        self.writer.write(b"".join(frames))

    async def frame(self) -> Seen:
        """Return the next frame. Raises asyncio.IncompleteReadError at the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            kind, flags, stream, length = unpack_from(await self.reader.readexactly(12))
            body = await self.reader.readexactly(length) if kind == DATA else b""
            return Seen(kind, flags, stream, length, body)

    async def until(self, *wanted: Seen) -> list[Seen]:
        """Read until these frames have come, in this order; return those between them."""
        between = []
        for one in wanted:
            while (seen := await self.frame()) != one:
                between.append(seen)
        return between

    async def passed(self) -> list[Seen]:
        """Ping, and return the frames that came before the pong: all answers to what was sent before."""
        self._marks += 1
        self.send(ping(self._marks))
        return await self.until(Seen(PING, ACK, 0, self._marks))

    async def rest(self) -> list[Seen]:
        """Return all frames up to the end of the connection, clean or not."""
        seen = []
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                seen.append(await self.frame())
        return seen

    async def answer(self, opened: int) -> None:
        """Take a SYN and acknowledge it."""
        assert await self.frame() == Seen(WINDOW_UPDATE, SYN, opened, 0)
        self.send(update(opened, 0, ACK))

    def end(self) -> None:
        """End our direction of the connection."""
        self.writer.write_eof()

    async def close(self) -> None:
        """Drop the connection."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


# -- our session with what passes written down ---------------------------------------------------------------------------


class Watched:
    """A transport that writes down what is written to it. Everything else is the transport's own."""

    def __init__(self, transport: asyncio.Transport, note: Callable[[bytes], None]) -> None:
        self._transport = transport
        self._note = note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, piece: bytes) -> None:
        self._note(bytes(piece))
        self._transport.write(piece)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))


class TracedSession(Session):
    """A session that keeps the headers of all frames, of both directions, with what is wrong about them."""

    def __init__(self, *, client: bool, config: Config) -> None:
        super().__init__(client=client, config=config)
        self.frames: list[Frame] = []
        self._tracer = Tracer()
        self._out, self._in = (CLIENT, SERVER) if client else (SERVER, CLIENT)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        watched = Watched(cast(asyncio.Transport, transport), lambda piece: self._take(self._out, piece))
        super().connection_made(cast(asyncio.Transport, watched))

    def data_received(self, data: bytes) -> None:
        self._take(self._in, data)
        super().data_received(data)

    def _take(self, direction: str, piece: bytes) -> None:
        self.frames.extend(self._tracer.feed(0.0, direction, piece))

    @property
    def sent(self) -> list[Frame]:
        """Frames of ours."""
        return [frame for frame in self.frames if frame.direction == self._out]

    @property
    def came(self) -> list[Frame]:
        """Frames of the peer."""
        return [frame for frame in self.frames if frame.direction == self._in]

    def faults(self) -> list[Frame]:
        """Frames of ours that break the protocol."""
        return [frame for frame in self.sent if frame.faults]


async def _finish(session: Session) -> None:
    session.abort()
    async with asyncio.timeout(PATIENCE):
        await session.wait_closed()
    assert session.is_closed
    assert session.num_streams == 0


# -- joining -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def with_go(role: str, config: Config | None = None, **options: object) -> AsyncIterator[tuple[Session, GoPeer]]:
    """Give a session of ours in this role with the Go reference in the other at its far end."""
    session = Session(client=role == "client", config=config or Config())
    async with await GoPeer.listen(OTHER[role], **options) as peer:
        await asyncio.get_running_loop().create_connection(lambda: session, "127.0.0.1", peer.port)
        try:
            await peer.opened.wait()
            yield session, peer
        finally:
            await _finish(session)


@asynccontextmanager
async def traced(role: str, config: Config = QUIET, **options: object) -> AsyncIterator[tuple[TracedSession, GoPeer]]:
    """The same with every frame written down; no frame of ours may break a rule."""
    session = TracedSession(client=role == "client", config=config)
    async with await GoPeer.listen(OTHER[role], **options) as peer:
        await asyncio.get_running_loop().create_connection(lambda: session, "127.0.0.1", peer.port)
        try:
            await peer.opened.wait()
            yield session, peer
            assert session.faults() == []
        finally:
            await _finish(session)


@asynccontextmanager
async def with_raw(
    role: str,
    config: Config = QUIET,
    factory: Callable[[], asyncio.BaseProtocol] | None = None,
    buffers: int | None = None,
) -> AsyncIterator[tuple[Session, Raw]]:
    """Give a session of ours in this role over TCP, with a peer made by hand at its far end.

    ``buffers`` makes the kernel's buffers small, so that what one side does not read is soon felt by the other.
    """
    loop = asyncio.get_running_loop()
    joined: asyncio.Future[Raw] = loop.create_future()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        joined.set_result(Raw(reader, writer))

    listener = socket.create_server(("127.0.0.1", 0))
    carrier = socket.socket()
    if buffers is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        carrier.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
    carrier.setblocking(False)
    server = await asyncio.start_server(connected, sock=listener, limit=64 * KIB if buffers is None else buffers)
    session = Session(client=role == "client", config=config, stream_factory=factory)
    await loop.sock_connect(carrier, listener.getsockname())
    await loop.create_connection(lambda: session, sock=carrier)
    raw = await joined
    try:
        yield session, raw
    finally:
        await _finish(session)
        await raw.close()
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def raw_to_go(go_role: str, **options: object) -> AsyncIterator[tuple[Raw, GoPeer]]:
    """Give a peer made by hand, joined to the Go reference in this role: what the reference itself does."""
    async with await GoPeer.listen(go_role, **options) as peer:
        raw = Raw(*await asyncio.open_connection("127.0.0.1", peer.port))
        try:
            await peer.opened.wait()
            yield raw, peer
        finally:
            await raw.close()


# -- steps ---------------------------------------------------------------------------------------------------------------


async def pair(session: Session, peer: GoPeer, opener: str) -> tuple[Stream, int]:
    """Open one stream from the side named, "ours" or "theirs", and give both its ends."""
    if opener == "ours":
        stream = await session.open()
        number: int = (await peer("accept"))["id"]
    else:
        number = (await peer("open"))["id"]
        stream = await session.accept()
    assert stream.id == number
    return stream, number


async def text(peer: GoPeer, number: int, size: int = 4096) -> bytes:
    """Return what one read of the Go side gives."""
    return bytes.fromhex((await peer(f"read {number} {size}"))["data"])


async def both_empty(session: Session, peer: GoPeer) -> None:
    """Wait until both stream tables have come to nothing; the Go side's own goroutines may still be closing theirs."""
    await session.ping(PATIENCE)
    await eventually(lambda: session.num_streams == 0)
    async with asyncio.timeout(PATIENCE):
        while (await peer("num"))["num"]:
            await peer("sleep 1")


async def ended(session: Session) -> BaseException:
    """Wait for the session's end and return why it ended."""
    async with asyncio.timeout(PATIENCE):
        await session.wait_closed()
    assert session.close_reason is not None
    return session.close_reason


async def fate(session: Session, raw: Raw) -> tuple[BaseException, list[Seen]]:
    """Wait for the end of a session that its peer has provoked: why it ended and the last frames it sent."""
    frames = await raw.rest()
    raw.end()
    return await ended(session), frames


async def eventually(done: Callable[[], bool]) -> None:
    """Let the loop turn until something holds that other tasks and sockets bring about."""
    async with asyncio.timeout(PATIENCE):
        while not done():
            await asyncio.sleep(0.001)


async def freeze(peer: GoPeer) -> None:
    """Stop the Go program where it is; ``peer.kill(signal.SIGCONT)`` lets it go on."""
    peer.kill(signal.SIGSTOP)
    status = Path(f"/proc/{peer.process.pid}/stat")
    await eventually(lambda: status.read_text().rpartition(")")[2].split()[0] == "T")


async def echo_one(stream: Stream) -> None:
    """Copy back until the end, then close."""
    while piece := await stream.read(65536):
        stream.write(piece)
        await stream.drain()
    stream.close()
    await stream.wait_closed()


async def echo_all(session: Session) -> None:
    """Copy back every stream the peer opens, until the session ends."""
    async with asyncio.TaskGroup() as group:
        async for stream in session:
            group.create_task(echo_one(stream))


__all__ = [
    "ACK", "DATA", "FIN", "GO_AWAY", "KIB", "MAX_U32", "MIB", "OTHER", "PATIENCE", "PING", "QUIET", "RST", "SYN",
    "WINDOW", "WINDOW_UPDATE", "Raw", "Seen", "TracedSession", "both_empty", "data", "echo_all", "echo_one", "ended",
    "eventually", "fate", "freeze", "go_away", "ours", "pair", "ping", "raw_to_go", "text", "theirs", "traced", "update", "with_go",
    "with_raw",
]  # fmt: skip
