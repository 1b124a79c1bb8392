"""Two cores joined by a wire that tests control, frames made by hand, and sessions over an in-memory carrier."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from yamux import Config, Connection, Session, StreamTransport
from yamux.corestream import CoreStream
from yamux.events import (
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
from yamux.frames import ACK, DATA, FIN, GO_AWAY, HEADER_SIZE, PING, RST, SYN, WINDOW_UPDATE, pack, unpack_from
from yamux.testing import CLEAN, Link, MemoryPair, memory_pair

WINDOW = 256 * 1024
QUIET = Config(keepalive_interval=0)


class Clock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


# -- frames by hand ----------------------------------------------------------------------------------------------------


def data(stream_id: int, body: bytes = b"", flags: int = 0) -> bytes:
    return pack(DATA, flags, stream_id, len(body)) + body


def update(stream_id: int, count: int = 0, flags: int = 0) -> bytes:
    return pack(WINDOW_UPDATE, flags, stream_id, count)


def syn(stream_id: int, count: int = 0, flags: int = 0) -> bytes:
    return update(stream_id, count, SYN | flags)


def ack(stream_id: int, count: int = 0) -> bytes:
    return update(stream_id, count, ACK)


def fin(stream_id: int) -> bytes:
    return update(stream_id, 0, FIN)


def rst(stream_id: int, code: int = 0) -> bytes:
    return update(stream_id, code, RST)


def ping(value: int, flags: int = SYN, stream_id: int = 0) -> bytes:
    return pack(PING, flags, stream_id, value)


def pong(value: int) -> bytes:
    return ping(value, ACK)


def go_away(code: int = 0, stream_id: int = 0, flags: int = 0) -> bytes:
    return pack(GO_AWAY, flags, stream_id, code)


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream_id: int
    length: int
    body: bytes = b""


def frames(raw: bytes) -> list[Frame]:
    """Read frames strictly: half a frame is an error."""
    found = []
    pos = 0
    while pos < len(raw):
        assert len(raw) - pos >= HEADER_SIZE, "half a header"
        kind, flags, stream_id, length = unpack_from(raw, pos)
        pos += HEADER_SIZE
        body = b""
        if kind == DATA:
            assert len(raw) - pos >= length, "half a body"
            body = raw[pos : pos + length]
            pos += length
        found.append(Frame(kind, flags, stream_id, length, body))
    return found


# -- one core and a raw peer -------------------------------------------------------------------------------------------


def output(core: Connection, limit: int = 1 << 30) -> bytes:
    return b"".join(core.data_to_send(limit))


class Lone:
    """One core, driven by hand-made frames. ``mine(n)`` is the n-th id it opens, ``theirs(n)`` the n-th of the peer."""

    def __init__(self, *, client: bool, config: Config = QUIET) -> None:
        self.clock = Clock()
        self.core = Connection(client=client, config=config, clock=self.clock)
        self.client = client

    def mine(self, index: int = 0) -> int:
        return (1 if self.client else 2) + 2 * index

    def theirs(self, index: int = 0) -> int:
        return (2 if self.client else 1) + 2 * index

    def feed(self, *raw: bytes) -> list[Event]:
        return self.core.receive_data(b"".join(raw))

    def sent(self) -> list[Frame]:
        return frames(output(self.core))

    def inbound(self, index: int = 0) -> CoreStream:
        """A stream the peer opened and this side accepted; the ACK has been taken out."""
        (event,) = self.feed(syn(self.theirs(index)))
        assert isinstance(event, StreamOpened)
        self.core.accept(event.stream)
        self.sent()
        return event.stream

    def outbound(self) -> CoreStream:
        """A stream opened here and acknowledged."""
        stream = self.core.open_stream()
        self.sent()
        self.feed(ack(stream.id))
        return stream


def ended(events: Iterable[Event]) -> SessionEnded:
    """The SessionEnded that closes ``events``; fails when there is none or something follows it."""
    last = list(events)[-1]
    assert isinstance(last, SessionEnded), last
    return last


def names(events: Iterable[Event]) -> list[str]:
    """What happened, with an end that came on data named behind it."""
    told: list[str] = []
    for event in events:
        told.append(type(event).__name__)
        if isinstance(event, DataReceived) and event.last:
            told.append("StreamEnded")
    return told


def received(events: Iterable[Event]) -> bytes:
    return b"".join(bytes(event.data) for event in events if isinstance(event, DataReceived))


# -- two cores ---------------------------------------------------------------------------------------------------------


@dataclass
class Story:
    """What one side was told of one stream."""

    data: bytearray = field(default_factory=bytearray)
    fin: bool = False
    dropped: str = ""


@dataclass
class End:
    """One side: its core, what it was told, and the bytes on their way to it."""

    core: Connection
    accepting: bool = True
    consuming: bool = True
    stories: dict[int, Story] = field(default_factory=dict)
    opened: list[CoreStream] = field(default_factory=list)
    pongs: list[float] = field(default_factory=list)
    answered: int = 0
    drained: bool = False
    failure: SessionEnded | None = None
    arriving: bytearray = field(default_factory=bytearray)

    def story(self, stream_id: int) -> Story:
        return self.stories.setdefault(stream_id, Story())

    def take(self, events: list[Event]) -> None:
        for event in events:
            assert self.failure is None, "an event after the end of the session"
            match event:
                case StreamOpened(stream):
                    self.opened.append(stream)
                    if self.accepting:
                        self.core.accept(stream)
                case DataReceived(stream, piece, last):
                    story = self.story(stream.id)
                    assert not story.fin and not story.dropped, "data after the end of a stream"
                    story.data += piece
                    story.fin = last
                    if self.consuming:
                        self.core.consume(stream, len(piece))
                case StreamEnded(stream):
                    assert not self.story(stream.id).fin, "two ends of a stream"
                    self.story(stream.id).fin = True
                case StreamDropped(stream, error):
                    self.story(stream.id).dropped = str(error)
                case StreamAnswered():
                    self.answered += 1
                case PingAnswered():
                    self.pongs.append(event.rtt)
                case GoAwayReceived():
                    self.drained = True
                case SessionEnded():
                    self.failure = event


class Pair:
    """A client and a server core. ``split`` gives the size of the next piece to deliver; None delivers all."""

    def __init__(
        self,
        client: Config = QUIET,
        server: Config | None = None,
        split: Callable[[], int] | None = None,
        latency: float = 0.0,
    ) -> None:
        self.clock = Clock()
        self.client = End(Connection(client=True, config=client, clock=self.clock))
        self.server = End(Connection(client=False, config=server or client, clock=self.clock))
        self.split = split
        self.latency = latency
        self.seen = bytearray()  # all the client has put on the wire

    def ends(self, client: bool = True) -> tuple[End, End]:
        """(one side, the other): both roles run the same test."""
        return (self.client, self.server) if client else (self.server, self.client)

    def send(self) -> None:
        for end, other in ((self.client, self.server), (self.server, self.client)):
            raw = output(end.core, 64 * 1024)
            other.arriving += raw
            if end is self.client:
                self.seen += raw

    def deliver(self) -> None:
        self.clock.advance(self.latency)
        for end in (self.client, self.server):
            raw, end.arriving = bytes(end.arriving), bytearray()
            pos = 0
            while pos < len(raw):
                size = self.split() if self.split else len(raw)
                end.take(end.core.receive_data(raw[pos : pos + size]))
                pos += size

    def run(self) -> None:
        """Until both are silent."""
        for _ in range(100_000):
            self.send()
            if not self.client.arriving and not self.server.arriving:
                return
            self.deliver()
        raise AssertionError("the cores do not come to rest")

    def tick(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass, with timers served and frames exchanged."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            for end in (self.client, self.server):
                end.take(end.core.handle_timeout())
            self.run()


# -- sessions on asyncio -----------------------------------------------------------------------------------------------


@dataclass
class Sessions:
    client: Session
    server: Session
    wire: MemoryPair
    complaints: list[dict[str, Any]]

    def ends(self, client: bool = True) -> tuple[Session, Session]:
        return (self.client, self.server) if client else (self.server, self.client)


def own_timers(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Timers of this package that are still armed; known for the standard loop only."""
    scheduled = getattr(loop, "_scheduled", [])
    return [repr(handle) for handle in scheduled if not handle.cancelled() and "yamux" in repr(handle)]


