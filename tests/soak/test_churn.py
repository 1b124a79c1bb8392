"""By events, not by hours: requests of every kind while carriers are cut at random; nothing is lost unseen, nothing leaks."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections import Counter

from tests.system.harness import DEADLINE, System, settle_fds, until
from tests.system.relay import Relay
from tests.system.targets import Target, WebSocketTarget, digest_of
from tests.system.visitors import Cut, Visitor, fetch
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, WebSocketException

CUTS = int(os.environ.get("SOAK_CUTS", "1000"))
WORKERS = 24
AGENTS = 6
CUTS_PER_SECOND = 3.0
SIZES = (1, 1000, 65_537, 3_000_000)


class Churn:
    """Visitors that do everything there is until told to stop, and count how it ended."""

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.random = random.Random(seed)
        self.ends: Counter[str] = Counter()
        self.stop = False

    async def work(self) -> None:
        """One visitor after the other."""
        while not self.stop:
            kind = self.random.choice(("down", "chunked", "up", "leave", "hello"))
            try:
                async with asyncio.timeout(3 * DEADLINE), Visitor(self.port) as visitor:
                    for _ in range(self.random.randrange(1, 6)):
                        if not await self._one(visitor, kind):
                            break
            except (Cut, ConnectionError):
                self.ends["cut"] += 1

    async def _one(self, visitor: Visitor, kind: str) -> bool:
        size = self.random.choice(SIZES)
        if kind == "hello":
            answer = await visitor.get("/hello")
            good = answer.body == b"Hello, there\n"
        elif kind == "up":
            answer = await visitor.upload(visitor.url("/upload"), size, chunked=self.random.random() < 0.5)
            good = answer.body.decode() == f"{size} {digest_of(size)}"
        else:
            query = "&chunked=1" if kind == "chunked" else ""
            visitor.write_head("GET", visitor.url(f"/download?size={size}{query}"))
            if kind == "leave":
                visitor.leave(reset=self.random.random() < 0.5)
                self.ends["left"] += 1
                return False
            answer = await visitor.digest()
            good = answer.digest == digest_of(size)
        if answer.status == 200:
            assert good, f"a wrong body looked complete: {kind} of {size}"
        else:
            # Whoever is told that no agent is there tries again after a moment.
            await asyncio.sleep(0.05)
        self.ends[str(answer.status)] += 1
        return answer.keeps


async def test_g3_carriers_cut_at_random(system: System, sockets: list[socket.socket]) -> None:
    seed = random.randrange(2**32)
    print(f"\nseed {seed}, {CUTS} cuts")
    hub = system.start_hub()
    async with Target(sockets[0]) as target:
        relays = [Relay(system.port) for _ in range(AGENTS)]
        agents = [
            system.start_agent("a", target.address, url=f"{('ws', 'tcp')[number % 2]}://127.0.0.1:{relay.port}")
            for number, relay in enumerate(relays)
        ]
        for size in SIZES:
            digest_of(size)
        for _ in range(20):
            assert (await fetch(system.port, "/hello")).status == 200
        churn = Churn(system.port, seed)
        tasks = [asyncio.create_task(churn.work()) for _ in range(WORKERS)]
        marks: list[tuple[int, int]] = []
        before = {daemon: daemon.fds for daemon in system.daemons}
        began = time.monotonic()
        for number in range(CUTS):
            await asyncio.sleep(churn.random.expovariate(CUTS_PER_SECOND))
            churn.random.choice(relays).cut(reset=churn.random.random() < 0.5)
            if number % max(1, CUTS // 20) == 0:
                marks.append((hub.rss, max(agent.rss for agent in agents)))
            for task in tasks:
                if task.done():
                    await task
        churn.stop = True
        await asyncio.gather(*tasks)
        taken = time.monotonic() - began
        print(f"{sum(churn.ends.values())} requests in {taken:.0f} s: {dict(churn.ends)}")
        print("RSS (hub, agent) in MiB:", [(hub_rss >> 20, agent_rss >> 20) for hub_rss, agent_rss in marks])
        assert churn.ends["200"] > 10 * CUTS
        half = marks[len(marks) // 2 :]
        assert max(hub_rss for hub_rss, _ in half) - half[0][0] < 32 * 2**20
        assert max(agent_rss for _, agent_rss in half) - half[0][1] < 32 * 2**20
        # Agents cut often come back slowly, but all of them do.
        await until(lambda: system.attached("a") - system.detached("a") == AGENTS, "all agents are back", 60)
        for _ in range(20):
            assert (await fetch(system.port, "/hello")).status == 200
    await settle_fds({daemon: count + 1 for daemon, count in before.items()}, 60)
    for relay in relays:
        relay.close()


async def test_websocket_connections_come_and_go(system: System, sockets: list[socket.socket]) -> None:
    hub = system.start_hub()
    async with WebSocketTarget(sockets[0]) as target:
        agent = system.start_agent("a", target.address)
        url = f"ws://127.0.0.1:{system.port}/api/v1/proxy/a/echo"
        frames = 0

        async def talk(number: int) -> None:
            nonlocal frames
            dice = random.Random(number)
            try:
                async with connect(url, compression=None, proxy=None, max_size=None) as visitor:
                    for _ in range(100):
                        message = dice.randbytes(dice.choice((1, 100, 10_000)))
                        await visitor.send(message)
                        assert await visitor.recv() == message
                        frames += 2
                    if dice.random() < 0.3:
                        visitor.transport.abort()
            except (InvalidHandshake, WebSocketException) as exc:
                raise AssertionError(f"connection {number}") from exc

        await asyncio.gather(*(talk(number) for number in range(20)))
        before = {daemon: daemon.fds for daemon in (hub, agent)}
        marks = []
        for start in range(100, 2100, 50):
            await asyncio.gather(*(talk(number) for number in range(start, start + 50)))
            marks.append(hub.rss)
        print(f"\n{frames} frames; RSS of the hub {[mark >> 20 for mark in marks]}")
        await settle_fds(before)
        assert max(marks[20:]) - marks[20] < 16 * 2**20
