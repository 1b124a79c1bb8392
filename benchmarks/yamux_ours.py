"""The cases of the reference's benchmarks on our yamux, one line of JSON for each: the counterpart of Go's yamuxbench.

Both ends live in one process, on one loop and so on one core, where the Go program has goroutines on all cores. Case
``large2`` puts the receiving end into a process of its own. ping, accept and their likes use the coroutines, all that
moves data asyncio's protocols.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import cast

from benchmarks import yamux_scale
from yamux import Config, Session, StreamTransport

FRAME_STREAMS = 100
CONFIG = Config(keepalive_interval=0, max_inbound_streams=100_000)
# A write above this is cut, as a program that copies a file would: yamux itself keeps the data as it is given.
PIECE = 256 * 1024


def used() -> float:
    """Return the CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Sink(asyncio.Protocol):
    """Counts what comes, and answers the end with the end."""

    accepts_views = True
    left = 0
    ended: asyncio.Event

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing to keep."""

    def data_received(self, data: bytes) -> None:
        """Count."""
        Sink.left -= len(data)
        if Sink.left <= 0:
            Sink.ended.set()


class Source(asyncio.Protocol):
    """Writes a body a number of times, stopping while it is asked to."""

    def __init__(self, body: bytes, count: int) -> None:
        self.body = body
        self.count = count
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start with the next turn."""
        self.transport = cast(StreamTransport, transport)
        asyncio.get_running_loop().call_soon(self.write)

    def write(self) -> None:
        """Write until paused or done."""
        write, body = self.transport.write, self.body
        while self.count and not self.paused:
            self.count -= 1
            write(body)
        if not self.count:
            self.transport.write_eof()

    def pause_writing(self) -> None:
        """Stop."""
        self.paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self.paused = False
        if self.count:
            self.write()


async def ping(client: Session, server: Session, count: int, size: int) -> None:
    """One after the other."""
    for _ in range(count):
        await client.ping()


async def accept(client: Session, server: Session, count: int, size: int) -> None:
    """Open and close here, accept and close there."""

    async def accepting() -> None:
        for _ in range(count):
            (await server.accept()).close()

    done = asyncio.ensure_future(accepting())
    for _ in range(count):
        (await client.open()).close()
    await done


async def _transfer(client: Session, bodies: list[tuple[bytes, int]]) -> None:
    Sink.left = sum(len(body) * count for body, count in bodies)
    Sink.ended = asyncio.Event()
    for body, count in bodies:
        client.open_stream(Source(body, count))
    await Sink.ended.wait()


async def sendrecv(client: Session, server: Session, count: int, size: int) -> None:
    """One stream."""
    await _transfer(client, [(bytes(size), count)])


async def large(client: Session, server: Session, count: int, size: int) -> None:
    """One stream, in pieces of 256 KiB."""
    await _transfer(client, [(bytes(PIECE), count * size // PIECE)])


async def parallel(client: Session, server: Session, count: int, size: int) -> None:
    """As many streams as there are processors."""
    streams = os.cpu_count() or 1
    await _transfer(client, [(bytes(size), count // streams)] * streams)


async def frames(client: Session, server: Session, count: int, size: int) -> None:
    """A hundred streams in turn: every write becomes a frame of its own."""
    Sink.left = count * size
    Sink.ended = asyncio.Event()
    body = bytes(size)
    streams = [client.open_stream(asyncio.Protocol()) for _ in range(FRAME_STREAMS)]
    for _ in range(count // FRAME_STREAMS):
        for stream in streams:
            stream.write(body)
        await asyncio.sleep(0)
    await Sink.ended.wait()


CASES: dict[str, Callable[[Session, Session, int, int], Awaitable[None]]] = {
    "ping": ping, "accept": accept, "sendrecv": sendrecv, "large": large, "parallel": parallel, "frames": frames,
}  # fmt: skip


async def run(case: str, way: yamux_scale.Way = yamux_scale.HERE) -> dict[str, object]:
    """Do one CASE:COUNT:SIZE and return its figures; ``frames`` counts both directions of one end."""
    name, count, size = case.split(":")
    if name == "large2":
        return await run_large2(case, int(count) * int(size))
    if name in ("wan", "pipe"):
        return {
            "case": case,
            "cpu": 0,
            **await (yamux_scale.wan if name == "wan" else yamux_scale.pipe)(way, int(size)),
        }
    loop = asyncio.get_running_loop()
    factory = {"accept": None, "streams": None, "fair": yamux_scale.Echo}.get(name, Sink)
    server = Session(client=False, config=CONFIG, stream_factory=factory)
    listener = await loop.create_server(lambda: server, "127.0.0.1", 0)
    client = Session(client=True, config=CONFIG)
    await loop.create_connection(lambda: client, *listener.sockets[0].getsockname())
    await client.ping()
    cpu, start = used(), time.perf_counter()
    figures: dict[str, object] = {"case": case}
    if name == "streams":
        figures |= await yamux_scale.streams(client, server, int(count))
    elif name == "fair":
        figures |= await yamux_scale.fair(client, int(size))
    else:
        await CASES[name](client, server, int(count), int(size))
        figures["seconds"] = time.perf_counter() - start
    figures |= {"cpu": used() - cpu, "frames": server.stats.frames_in}
    listener.close()
    client.abort()
    server.abort()
    await client.wait_closed()
    await server.wait_closed()
    return figures


async def run_large2(case: str, size: int) -> dict[str, object]:
    """Large with the receiver in a process of its own; CPU is that of both."""
    loop = asyncio.get_running_loop()
    command = [sys.executable, "-m", "benchmarks.yamux_ours", "--loop", _loop_name(), "--sink", str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        client = Session(client=True, config=CONFIG)
        await loop.create_connection(lambda: client, "127.0.0.1", port)
        await client.ping()
        cpu, start = used(), time.perf_counter()
        client.open_stream(Source(bytes(PIECE), size // PIECE))
        await client.wait_closed()
        seconds = time.perf_counter() - start
        cpu = used() - cpu + float(child.stdout.readline())
    return {"case": case, "seconds": seconds, "cpu": cpu}


async def sink(size: int) -> None:
    """Take this much on one connection, then close it and say what CPU that took."""
    Sink.left = size
    Sink.ended = asyncio.Event()
    server = Session(client=False, config=CONFIG, stream_factory=Sink)
    listener = await asyncio.get_running_loop().create_server(lambda: server, "127.0.0.1", 0)
    print(listener.sockets[0].getsockname()[1], flush=True)
    cpu = used()
    await Sink.ended.wait()
    server.abort()
    print(used() - cpu, flush=True)
    listener.close()


def _loop_name() -> str:
    return "uvloop" if type(asyncio.get_running_loop()).__module__.startswith("uvloop") else "asyncio"


def main() -> None:
    """Run the cases named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--sink", type=int, help=argparse.SUPPRESS)
    parser.add_argument("-listen", default=yamux_scale.HERE.listen, help="where wan and pipe listen")
    parser.add_argument("-dial", default="", help="what they dial, a relay to it")
    parser.add_argument("cases", nargs="*", metavar="CASE:COUNT:SIZE")
    arguments = parser.parse_args()
    if arguments.loop == "uvloop":
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    else:
        factory = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        if arguments.sink is not None:
            runner.run(sink(arguments.sink))
        for case in arguments.cases:
            print(json.dumps(runner.run(run(case, yamux_scale.Way(arguments.listen, arguments.dial)))), flush=True)


if __name__ == "__main__":
    main()