def check_clean(session: Session) -> None:
    """Nothing is left of a session that has ended."""
    assert session.is_closed
    assert session.num_streams == 0
    assert not session._pings
    assert not session._finishing
    for line in (session._acceptors, session._openers, session._answers, session._empties):
        assert not line._waiters
    assert session.core.next_timeout() is None
    assert session._timer is None or session._timer.cancelled() or session._timer.when() <= session.loop.time()
    assert session._over.done()


@asynccontextmanager
async def sessions(
    client: Config = QUIET,
    server: Config | None = None,
    *,
    link: Link = CLEAN,
    server_factory: Callable[[], asyncio.BaseProtocol] | None = None,
    client_factory: Callable[[], asyncio.BaseProtocol] | None = None,
) -> AsyncIterator[Sessions]:
    """Two sessions in memory; afterwards both have ended and nothing of them is left."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    left = Session(client=True, config=client, stream_factory=client_factory)
    right = Session(client=False, config=server or client, stream_factory=server_factory)
    pair = memory_pair(left, right, link)
    both = Sessions(left, right, pair, complaints)
    try:
        yield both
    finally:
        left.abort()
        right.abort()
        async with asyncio.timeout(60):
            await left.wait_closed()
            await right.wait_closed()
        await turns(4)
        check_clean(left)
        check_clean(right)
        assert not own_timers(loop)
    assert not complaints, complaints


async def turns(count: int = 20) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], limit: float = 60.0) -> None:
    """Turn the loop until ``condition`` holds."""
    async with asyncio.timeout(limit):
        count = 0
        while not condition():
            count += 1
            await asyncio.sleep(0 if count < 1000 else 0.001)


class RawPeer(asyncio.Protocol):
    """The other end of a session's carrier, spoken by hand."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.raw = bytearray()
        self.eof = self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.raw += data

    def eof_received(self) -> bool:
        self.eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def send(self, *raw: bytes) -> None:
        self.transport.write(b"".join(raw))

    def frames(self) -> list[Frame]:
        found = frames(bytes(self.raw))
        self.raw.clear()
        return found


@asynccontextmanager
async def against_raw(
    *,
    client: bool = False,
    config: Config = QUIET,
    factory: Callable[[], asyncio.BaseProtocol] | None = None,
    complains: bool = False,
) -> AsyncIterator[tuple[Session, RawPeer]]:
    """A session and a raw peer."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    session = Session(client=client, config=config, stream_factory=factory)
    peer = RawPeer()
    memory_pair(session, peer)
    try:
        yield session, peer
    finally:
        session.abort()
        async with asyncio.timeout(60):
            await session.wait_closed()
        await turns(4)
        check_clean(session)
        assert not own_timers(loop)
    assert bool(complaints) == complains, complaints


def transport_of(session: Session) -> StreamTransport:
    """The transport of the one stream a session has."""
    (stream,) = session.core.streams.values()
    owner = stream.owner
    assert isinstance(owner, StreamTransport)
    return owner
