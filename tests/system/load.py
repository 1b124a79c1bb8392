"""Steady load that counts every failure, and the processes of a hub that hands over."""

from __future__ import annotations

import asyncio
import re
from typing import Self

import psutil
from tests.system.harness import Daemon, until
from tests.system.visitors import Visitor


class Load:
    """Visitors that repeat a request, half of them on a connection each time.

    Attributes:
        done: whole answers.
        failed: what went wrong.
    """

    def __init__(self, port: int, count: int = 8) -> None:
        self._port = port
        self._count = count
        self._tasks: list[asyncio.Task[None]] = []
        self._over = False
        self.done = 0
        self.failed: list[str] = []

    async def _one(self, keep: bool) -> None:
        while not self._over:
            try:
                async with Visitor(self._port) as visitor:
                    while not self._over:
                        response = await visitor.get("/hello")
                        if response.status != 200 or response.body != b"Hello, there\n":
                            self.failed.append(f"{response.status} {response.body[:100]!r}")
                        self.done += 1
                        if not keep or not response.keeps:
                            break
            except Exception as exc:
                self.failed.append(repr(exc))

    async def more(self, count: int) -> None:
        """Wait for so many further answers."""
        wanted = self.done + count
        await until(lambda: self.done >= wanted or self.failed, f"{count} more answers", 60)
        assert not self.failed, self.failed[:5]

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._one(number % 2 == 0)) for number in range(self._count)]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)


async def follower(hub: Daemon, count: int) -> int:
    """The process the hub's work was handed to for the n-th time. All of them write to one log."""
    pattern = r"another process serves from now on pid=(\d+)"
    await until(lambda: len(re.findall(pattern, hub.log)) >= count, "another process serves", 60)
    return int(re.findall(pattern, hub.log)[count - 1])


async def gone(pid: int) -> None:
    """Wait until a process has ended."""
    await until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", f"{pid} ends", 30)
