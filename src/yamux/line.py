"""A line of coroutines waiting for their turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Line:
    """First come, first served; a waiter that is cancelled after its turn came passes the turn on."""

    __slots__ = ("_loop", "_waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiters)

    async def wait(self, ready: Callable[[], bool]) -> None:
        """Wait for ``next`` or ``release``. ``ready`` tells, on cancellation, whether the turn is worth passing on."""
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiters:
                self._waiters.remove(turn)
            elif ready():
                self.next()
            raise

    def next(self) -> None:
        """Wake the first that still waits."""
        while self._waiters:
            turn = self._waiters.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def release(self) -> None:
        """Wake all."""
        while self._waiters:
            self.next()
