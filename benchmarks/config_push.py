"""What it costs to configure many agents: a hub process, and a thousand agents with their control streams in this one.

    python -m benchmarks.config_push [--agents 1000] [--sessions-only]

Printed are the hub's memory for each agent, and the time from the first of a thousand updates, one for each agent, to
the last acknowledgement.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc.aio
import uvloop

from agentd.control import Control
from agentd.terms import session_config
from benchmarks.procs import Child, free_port
from carrier_api import Registry
from tunnel.attach import attach
from tunnelpb.agent.v1 import control_pb2
from tunnelpb.agent.v1.config_pb2 import AgentConfig, Service
from tunnelpb.hub.v1 import agent_config_pb2 as pb
from tunnelpb.hub.v1.agent_config_pb2_grpc import AgentConfigServiceStub
from yamux import Session
from yamux.carrier import TlsOptions

AT_ONCE = 50
"""Agents that attach, and updates that are under way, at the same moment."""
SETTLE = 3.0


class Everything:
    """Stands in for what an agent does with a configuration: nothing, at once. Also counts the acknowledgements."""

    version = 0
    digest = b""
    allowed = ("*",)

    def __init__(self, acks: Acks) -> None:
        self._acks = acks

    async def take(self, push: control_pb2.ConfigPush) -> str:
        """Run it."""
        self.version, self.digest = push.version, push.digest
        self._acks.count()
        return ""

    def hello(self) -> control_pb2.Hello:
        """What a new agent says."""
        return control_pb2.Hello(agent_version="bench", allowed_services=self.allowed)

    def status(self) -> control_pb2.Status:
        """Never changes."""
        return control_pb2.Status()


class Acks:
    """Counts, and tells when all are there."""

    def __init__(self, wanted: int) -> None:
        self.left = wanted
        self.all = asyncio.Event()

    def count(self) -> None:
        """One more."""
        self.left -= 1
        if not self.left:
            self.all.set()


def rss(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def connect(port: int, count: int, prefix: str) -> list[Session]:
    """Attach agents."""
    carrier = Registry.load().for_url(f"ws://127.0.0.1:{port}")
    address = carrier.parse(f"ws://127.0.0.1:{port}")
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Session:
        session = Session(client=True, config=session_config(100))
        headers = [("X-Agent-Instance", f"{prefix}{number}")]
        async with gate:
            await attach(
                carrier,
                address,
                f"{prefix}{number}",
                session,
                tls=TlsOptions(),
                token=None,
                headers=headers,
                timeout=30.0,
            )
        return session

    return list(await asyncio.gather(*(one(number) for number in range(count))))


async def measure(agents: int, *, sessions_only: bool) -> None:
    """Run it all once."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="cp") as folder:
        words = [
            sys.executable,
            "-m",
            "hubd",
            "serve",
            "--dev",
            "--listen",
            f"127.0.0.1:{port}",
            "--admin",
            f"unix:{folder}/a.sock",
        ]
        with Child("hub", words, Path(folder, "hub.log")) as hub:
            hub.wait_port(port)
            acks = Acks(agents)
            before = rss(hub.pid)
            sessions = await connect(port, agents, "agent-")
            await asyncio.sleep(SETTLE)
            attached = rss(hub.pid)
            print(f"{agents} agents over WebSocket: {(attached - before) / agents / 1024:.1f} KiB each in the hub")
            if not sessions_only:
                everything = [Everything(acks) for _ in sessions]
                controls = [
                    Control(session, each, each, lambda left, after: None)  # type: ignore[arg-type]
                    for session, each in zip(sessions, everything, strict=True)
                ]
                while not all(control.welcomed for control in controls):
                    await asyncio.sleep(0.05)
                await asyncio.sleep(SETTLE)
                print(f"with a control stream: {(rss(hub.pid) - before) / agents / 1024:.1f} KiB each")
                await push(f"unix:{folder}/a.sock", agents, acks)
                for control in controls:
                    control.end()
            for session in sessions:
                session.abort()
            await asyncio.gather(*(session.wait_closed() for session in sessions))


async def push(address: str, agents: int, acks: Acks) -> None:
    """Update every agent's configuration, and wait for all of them to run it."""
    config = AgentConfig(services=[Service(name="web", target="http://127.0.0.1:8080")])
    gate = asyncio.Semaphore(AT_ONCE)
    async with grpc.aio.insecure_channel(address) as channel:
        configs = AgentConfigServiceStub(channel)

        async def update(number: int) -> Any:
            async with gate:
                return await configs.UpdateAgentConfig(
                    pb.UpdateAgentConfigRequest(agent=f"agents/agent-{number}", config=config)
                )

        began = time.monotonic()
        await asyncio.gather(*(update(number) for number in range(agents)))
        updated = time.monotonic() - began
        async with asyncio.timeout(60):
            await acks.all.wait()
            last = await configs.GetAgentConfig(pb.GetAgentConfigRequest(agent=f"agents/agent-{agents - 1}"))
            while last.status[0].applied_version != 1:
                last = await configs.GetAgentConfig(pb.GetAgentConfigRequest(agent=f"agents/agent-{agents - 1}"))
        print(
            f"{agents} updates, one for each agent: {updated:.2f} s; acknowledged by all after {time.monotonic() - began:.2f} s"
        )


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--sessions-only", action="store_true", help="leave the control streams out")
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(given.agents, sessions_only=given.sessions_only))


if __name__ == "__main__":
    main()
