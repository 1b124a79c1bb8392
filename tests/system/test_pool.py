"""Several agents under one id, and agents or hubs that come and go under load."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections import Counter
from contextlib import AsyncExitStack

import pytest
from tests.system.harness import DEADLINE, POLL, System, free_port, until
from tests.system.targets import Call, Target
from tests.system.visitors import Cut, Visitor, fetch

WORKERS = 20


class Load:
    """Visitors that POST numbered requests one after the other until told to stop.

    Attributes:
        good: numbers answered 200.
        bad: numbers that failed, each with its status, or 0 for a broken connection.
        waiting: numbers sent and not answered yet.
        begun: how many numbers have been given out; the next one's number.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = False
        self.begun = 0
        self.good: set[int] = set()
        self.bad: dict[int, int] = {}
        self.waiting: set[int] = set()
        self._tasks = [asyncio.create_task(self._work()) for _ in range(WORKERS)]

    async def _work(self) -> None:
        while not self._stop:
            async with Visitor(self._port) as visitor:
                with_connection = True
                while with_connection and not self._stop:
                    number, self.begun = self.begun, self.begun + 1
                    self.waiting.add(number)
                    try:
                        answer = await visitor.request("POST", visitor.url(f"/work?n={number}"), b"x")
                    except (Cut, ConnectionError):
                        self.bad[number] = 0
                        with_connection = False
                    else:
                        if answer.status == 200:
                            self.good.add(number)
                        else:
                            self.bad[number] = answer.status
                            # Whoever gets a failure looks again after a moment, as clients do.
                            await asyncio.sleep(POLL)
                        with_connection = answer.keeps
                    self.waiting.discard(number)

    async def done(self, count: int) -> None:
        """Wait until so many more have succeeded."""
        goal = len(self.good) + count
        await until(lambda: len(self.good) >= goal, f"{count} more requests")

    async def stop(self) -> None:
        """Let every visitor finish what it has begun."""
        self._stop = True
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*self._tasks)


class Worker:
    """A handler that notes the numbers it has been asked for, and answers after a moment so that there always are some."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    async def __call__(self, call: Call) -> None:
        await call.body()
        self.seen.add(int(call.argument("n")))
        await asyncio.sleep(0.01)
        await call.answer("200 OK", b"done")


async def test_one_of_two_agents_killed_under_load(system: System, sockets: list[socket.socket]) -> None:
    """Only requests in flight on the killed one fail, and the next request works."""
    system.start_hub()
    async with AsyncExitStack() as stack:
        workers = [Worker(), Worker()]
        agents = []
        for sock, worker in zip(sockets, workers, strict=False):
            target = await stack.enter_async_context(Target(sock))
            target.on("/work", worker)
            agents.append(system.start_agent("a", target.address))
        load = Load(system.port)
        await load.done(200)
        await until(lambda: all(worker.seen for worker in workers), "both agents are used")

        agents[0].signal(signal.SIGKILL)
        in_flight = set(load.waiting)
        first = load.begun
        await until(lambda: system.detached("a"), "the hub has noticed")
        # The system closes a killed process's connections when it gets to it; what is sent until then is in flight too.
        in_flight.update(range(first, load.begun))
        await load.done(200)
        await load.stop()

        assert set(load.bad) <= in_flight, "only what was in flight fails"
        assert not set(load.bad) & workers[1].seen, "what reached the other agent does not fail"
        print(f"\n{len(load.bad)} of {len(load.good) + len(load.bad)} requests failed: {Counter(load.bad.values())}")
        for _ in range(20):
            assert (await fetch(system.port, "/hello")).status == 200


@pytest.mark.parametrize("slow", [False, True], ids=["at-once", "behind-a-hub-that-stands-still"])
async def test_one_of_two_agents_drained_under_load(system: System, sockets: list[socket.socket], slow: bool) -> None:
    """SIGTERM to one of two loses nothing at all, however late the hub hears of it."""
    hub = system.start_hub()
    async with AsyncExitStack() as stack:
        agents = []
        for sock in sockets[:2]:
            target = await stack.enter_async_context(Target(sock))
            target.on("/work", Worker())
            agents.append(system.start_agent("a", target.address))
        load = Load(system.port)
        await load.done(100)
        if slow:
            hub.signal(signal.SIGSTOP)
        agents[0].signal(signal.SIGTERM)
        await agents[0].ended()
        if slow:
            hub.signal(signal.SIGCONT)
        await load.done(100)
        await load.stop()
        assert load.bad == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
async def test_agents_come_back_after_the_hub_was_restarted(
    system: System, sockets: list[socket.socket], number: signal.Signals
) -> None:
    system.start_hub()
    async with Target(sockets[0]) as target:
        names = ("a", "b", "c")
        schemes = {"a": "ws", "b": "tcp", "c": "ws"}
        for name in names:
            system.start_agent(name, target.address, url=f"{schemes[name]}://127.0.0.1:{system.port}")
        for name in names:
            assert (await fetch(system.port, "/hello", agent=name)).status == 200
        system.hub.signal(number)
        await until(lambda: not system.hub.running, "the hub has ended")
        system.hub.check()
        began = time.monotonic()
        await asyncio.to_thread(system.start_hub)
        for name in names:
            await asyncio.to_thread(system.wait_attached, name)
            assert (await fetch(system.port, "/hello", agent=name)).body == b"Hello, there\n"
        print(f"\nall back {time.monotonic() - began:.1f} s after the hub was started again")


async def test_an_agent_restarted_is_not_in_its_own_way(system: System, sockets: list[socket.socket]) -> None:
    """A new process of an id takes over at once, also while the hub still believes in the old one."""
    system.start_hub()
    async with AsyncExitStack() as stack:
        targets = [await stack.enter_async_context(Target(sock)) for sock in sockets[:2]]
        first = system.start_agent("a", targets[0].address)
        first.kill()
        system.start_agent("a", targets[1].address)
        for _ in range(10):
            assert (await fetch(system.port, "/hello")).status == 200
        assert len(targets[1].calls) == 10


async def test_a_target_that_comes_back(system: System, sockets: list[socket.socket]) -> None:
    """Pooled connections to a target that has gone, and a target that is not there, spoil nothing."""
    system.start_hub()
    port = free_port()
    system.start_agent("a", f"127.0.0.1:{port}")
    refused = await fetch(system.port, "/hello")
    assert (refused.status, refused.json["msg"] != "") == (502, True)
    for _ in range(3):
        with socket.create_server(("127.0.0.1", port)) as sock:
            async with Target(sock):
                for _ in range(5):
                    assert (await fetch(system.port, "/hello")).status == 200
        assert (await fetch(system.port, "/hello")).status == 502
