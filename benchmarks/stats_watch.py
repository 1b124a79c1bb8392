"""What StreamStats costs: a hub with a thousand sessions in memory whose counters all move, and clients that watch them.

    python -m benchmarks.stats_watch [--sessions 1000] [--watchers 20] [--seconds 10] [--rounds 15]

The watchers are a process of their own. Printed is the hub's CPU time as a part of one core: without watchers, with
them, and the difference, which is what they cost. Then a real agent on this hub is loaded, round after round without
and with the watchers, and what that does to the data path is printed: rate, p50 and p99, and the median of what they
change by within a round.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc.aio
import uvloop

from benchmarks import load
from benchmarks.procs import Child, free_port
from benchmarks.target import find_nginx, start_target
from conformance import daemons
from hubd.app import App
from hubd.config import HubConfig
from hubd.sessions import AgentSession
from tunnelpb.hub.v1 import stats_pb2 as pb
from yamux import Config, Session
from yamux.testing import memory_pair

METHOD = "/tunnelpb.hub.v1.StatsService/StreamStats"
SETTLE = 1.5
"""Seconds before a measurement: the first samples are whole."""


class Watchers:
    """A process of clients, which watch while they are told to."""

    def __init__(self, path: Path, count: int) -> None:
        command = [sys.executable, "-m", "benchmarks.stats_watch", "--watch", str(path), "--watchers", str(count)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    async def tell(self, word: str) -> str:
        """Say "on" or "off" and wait until it is so. Returns how much was read."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        answer = await asyncio.to_thread(self._process.stdout.readline)
        if not answer:
            raise RuntimeError("the watchers' process has ended")
        await asyncio.sleep(SETTLE)
        return answer.strip()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


async def hub(given: argparse.Namespace) -> None:
    """Run the hub and measure it."""
    with tempfile.TemporaryDirectory(prefix="sw") as folder:
        path = Path(folder, "a.sock")
        config = HubConfig.model_validate(
            {"dev": True, "listen": "127.0.0.1:0", "admin": {"listen": [f"unix:{path}"]}, "web": {"listen": None}}
        )
        app = App(config)
        await app.start()
        entries = [_attach(app, number) for number in range(given.sessions)]
        moving = asyncio.create_task(_move(entries))
        watchers = Watchers(path, given.watchers)
        try:
            await _idle(given, watchers)
            if given.rounds:
                await _loaded(given, watchers, app, Path(folder))
        finally:
            watchers.close()
            moving.cancel()
            await app.stop(0.0)


async def _idle(given: argparse.Namespace, watchers: Watchers) -> None:
    await watchers.tell("off")
    quiet = await _cpu(given.seconds)
    await watchers.tell("on")
    watched = await _cpu(given.seconds)
    received = await watchers.tell("off")
    print(
        f"{given.sessions} sessions, {given.watchers} watchers at 1 s, every row changing: hub at {quiet:.1%} of a core"
    )
    print(f"without, {watched:.1%} with them: {watched - quiet:.1%} of a core; {received}")


async def _loaded(given: argparse.Namespace, watchers: Watchers, app: App, folder: Path) -> None:
    """What visitors of a real agent see, without watchers and with them in turns that turn."""
    port = free_port()
    hub_port = app.urls[0].rpartition(":")[2]
    url = f"http://127.0.0.1:{hub_port}/api/v1/proxy/loaded/hello"
    argv = daemons.agent_argv(f"ws://127.0.0.1:{hub_port}", "loaded", [f"127.0.0.1:{port}"])
    seen: dict[str, list[load.Load]] = {"off": [], "on": []}
    with start_target(folder / "target", port, nginx=find_nginx()):
        with Child("agent", argv, folder / "agent.log", env=daemons.environment()) as agent:
            # The hub runs in this loop, so nothing here may wait for it in any other way.
            await asyncio.to_thread(agent.wait_output, daemons.AGENT_READY)
            await asyncio.to_thread(load.run, url, given.connections, 2.0)
            for number in range(given.rounds):
                for word in ("off", "on") if number % 2 else ("on", "off"):
                    await watchers.tell(word)
                    found = await asyncio.to_thread(load.run, url, given.connections, given.load_seconds)
                    if found.failures:
                        raise RuntimeError(f"{found.failures} requests failed")
                    seen[word].append(found)
    _tell(given, seen)


def _tell(given: argparse.Namespace, seen: dict[str, list[load.Load]]) -> None:
    print(
        f"{given.connections} visitors' connections at full load, {given.rounds} rounds of {given.load_seconds:g} s each way, medians:"
    )
    for name in ("rate", "p50", "p99"):
        without, watched = ([getattr(found, name) for found in seen[word]] for word in ("off", "on"))
        change = statistics.median(there / here - 1 for here, there in zip(without, watched, strict=True))
        unit = "/s" if name == "rate" else " ms"
        print(
            f"  {name:<5} {statistics.median(without):9.2f}{unit} without  {statistics.median(watched):9.2f}{unit} with"
            f"  {change:+.1%}  ({', '.join(f'{here:.2f}>{there:.2f}' for here, there in zip(without, watched, strict=True))})"
        )


def _attach(app: App, number: int) -> AgentSession:
    quiet = Config(keepalive_interval=0.0)
    here, there = Session(client=False, config=quiet), Session(client=True, config=quiet)
    memory_pair(here, there)
    entry = AgentSession(f"agent-{number:05}", here, id=app.hub.ids.next(), carrier="memory", instance=str(number))
    app.hub.roster.add(entry)
    app.hub.pools.add(entry)
    return entry


async def _move(entries: list[AgentSession]) -> None:
    while True:
        for entry in entries:
            entry.requests += 1
            entry.session.bytes_out += 1000
        await asyncio.sleep(0.5)


async def _cpu(seconds: float) -> float:
    """CPU time of this process in a while, as a part of it."""
    began, used = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    return (time.process_time() - used) / (time.monotonic() - began)


async def watch(path: str, watchers: int) -> None:
    """Be the clients: watch while told to, until standard input ends."""
    counts = [0] * watchers

    async def one(number: int) -> None:
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            # Raw bytes: what clients do with them is not to be measured.
            call: Any = channel.unary_stream(METHOD, request_serializer=pb.StreamStatsRequest.SerializeToString)
            async for answer in call(pb.StreamStatsRequest(scope=pb.STATS_SCOPE_SESSION)):
                counts[number] += len(answer)

    tasks: list[asyncio.Task[None]] = []
    while word := (await asyncio.to_thread(sys.stdin.readline)).strip():
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        tasks = [asyncio.create_task(one(number)) for number in range(watchers if word == "on" else 0)]
        print(f"{min(counts) / 1e6:.1f} to {max(counts) / 1e6:.1f} MB read by each", flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--watchers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement of CPU")
    parser.add_argument("--rounds", type=int, default=15, help="of load, with and without watchers; 0 for none")
    parser.add_argument(
        "--load-seconds", type=float, default=3.0, help="of load each time; many short turns beat few long"
    )
    parser.add_argument("--connections", type=int, default=32, help="of visitors")
    parser.add_argument("--watch", help=argparse.SUPPRESS)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(watch(given.watch, given.watchers) if given.watch else hub(given))


if __name__ == "__main__":
    main()
