"""Children under test: started with a log file, always killed, with their CPU and memory read from /proc."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

ROOT = Path(__file__).resolve().parent.parent

# Every daemon here is up in well under a second on a free machine.
READY_TIMEOUT = 20.0
POLL = 0.02

T = TypeVar("T")

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class NotReady(RuntimeError):
    """A child died or did not come up in time; the text carries the end of its log."""


def free_port() -> int:
    """Return a loopback TCP port nobody listens on now (it may be taken before it is used)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process group used: CPU seconds so far and resident MiB now."""

    cpu: float
    rss: float

    def since(self, before: Usage) -> float:
        """Return the CPU seconds used after `before` was taken."""
        return self.cpu - before.cpu


def _family(pid: int) -> list[int]:
    """Return pid and all its descendants."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(int(child) for child in children.read_text().split())
            except OSError:
                continue
    return found


def usage(pid: int) -> Usage:
    """Return what pid and its descendants use; processes that are gone count nothing."""
    ticks = pages = 0
    for member in _family(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
        pages += int(fields[21])
    return Usage(ticks / _TICKS, pages * _PAGE / 1048576)


class Child:
    """One program under test in its own process group, its output in a file.

    Args: name for messages; argv; log file; env to add; cwd. Use as a context manager, or call stop().
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self.name = name
        self.log = log
        with open(log, "wb") as output:
            self._process = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=os.environ | dict(env or {}),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return the id of the process that was started."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Return whether the process still runs."""
        return self._process.poll() is None

    def usage(self) -> Usage:
        """Return what the process and its children use."""
        return usage(self.pid)

    def output(self) -> str:
        """Return what the program has printed so far."""
        return self.log.read_text(errors="replace")

    def wait_output(self, pattern: str, timeout: float = READY_TIMEOUT) -> re.Match[str]:
        """Wait until the output matches the pattern and return the match. Raises NotReady."""
        compiled = re.compile(pattern, re.MULTILINE)

        def look() -> re.Match[str] | None:
            return compiled.search(self.output())

        return self.wait_for(look, f"output matching {pattern!r}", timeout)

    def wait_port(self, port: int, timeout: float = READY_TIMEOUT) -> None:
        """Wait until something listens on the loopback port. Raises NotReady."""

        def look() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        self.wait_for(look, f"port {port}", timeout)

    def wait_for(self, look: Callable[[], T | None], what: str, timeout: float = READY_TIMEOUT) -> T:
        """Call look until it gives something true and return it. Raises NotReady."""
        limit = time.monotonic() + timeout
        while True:
            found = look()
            if found:
                return found
            if not self.alive:
                raise NotReady(f"{self.name} ended with {self._process.returncode}:\n{self.output()[-2000:]}")
            if time.monotonic() > limit:
                raise NotReady(f"{self.name}: no {what} within {timeout:.0f} s:\n{self.output()[-2000:]}")
            time.sleep(POLL)

    def stop(self, grace: float = 2.0) -> int:
        """End the whole process group: SIGTERM, then after grace seconds SIGKILL. Returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                pass
            try:
                self._process.wait(grace if number == signal.SIGTERM else None)
            except subprocess.TimeoutExpired:
                continue
        return self._process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
