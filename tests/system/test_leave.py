"""Drains and evictions over the management API, with real daemons and traffic (rows E9, L1)."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
from tests.system.harness import DEADLINE, POLL, System, until
from tests.system.targets import Call, Target, WebSocketTarget
from tests.system.visitors import Cut, Visitor
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from tunnelpb.hub.v1 import session_pb2 as pb
from tunnelpb.hub.v1.session_pb2_grpc import SessionServiceStub

# Enough for several drains; LEAVE_REQUESTS=20000 is the figure in the documentation.
REQUESTS = int(os.environ.get("LEAVE_REQUESTS", "2000"))
VISITORS = 10
ROUNDS = 2


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path for the API's socket."""
    with tempfile.TemporaryDirectory(prefix="adm") as name:
        yield Path(name)


@asynccontextmanager
async def api(path: Path) -> AsyncIterator[SessionServiceStub]:
    """Sessions over the hub's socket."""
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        yield SessionServiceStub(channel)


async def names(sessions: SessionServiceStub) -> list[str]:
    """Sessions in service."""
    wanted = pb.SessionFilter(states=[pb.Session.STATE_ACTIVE])
    answer = await sessions.ListSessions(pb.ListSessionsRequest(filter=wanted))
    return [row.name for row in answer.sessions]


async def drained(sessions: SessionServiceStub, name: str) -> pb.Session:
    """Drain a session and watch it to its end."""
    watch = sessions.WatchSessions(pb.WatchSessionsRequest())
    await sessions.DrainSession(pb.DrainSessionRequest(name=name, reason="test"))
    async for answer in watch:
        if answer.WhichOneof("change") == "removed" and answer.removed.name == name:
            watch.cancel()
            return answer.removed
    raise AssertionError("the watch ended")


@pytest.mark.parametrize("ids", [("a", "b"), ("a", "a")])
async def test_drain_under_load_fails_no_request(
    system: System, sockets: list[socket.socket], folder: Path, ids: tuple[str, str]
) -> None:
    """Each of two agents' sessions is drained in turn, twice, while visitors never stop asking."""
    system.start_hub("--admin", f"unix:{folder}/a.sock")
    failed: list[str] = []
    served = 0
    over = asyncio.Event()

    async def ask(agent: str) -> None:
        nonlocal served
        async with Visitor(system.port, agent) as visitor:
            while served < REQUESTS or not over.is_set():
                answer = await visitor.get("/hello")
                served += 1
                if answer.status != 200:
                    failed.append(f"{answer.status} {answer.body!r}")

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(4 * DEADLINE))
        for agent_id, sock in zip(ids, sockets, strict=False):
            target = await stack.enter_async_context(Target(sock))
            system.start_agent(agent_id, target.address)
        sessions = await stack.enter_async_context(api(folder / "a.sock"))
        asking = [asyncio.create_task(ask(ids[number % 2])) for number in range(VISITORS)]
        try:
            for _ in range(ROUNDS):
                for name in await names(sessions):
                    ended = await drained(sessions, name)
                    assert ended.close_reason == "drained: test"
                    while len(await names(sessions)) < 2:
                        await asyncio.sleep(POLL)
        finally:
            over.set()
            await asyncio.gather(*asking)
    print(f"\n{len(failed)} failed of {served} requests while {2 * ROUNDS} sessions were drained")
    assert failed == [] and served >= REQUESTS


async def test_the_deadline_of_a_drain_cuts_a_connection_without_an_end(
    system: System, sockets: list[socket.socket], folder: Path
) -> None:
    system.start_hub("--admin", f"unix:{folder}/a.sock")
    async with WebSocketTarget(sockets[0]) as target, api(folder / "a.sock") as sessions, asyncio.timeout(2 * DEADLINE):
        system.start_agent("a", target.address)
        url = f"ws://127.0.0.1:{system.port}/api/v1/proxy/a/echo"
        async with connect(url, compression=None, proxy=None) as visitor:
            await visitor.send("x")
            assert await visitor.recv() == "x"
            (name,) = await names(sessions)
            request = pb.DrainSessionRequest(name=name)
            request.deadline.FromSeconds(4)
            began = asyncio.get_running_loop().time()
            await sessions.DrainSession(request)
            await visitor.send("still there")
            assert await visitor.recv() == "still there"
            await visitor.wait_closed()
            # A session that is not given a deadline has 30 s.
            assert 3.8 < asyncio.get_running_loop().time() - began < 24


