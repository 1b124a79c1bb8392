"""Agents configured by the hub, with real daemons: pushed, acked, refused, taken back, kept, and drained without a loss."""

from __future__ import annotations

import asyncio
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.system.harness import DEADLINE, Daemon, System, until
from tests.system.targets import Target
from tests.system.visitors import Visitor, fetch

from tunnelpb.agent.v1.config_pb2 import AgentConfig, Service
from tunnelpb.hub.v1 import agent_config_pb2 as pb
from tunnelpb.hub.v1 import session_pb2
from tunnelpb.hub.v1.agent_config_pb2_grpc import AgentConfigServiceStub
from tunnelpb.hub.v1.session_pb2_grpc import SessionServiceStub


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path: a socket's has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="sys") as name:
        yield Path(name)


@pytest.fixture
async def admin(short: Path) -> AsyncIterator[Any]:
    """Stubs of the API at the socket the hubs of these tests listen at."""
    channels = []

    def connect() -> tuple[AgentConfigServiceStub, SessionServiceStub]:
        channel = grpc.aio.insecure_channel(f"unix:{short}/admin.sock")
        channels.append(channel)
        return AgentConfigServiceStub(channel), SessionServiceStub(channel)

    yield connect
    for channel in channels:
        await channel.close()


def start(system: System, short: Path, *arguments: str) -> Daemon:
    return system.start_hub("--admin", f"unix:{short}/admin.sock", *arguments)


def agent(system: System, short: Path, *targets: str, allow: str = "web", more: tuple[str, ...] = ()) -> Daemon:
    words = ("--allow", allow, "--state-dir", str(short), "--local-socket", f"{short}/agent.sock", *more)
    return system.start_agent("a", *targets, arguments=words)


def config(**targets: str) -> AgentConfig:
    return AgentConfig(services=[Service(name=name, target=target) for name, target in targets.items()])


async def applied(configs: AgentConfigServiceStub, version: int) -> pb.GetAgentConfigResponse:
    """Wait until every session runs a version."""
    async with asyncio.timeout(DEADLINE):
        while True:
            found = await configs.GetAgentConfig(pb.GetAgentConfigRequest(agent="agents/a"))
            if found.status and all(status.applied_version == version for status in found.status):
                return found
            await asyncio.sleep(0.02)


async def refused(configs: AgentConfigServiceStub) -> pb.GetAgentConfigResponse:
    """Wait until a session has refused the newest version."""
    async with asyncio.timeout(DEADLINE):
        while True:
            found = await configs.GetAgentConfig(pb.GetAgentConfigRequest(agent="agents/a"))
            if found.config.last_error:
                return found
            await asyncio.sleep(0.02)


def update(wanted: AgentConfig) -> pb.UpdateAgentConfigRequest:
    return pb.UpdateAgentConfigRequest(agent="agents/a", config=wanted)


async def test_pushed_refused_taken_back_and_kept(
    system: System, short: Path, admin: Any, sockets: list[socket.socket]
) -> None:
    start(system, short, "--store", str(short / "hub.db"))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(4 * DEADLINE))
        old, new = [await stack.enter_async_context(Target(sock)) for sock in sockets[:2]]
        one = agent(system, short, f"web={old.address}", f"db={old.address.replace('127.0.0.1', 'localhost')}")
        configs, _ = admin()
        await configs.UpdateAgentConfig(update(config(web=f"http://{new.address}")))
        await applied(configs, 1)
        before = len(new.calls)
        assert (await fetch(system.port, "/hello")).status == 200
        assert len(new.calls) == before + 1
        # What the agent's own file does not let the hub set is refused, and the old one goes on.
        await configs.UpdateAgentConfig(update(config(db=f"http://{new.address}")))
        found = await refused(configs)
        assert "does not let a hub set 'db'" in found.config.last_error
        assert [status.applied_version for status in found.status] == [1]
        assert (await fetch(system.port, "/hello")).status == 200
        history = await configs.ListAgentConfigVersions(pb.ListAgentConfigVersionsRequest(agent="agents/a"))
        assert [(row.version, bool(row.last_error)) for row in history.configs] == [(2, True), (1, False)]
        await configs.RollbackAgentConfig(pb.RollbackAgentConfigRequest(agent="agents/a"))
        await applied(configs, 3)
        # The hub is gone: an agent that starts now runs what it has kept.
        one.stop()
        system.hub.stop()
        again = system.start_agent(
            "a", f"web={old.address}", wait=False,
            arguments=("--allow", "web", "--state-dir", str(short), "--local-socket", "none"),
        )  # fmt: skip
        again.wait_log(r"running the kept configuration.*version=3")
        start(system, short, "--store", str(short / "hub.db"))
        system.wait_attached("a", 1, again)
        before = len(new.calls)
        assert (await fetch(system.port, "/hello")).status == 200
        assert len(new.calls) == before + 1
        # It says so to the hub, which has nothing to push.
        await applied(configs, 3)
        assert "running the hub's configuration" not in again.log


