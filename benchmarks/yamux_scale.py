"""What a session of ours holds and how it shares: cases beyond the reference's own benchmarks, for ``yamux_ours``.

``streams`` opens many at once and lets them idle, ``fair`` holds ping-pongs beside a bulk stream, ``wan`` and ``pipe``
send one stream, of yamux and of plain TCP, through a delaying relay. The Go program has the same but ``pipe``.
"""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from yamux import Config, Session, StreamTransport

PIECE = 256 * 1024
PING_PONGS = 100
MESSAGE = bytes(64)
# Ping-pongs without and beside the bulk stream, in seconds.
IDLE_SECONDS = 2.0


def resident() -> int:
    """Return the memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def streams(client: Session, server: Session, count: int) -> dict[str, float]:
    """Open this many, accept them all, keep them: seconds, and bytes for each stream at each end."""
    gc.collect()
    before = resident()
    kept = []
    start = time.perf_counter()

    async def accepting() -> None:
        for _ in range(count):
            kept.append(await server.accept())

    done = asyncio.ensure_future(accepting())
    for _ in range(count):
        kept.append(await client.open())
    await done
    seconds = time.perf_counter() - start
    gc.collect()
    memory = (resident() - before) / (2 * count)
    assert client.num_streams == server.num_streams == count
    return {"seconds": seconds, "memory": memory}


class Echo(asyncio.Protocol):
    """Sends back what comes, or swallows it if the first byte says bulk; the end is answered by the end."""

    bulk: bool | None = None
    left = 0
    ended: asyncio.Event

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(StreamTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer or count."""
        if self.bulk is None:
            self.bulk = data[0] == 1
        if self.bulk:
            Echo.left -= len(data)
            if Echo.left <= 0:
                Echo.ended.set()
        else:
            self.transport.write(data)


class PingPong(asyncio.Protocol):
    """Sends a message, waits for it to come back, and again; notes how long each took."""

    def __init__(self, times: list[float]) -> None:
        self.times = times
        self.got = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast(StreamTransport, transport)
        self.send()

    def send(self) -> None:
        """Send one."""
        self.sent = time.perf_counter()
        self.transport.write(MESSAGE)

    def data_received(self, data: bytes) -> None:
        """Count what came back."""
        self.got += len(data)
        if self.got >= len(MESSAGE):
            self.got = 0
            self.times.append(time.perf_counter() - self.sent)
            self.send()


class Bulk(asyncio.Protocol):
    """Writes this much as fast as it may."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.paused = False
        self.body = b"\x01" * PIECE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast(asyncio.Transport, transport)
        self.write()

    def write(self) -> None:
        """Write until paused or done."""
        while self.left and not self.paused:
            self.left -= PIECE
            self.transport.write(self.body)

    def pause_writing(self) -> None:
        """Stop."""
        self.paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self.paused = False
        self.write()


def p99(times: list[float]) -> float:
    """Return the 99th percentile in seconds."""
    return sorted(times)[len(times) * 99 // 100]


async def fair(client: Session, size: int) -> dict[str, float]:
    """Ping-pong on all streams for a while, then beside so many bytes of bulk: the p99 of both, in seconds."""
    times: list[float] = []
    for _ in range(PING_PONGS):
        client.open_stream(PingPong(times))
    await asyncio.sleep(IDLE_SECONDS)
    idle = times.copy()
    times.clear()
    Echo.left, Echo.ended = size, asyncio.Event()
    start = time.perf_counter()
    client.open_stream(Bulk(size))
    await Echo.ended.wait()
    return {"seconds": time.perf_counter() - start, "idle": p99(idle), "busy": p99(times)}


class Second(asyncio.Protocol):
    """Takes twice a size and notes when the first half and when all had come."""

    accepts_views = True

    def __init__(self, size: int) -> None:
        self.size = size
        self.got = 0
        self.first: float | None = None
        self.took: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Count."""
        self.got += len(data)
        now = time.perf_counter()
        if self.first is None and self.got >= self.size:
            self.first = now
        if self.got >= 2 * self.size and self.first is not None and not self.took.done():
            self.took.set_result(now - self.first)


@dataclass(frozen=True, slots=True)
class Way:
    """Where the far end listens and what the near end dials: a relay between them, perhaps."""

    listen: str = "127.0.0.1:0"
    dial: str = ""

    @property
    def here(self) -> tuple[str, int]:
        """Return the address to listen on."""
        host, _, port = self.listen.rpartition(":")
        return host, int(port)

    def there(self, server: asyncio.Server) -> tuple[str, int]:
        """Return the address to dial."""
        if not self.dial:
            host, port = server.sockets[0].getsockname()[:2]
            return host, port
        host, _, port = self.dial.rpartition(":")
        return host, int(port)


HERE = Way()


async def wan(way: Way, size: int) -> dict[str, float]:
    """One stream through the relay: seconds for the second half of twice this size, when windows have grown."""
    loop = asyncio.get_running_loop()
    sink = Second(size)
    server = Session(client=False, config=Config(), stream_factory=lambda: sink)
    listener = await loop.create_server(lambda: server, *way.here)
    client = Session(client=True, config=Config())
    await loop.create_connection(lambda: client, *way.there(listener))
    client.open_stream(Bulk(2 * size))
    seconds = await sink.took
    listener.close()
    for session in (client, server):
        session.abort()
        await session.wait_closed()
    return {"seconds": seconds}


async def pipe(way: Way, size: int) -> dict[str, float]:
    """The same on plain TCP: what the pipe allows."""
    loop = asyncio.get_running_loop()
    sink = Second(size)
    listener = await loop.create_server(lambda: sink, *way.here)
    transport, _ = await loop.create_connection(lambda: Bulk(2 * size), *way.there(listener))
    seconds = await sink.took
    transport.abort()
    listener.close()
    return {"seconds": seconds}
