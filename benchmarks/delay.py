"""A pipe with a delay and a rate: relays one TCP connection, python -m benchmarks.delay --to HOST:PORT

It prints the port it listens on. What is read leaves half a round trip later and no faster than the rate; once as much
is under way as the pipe holds, nothing more is read, as a link with a short queue would do.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import deque
from typing import cast

ROUND_TRIP = 0.1
# 400 Mbit/s: 5 MB are under way at a time, twenty times the window yamux starts with.
RATE = 50e6
# Bytes read at a time. At the rate above a piece is a third of a millisecond of the pipe.
PIECE = 16 * 1024
# Room beyond what delay and rate keep under way: the queue of a router, 20 ms.
QUEUE = 0.02


class Direction(asyncio.Protocol):
    """One end of the relay: what it reads goes out at the other end, late."""

    transport: asyncio.Transport

    def __init__(self, delay: float, rate: float, other: Direction | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.other = other or Direction(delay, rate, self)
        self.delay = delay
        self.rate = rate
        self.most = int((delay + QUEUE) * rate)
        self.free_at = 0.0
        self.waiting: deque[tuple[float, bytes | None]] = deque()
        self.held = 0
        self.armed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Give each piece its time."""
        now = self.loop.time()
        for at in range(0, len(data), PIECE):
            piece = data[at : at + PIECE]
            self.free_at = max(self.free_at, now) + len(piece) / self.rate
            self.waiting.append((self.free_at + self.delay, piece))
        self.held += len(data)
        if self.held > self.most:
            self.transport.pause_reading()
        self.arm()

    def eof_received(self) -> bool:
        """The end comes as late as everything else."""
        self.waiting.append((max(self.free_at, self.loop.time()) + self.delay, None))
        self.arm()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """One end gone is both gone."""
        self.other.transport.close()

    def arm(self) -> None:
        """Wake when the first piece is due."""
        if self.waiting and not self.armed:
            self.armed = True
            self.loop.call_at(self.waiting[0][0], self.release)

    def release(self) -> None:
        """Send what is due."""
        self.armed = False
        due = self.loop.time() + 0.0005
        out: list[bytes] = []
        while self.waiting and self.waiting[0][0] <= due:
            _, piece = self.waiting.popleft()
            if piece is None:
                self.other.transport.writelines(out)
                self.other.transport.write_eof()
                return
            out.append(piece)
            self.held -= len(piece)
        self.other.transport.writelines(out)
        if self.held <= self.most:
            self.transport.resume_reading()
        self.arm()


class Near(Direction):
    """The accepted end: it makes the other one before it reads."""

    def __init__(self, host: str, port: int, round_trip: float, rate: float) -> None:
        super().__init__(round_trip / 2, rate)
        self.address = host, port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the far end."""
        super().connection_made(transport)
        self.transport.pause_reading()
        self.joining = self.loop.create_task(self.join())

    async def join(self) -> None:
        """Dial, then read."""
        await self.loop.create_connection(lambda: self.other, *self.address)
        self.transport.resume_reading()


async def relay(host: str, port: int, round_trip: float, rate: float) -> asyncio.Server:
    """Listen on a loopback port; every connection is carried on to the address given."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Near(host, port, round_trip, rate), "127.0.0.1", 0)


async def _serve(host: str, port: int, round_trip: float, rate: float) -> None:
    server = await relay(host, port, round_trip, rate)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Run until killed."""
    import uvloop

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    parser.add_argument("--round-trip", type=float, default=ROUND_TRIP, metavar="SECONDS")
    parser.add_argument("--rate", type=float, default=RATE, metavar="BYTES", help="bytes a second")
    arguments = parser.parse_args()
    host, _, port = arguments.to.rpartition(":")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(host, int(port), arguments.round_trip, arguments.rate))


if __name__ == "__main__":
    main()