async def test_no_stream_is_dropped_by_a_new_configuration(
    system: System, short: Path, admin: Any, sockets: list[socket.socket]
) -> None:
    start(system, short)
    size = 32 * 2**20
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(4 * DEADLINE))
        old, new = [await stack.enter_async_context(Target(sock)) for sock in sockets[:2]]
        agent(system, short, f"web={old.address}")
        configs, _ = admin()
        visitors = [await stack.enter_async_context(Visitor(system.port)) for _ in range(4)]
        for visitor in visitors:
            visitor.write_head("GET", visitor.url(f"/download?size={size}"))
        await until(lambda: len(old.calls) == 4, "the downloads have begun")
        await configs.UpdateAgentConfig(update(config(web=f"http://{new.address}")))
        await applied(configs, 1)
        assert (await fetch(system.port, "/hello")).status == 200
        assert len(new.calls) == 1
        for visitor in visitors:
            assert (await visitor.digest()).size == size


async def test_a_drain_of_the_only_session_loses_no_request(
    system: System, short: Path, admin: Any, sockets: list[socket.socket]
) -> None:
    start(system, short)
    statuses: list[int] = []
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(4 * DEADLINE))
        target = await stack.enter_async_context(Target(sockets[0]))
        one = agent(system, short, target.address)
        _, sessions = admin()
        stop = asyncio.Event()

        async def visit() -> None:
            async with Visitor(system.port) as visitor:
                while not stop.is_set():
                    visitor.write_head("GET", visitor.url("/hello"))
                    statuses.append((await visitor.response()).status)

        visits = [asyncio.create_task(visit()) for _ in range(8)]
        seen: set[str] = set()
        for count in range(1, 4):
            async with asyncio.timeout(DEADLINE):
                while True:
                    listed = await sessions.ListSessions(session_pb2.ListSessionsRequest())
                    live = [
                        row for row in listed.sessions
                        if row.state == session_pb2.Session.STATE_ACTIVE and row.name not in seen and row.controlled
                    ]  # fmt: skip
                    if live:
                        break
                    await asyncio.sleep(0.02)
            seen.add(live[0].name)
            await sessions.DrainSession(session_pb2.DrainSessionRequest(name=live[0].name))
            system.wait_attached("a", count + 1, one)
        before = len(statuses)
        await until(lambda: len(statuses) > before + 200, "requests go on")
        stop.set()
        await asyncio.gather(*visits)
        assert set(statuses) == {200}
        assert len(re.findall("the hub drains this session", one.log)) == 3


async def test_a_hub_without_control_streams(system: System, short: Path, sockets: list[socket.socket]) -> None:
    file = short / "hub.toml"
    file.write_text("control = false\n")
    start(system, short, "--config", str(file))
    async with Target(sockets[0]) as target:
        one = agent(system, short, target.address)
        assert (await fetch(system.port, "/hello")).status == 200
        assert "control stream" not in one.log
