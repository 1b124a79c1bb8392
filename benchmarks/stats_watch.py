"""What StreamStats costs: a hub with a thousand sessions in memory whose counters all move, and clients that watch them.

    python -m benchmarks.stats_watch [--sessions 1000] [--watchers 20] [--seconds 10]

The watchers are a process of their own. Printed is the hub's CPU time as a part of one core: without watchers, with
them, and the difference, which is what they cost.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc.aio
import uvloop

from hubd.app import App
from hubd.config import HubConfig
from hubd.sessions import AgentSession
from tunnelpb.hub.v1 import stats_pb2 as pb
from tunnelpb.hub.v1.stats_pb2_grpc import StatsServiceStub
from yamux import Config, Session
from yamux.testing import memory_pair

SETTLE = 3.0
"""Seconds before a measurement: the first samples are whole."""


async def hub(sessions: int, watchers: int, seconds: float) -> None:
    """Run the hub and measure it."""
    with tempfile.TemporaryDirectory(prefix="sw") as folder:
        path = Path(folder, "a.sock")
        config = HubConfig.model_validate(
            {"dev": True, "listen": "127.0.0.1:0", "admin": {"listen": [f"unix:{path}"]}, "web": {"listen": None}}
        )
        app = App(config)
        await app.start()
        entries = [_attach(app, number) for number in range(sessions)]
        moving = asyncio.create_task(_move(entries))
        await asyncio.sleep(SETTLE)
        quiet = await _cpu(seconds)
        command = [sys.executable, "-m", "benchmarks.stats_watch", "--watch", str(path), "--watchers", str(watchers)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            await asyncio.sleep(2 * SETTLE)
            watched = await _cpu(seconds)
        finally:
            process.terminate()
        received = process.communicate()[0].strip()
        moving.cancel()
        await app.stop(0.0)
    print(f"{sessions} sessions, {watchers} watchers at 1 s, every row changing: hub at {quiet:.1%} of a core without,")
    print(f"{watched:.1%} with them: {watched - quiet:.1%} of a core; {received}")


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
    """Be the clients, until ended."""
    counts = [0] * watchers

    async def one(number: int) -> None:
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            request = pb.StreamStatsRequest(scope=pb.STATS_SCOPE_SESSION)
            async for answer in StatsServiceStub(channel).StreamStats(request):
                counts[number] += len(answer.stats)

    tasks = [asyncio.create_task(one(number)) for number in range(watchers)]
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(15, over.set)
    await over.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(f"{min(counts)} to {max(counts)} rows read by each")


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--watchers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--watch", help=argparse.SUPPRESS)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if given.watch:
            runner.run(watch(given.watch, given.watchers))
        else:
            runner.run(hub(given.sessions, given.watchers, given.seconds))


if __name__ == "__main__":
    main()