async def test_an_eviction_ends_every_open_stream_and_nobody_takes_a_part_for_the_whole(
    system: System, sockets: list[socket.socket], folder: Path
) -> None:
    """Downloads, an answer that trickles, an upload, a silent target and a WebSocket, all at once."""
    system.start_hub("--admin", f"unix:{folder}/a.sock")

    async def trickle(call: Call) -> None:
        await call.head("200 OK", "Transfer-Encoding: chunked")
        await call.chunk(b"first")
        await call.left()

    async def silent(call: Call) -> None:
        await call.left()

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(2 * DEADLINE))
        target = await stack.enter_async_context(Target(sockets[0]))
        speaker = await stack.enter_async_context(WebSocketTarget(sockets[1]))
        target.on("/trickle", trickle)
        target.on("/silent", silent)
        agent = system.start_agent("a", target.address, speaker.address)
        sessions = await stack.enter_async_context(api(folder / "a.sock"))
        reading, big, asking, sending = [
            await stack.enter_async_context(Visitor(system.port, receive_buffer=4096)) for _ in range(4)
        ]
        reading.write_head("GET", reading.url("/trickle"))
        big.write_head("GET", big.url("/download?size=100000000"))
        asking.write_head("GET", asking.url("/silent"))
        sending.write_head("POST", sending.url("/upload"), "Content-Length: 100000000")
        await sending.send(b"part")
        parts = [(visitor, await visitor.head()) for visitor in (reading, big)]
        url = f"ws://127.0.0.1:{system.port}/api/v1/proxy/a/echo?x-proxy-host={speaker.address}"
        socket_ = await stack.enter_async_context(connect(url, compression=None, proxy=None))
        await socket_.send("x")
        assert await socket_.recv() == "x"
        await until(lambda: target.open == 4 and len(target.calls) == 4, "all are at their targets")
        (name,) = await names(sessions)
        answer = await sessions.EvictSession(pb.EvictSessionRequest(name=name))
        assert (answer.reset_streams, answer.session.open_streams) == (5, 0)
        assert answer.session.state == pb.Session.STATE_CLOSED
        for visitor, response in parts:
            with pytest.raises(Cut):
                async for _ in visitor.pieces(response):
                    pass
        for visitor in (asking, sending):
            assert (await visitor.head()).status in (502, 503)
        with pytest.raises(ConnectionClosedError):
            await socket_.recv()
        await until(lambda: not target.open and not speaker.open, "no target is kept waiting")
        await asyncio.to_thread(system.wait_attached, "a", 2, agent)
        async with Visitor(system.port) as visitor:
            assert (await visitor.get("/hello")).status == 200


async def test_an_evicted_agent_comes_back_unless_it_is_denied(
    system: System, sockets: list[socket.socket], folder: Path
) -> None:
    system.start_hub("--admin", f"unix:{folder}/a.sock")
    async with Target(sockets[0]) as target, api(folder / "a.sock") as sessions, asyncio.timeout(2 * DEADLINE):
        agent = system.start_agent("a", target.address)
        (name,) = await names(sessions)
        answer = await sessions.EvictSession(pb.EvictSessionRequest(name=name))
        assert answer.session.state == pb.Session.STATE_CLOSED
        await asyncio.to_thread(system.wait_attached, "a", 2, agent)
        (name,) = await names(sessions)
        request = pb.EvictSessionRequest(name=name, reason="behave")
        request.deny_for.FromSeconds(60)
        await sessions.EvictSession(request)
        await asyncio.to_thread(agent.wait_log, "agent_denied|denied")
        assert await names(sessions) == []
