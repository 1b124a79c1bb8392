"""Driver of `yamuxpeer`: one session of the Go reference that does what it is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self

from conformance import gobuild
from conformance.children import Child

PATTERN_PERIOD = 251
# Above every time limit inside the program, so that its own answer comes first.
COMMAND_TIMEOUT = 45.0

_BLOCK = bytes(range(PATTERN_PERIOD)) * 4096


def pattern(size: int, offset: int = 0) -> bytes:
    """Return size bytes of what the peer's `write` sends from this offset of a stream on."""
    start = offset % PATTERN_PERIOD
    repeats = (start + size) // len(_BLOCK) + 1
    return (_BLOCK * repeats)[start : start + size]


class GoError(Exception):
    """A command failed in the Go program. ``kind`` is a stable name for the cause."""

    def __init__(self, kind: str, text: str, result: dict[str, Any]) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.result = result


class GoPeer(Child):
    """One `yamuxpeer` process. Commands are numbered by it and answered by number."""

    _ready: asyncio.Future[int]

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.logs: list[str] = []
        self.closed = asyncio.Event()
        self.opened = asyncio.Event()
        self._sent = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ready = asyncio.get_running_loop().create_future()
        super().__init__(name, process)

    @classmethod
    async def listen(cls, role: str, **options: object) -> Self:
        """Start a peer in a yamux role and wait for its port.

        Options are the program's flags, "_" for "-": window, backlog, keepalive="1s", write_timeout,
        open_timeout, close_timeout, cert, key.
        """
        flags = [f"-{name.replace('_', '-')}={value}" for name, value in options.items()]
        peer = await cls.start(f"yamuxpeer {role}", [gobuild.programs()["yamuxpeer"], f"-role={role}", *flags])
        try:
            await peer.wait_line(r"^listening ")
        except BaseException:
            await peer.stop()
            raise
        return peer

    @property
    def port(self) -> int:
        """Return the loopback port it accepts its one connection on."""
        return self._ready.result()

    def took(self, line: str, is_error: bool) -> None:
        super().took(line, is_error)
        if is_error:
            self.logs.append(line)
        elif line.startswith("listening "):
            self._ready.set_result(int(line.rpartition(":")[2]))
        else:
            self._answer(json.loads(line))

    def _answer(self, answer: dict[str, Any]) -> None:
        event = answer.get("event")
        if event == "session-open":
            self.opened.set()
        elif event == "session-closed":
            self.closed.set()
        else:
            waiter = self._answers.pop(answer["n"])
            if waiter.cancelled():
                return
            if "error" in answer:
                waiter.set_exception(GoError(answer["kind"], answer["error"], answer))
            else:
                waiter.set_result(answer)

    def begin(self, command: str) -> asyncio.Future[dict[str, Any]]:
        """Send a command, run beside the next ones, and return the future of its answer."""
        return self._send("&" + command)

    def _send(self, line: str) -> asyncio.Future[dict[str, Any]]:
        assert self.process.stdin is not None
        self._sent += 1
        waiter = self._answers[self._sent] = asyncio.get_running_loop().create_future()
        self.process.stdin.write(line.encode() + b"\n")
        return waiter

    async def __call__(self, command: str) -> dict[str, Any]:
        """Run a command and return its answer. Raises GoError, TimeoutError."""
        async with asyncio.timeout(COMMAND_TIMEOUT):
            return await self._send(command)

    async def stop(self) -> None:
        """Kill the program; commands it never answered are cancelled."""
        await super().stop()
        for waiter in self._answers.values():
            waiter.cancel()
