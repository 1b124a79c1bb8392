"""Programs as children of a test: output by lines, waits with a deadline, always ended."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

# A program on a loaded machine may take seconds to start; one that has not by then never will.
READY_TIMEOUT = 30.0
# Longest line taken from a program; its pipe is read on whatever happens.
LINE_LIMIT = 1 << 20


class ChildFailed(RuntimeError):
    """The program ended, or did not say what was waited for, in time; the text ends with its output."""


def free_port() -> int:
    """Return a loopback TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """One running program. Use as an async context manager, or call stop().

    Every line it prints, on either output, is in ``lines``.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.lines: list[str] = []
        self._news = asyncio.Condition()
        self._ended = False
        self._readers = [
            asyncio.ensure_future(self._read(stream))
            for stream in (process.stdout, process.stderr)
            if stream is not None
        ]
        self._waiter = asyncio.ensure_future(self._wait())

    @classmethod
    async def start(cls, name: str, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Self:
        """Start a program in a process group of its own, its input open to us."""
        process = await asyncio.create_subprocess_exec(
            *map(str, argv),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            env=os.environ | dict(env or {}),
            start_new_session=True,
        )
        return cls(name, process)

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            self.took(line.decode(errors="replace").rstrip("\r\n"), stream is self.process.stderr)
            async with self._news:
                self._news.notify_all()

    def took(self, line: str, is_error: bool) -> None:
        """Keep one line of output; is_error tells standard error from standard output."""
        del is_error
        self.lines.append(line)

    async def _wait(self) -> None:
        await asyncio.gather(*self._readers)
        await self.process.wait()
        self._ended = True
        async with self._news:
            self._news.notify_all()

    @property
    def alive(self) -> bool:
        """Return whether the program still runs."""
        return not self._ended

    def text(self) -> str:
        """Return everything printed so far."""
        return "\n".join(self.lines)

    async def wait_line(self, pattern: str, *, after: int = 0, timeout: float = READY_TIMEOUT) -> re.Match[str]:
        """Return the first match of pattern in a line behind so many, waiting for it to be printed. Raises ChildFailed."""
        seen = after

        def found() -> re.Match[str] | None:
            nonlocal seen
            while seen < len(self.lines):
                match = re.search(pattern, self.lines[seen])
                seen += 1
                if match:
                    return match
            return None

        match = None
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout), self._news:
                while (match := found()) is None and not self._ended:
                    await self._news.wait()
        if match is None:
            what = f"ended with {self.process.returncode}" if self._ended else f"said nothing within {timeout:.0f} s"
            raise ChildFailed(f"{self.name} {what}, waiting for {pattern!r}; its output:\n{self.text()[-4000:]}")
        return match

    async def ended(self, timeout: float = READY_TIMEOUT) -> int:
        """Wait for the program to end by itself and return its exit code. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            await asyncio.shield(self._waiter)
        code = self.process.returncode
        assert code is not None
        return code

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the program's process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    async def stop(self) -> None:
        """Kill the program and wait until it and its pipes are gone."""
        self.kill()
        if self.process.stdin is not None:
            self.process.stdin.close()
        await self._waiter

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()
