"""How soon an eviction ends what is open: hub and agent as processes, and visitors in the middle of their answers.

    python -m benchmarks.evict [--streams 200] [--rounds 10]

A third of the answers trickle, a third never begin, and a third come as fast as they can. Printed are milliseconds from
before the call to its answer, to the moment at which the kernel has none of the hub's connections with visitors any more, to
the end of the last of them as its visitor sees it, who reads what was delivered before, and to that of the last at the target.
Who calls is a process of its own: this one, which is all visitors and the target, is too busy to be asked the time.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
import uvloop

from benchmarks.procs import Child, free_port
from tunnelpb.hub.v1 import session_pb2 as pb
from tunnelpb.hub.v1.session_pb2_grpc import SessionServiceStub

if TYPE_CHECKING:
    from tunnelpb.hub.v1.session_pb2_grpc import SessionServiceAsyncStub

DEADLINE = 20.0
PIECE = bytes(64 * 1024)
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
KINDS = ("trickle", "silent", "bulk")


class Target:
    """Answers that never end, by the request's path."""

    def __init__(self) -> None:
        self.open: set[asyncio.StreamWriter] = set()
        self.last_end = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.open.add(writer)
        sending = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/silent" not in head:
                writer.write(HEAD)
                sending = asyncio.create_task(_send(writer, bulk=b"/bulk" in head))
            while await reader.read(65536):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
            self.open.discard(writer)
            self.last_end = time.perf_counter()
            writer.close()


async def _send(writer: asyncio.StreamWriter, *, bulk: bool) -> None:
    with suppress(ConnectionError):
        while True:
            piece = PIECE if bulk else b"x"
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0 if bulk else 0.1)


class Visitor:
    """One request, read until its connection ends."""

    def __init__(self, port: int, kind: str) -> None:
        self._port = port
        self.kind = kind
        self.ended = 0.0

    async def run(self) -> None:
        """Ask, and keep when it was over."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        path = f"/api/v1/proxy/a/{self.kind}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n".encode())
        with suppress(ConnectionError):
            while await reader.read(1 << 18):
                pass
        self.ended = time.perf_counter()
        writer.close()


@contextmanager
def daemons(folder: Path, port: int, target: str) -> Iterator[None]:
    """A hub and an agent."""
    hub = ["-m", "hubd", "serve", "--dev", "--listen", f"127.0.0.1:{port}", "--admin", f"unix:{folder}/a.sock"]
    agent = ["-m", "agentd", "run", "--hub", f"ws://127.0.0.1:{port}", "--id", "a", "--target", target]
    with Child("hub", [sys.executable, *hub], folder / "hub.log") as one:
        one.wait_port(port)
        state = {"AGENTD_STATE_DIR": str(folder / "state"), "AGENTD_CONFIG": ""}
        with Child("agent", [sys.executable, *agent, "--local-socket", "none"], folder / "agent.log", env=state) as two:
            two.wait_output("attached to")
            yield


class Caller:
    """A process that evicts and watches the hub's connections."""

    def __init__(self, port: int, address: str, name: str) -> None:
        call = [sys.executable, "-m", "benchmarks.evict", "--call", str(port), address, name]
        self._process = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    async def run(self) -> list[float]:
        """Have it call; returns when it called, when it was answered, when the last connection was cut, and the streams."""
        told, _ = await asyncio.to_thread(self._process.communicate, "go\n", timeout=DEADLINE)
        return [float(word) for word in told.split()]


def call(port: int, address: str, name: str) -> None:
    """What that process does."""
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(DEADLINE)
        sessions = SessionServiceStub(channel)
        sys.stdin.readline()
        began = time.perf_counter()
        answering = sessions.EvictSession.future(pb.EvictSessionRequest(name=name))
        answered: list[float] = []
        answering.add_done_callback(lambda _: answered.append(time.perf_counter()))
        local = f":{port:04X}"
        # One is the agent's.
        while sum(_established(line, local) for line in Path("/proc/net/tcp").read_text().splitlines()) > 1:
            time.sleep(0.001)
        cut = time.perf_counter()
        streams = answering.result(DEADLINE).reset_streams
        print(began, answered[0], cut, streams)


def _established(line: str, local: str) -> bool:
    words = line.split(None, 4)
    return words[3] == "01" and words[1].endswith(local)


async def _present(sessions: SessionServiceAsyncStub) -> str:
    """The session in service, once there is one."""
    wanted = pb.SessionFilter(states=[pb.Session.STATE_ACTIVE])
    while True:
        answer = await sessions.ListSessions(pb.ListSessionsRequest(filter=wanted))
        if answer.sessions:
            return str(answer.sessions[0].name)
        await asyncio.sleep(0.05)


async def _round(
    folder: str, sessions: SessionServiceAsyncStub, port: int, target: Target, streams: int, kinds: Sequence[str]
) -> list[float]:
    name = await _present(sessions)
    visitors = [Visitor(port, kinds[number % len(kinds)]) for number in range(streams)]
    caller = Caller(port, f"unix:{folder}/a.sock", name)
    running = [asyncio.create_task(visitor.run()) for visitor in visitors]
    while len(target.open) < streams:
        await asyncio.sleep(0.05)
    await asyncio.sleep(1.0)
    began, answered, cut, reset = await caller.run()
    await asyncio.gather(*running)
    while target.open:
        await asyncio.sleep(0.01)
    assert reset == streams, reset
    ends = (answered, cut, max(visitor.ended for visitor in visitors), target.last_end)
    return [(end - began) * 1000 for end in ends]


async def measure(streams: int, rounds: int, kinds: Sequence[str]) -> None:
    """Print a line for each end."""
    target, port = Target(), free_port()
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0, backlog=1024)
    address = "http://{}:{}".format(*server.sockets[0].getsockname())
    with tempfile.TemporaryDirectory(prefix="ev") as name, daemons(Path(name), port, address):
        async with grpc.aio.insecure_channel(f"unix:{name}/a.sock") as channel, asyncio.timeout(rounds * DEADLINE):
            sessions: SessionServiceAsyncStub = SessionServiceStub(channel)
            found = [await _round(name, sessions, port, target, streams, kinds) for _ in range(rounds)]
    server.close()
    print(f"{streams} open streams, {rounds} rounds, milliseconds from the call to:")
    for what, values in zip(
        ("its answer", "the hub's last cut", "the last visitor's end", "the last target's end"),
        zip(*found),
        strict=True,
    ):
        print(f"  {what:<23} median {statistics.median(values):6.1f}   worst {max(values):6.1f}")


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=KINDS, help="some of " + ", ".join(KINDS))
    parser.add_argument("--call", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.call:
        port, address, name = given.call
        call(int(port), address, name)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(given.streams, given.rounds, given.kinds))


if __name__ == "__main__":
    main()
