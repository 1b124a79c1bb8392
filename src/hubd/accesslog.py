"""The access log, off the hot path: the exchange leaves a tuple in a bounded ring, a task formats and writes batches."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import time
from collections import deque
from pathlib import Path

# About 150 bytes each while they wait: 10 MB at most, half a second at 100,000 requests a second.
RING = 65_536
# Often enough for a person who watches, rare enough that a batch is worth a write.
INTERVAL = 0.5
# Lines formatted without giving the loop a turn: a microsecond each, so requests wait a quarter of a millisecond.
BATCH = 256
# Lines in one write: a megabyte.
CHUNK = 4096
MAX_PATH = 1024

Entry = tuple[float, float, bytes, str, bytes, bytes, str, int, int, str]
"""start and end (monotonic), request id, peer, method, path without query, agent, status, bytes, reason."""


class AccessLog:
    """Writes one JSON line for each finished request.

    Args:
        path: file to append to, or ``-`` for standard output; opened at once.
        ring: entries that may wait; more are dropped and counted.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str, *, ring: int = RING) -> None:
        self._fd = (
            os.dup(1)
            if path == "-"
            else os.open(Path(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        )
        self._ring: deque[Entry] = deque()
        self._limit = ring
        self._offset = time.time() - time.monotonic()
        self._told = 0
        self._ending = False
        self._second = 0
        self._stamp = ""
        self.dropped = 0
        self.written = 0

    def add(self, entry: Entry) -> None:
        """Leave an entry. Constant time, no I/O."""
        if len(self._ring) < self._limit:
            self._ring.append(entry)
        else:
            self.dropped += 1

    async def run(self) -> None:
        """Write what has gathered, until cancelled or ended."""
        while not self._ending:
            await asyncio.sleep(INTERVAL)
            await self.flush()

    async def flush(self) -> None:
        """Write all that waits. A file that takes nothing costs lines, never requests."""
        loop = asyncio.get_running_loop()
        while self._ring:
            lines: list[str] = []
            # Here, not in the thread: whoever formats holds the interpreter, and the loop would wait for it on every
            # return from a system call.
            while self._ring and len(lines) < CHUNK:
                self._format(lines)
                await asyncio.sleep(0)
            # In a thread: a full disk or a pipe nobody reads would hold up the loop.
            await loop.run_in_executor(None, self._write, lines)

    async def end(self) -> None:
        """Write what waits and close, while the loop runs. Nothing may be added any more."""
        self._ending = True
        await self.flush()
        os.close(self._fd)

    def take_over(self, other: AccessLog) -> None:
        """Go on in another log's file, which is closed by this."""
        # One number, whatever the writing thread does at this moment.
        os.dup2(other._fd, self._fd, inheritable=False)
        os.close(other._fd)

    def close(self) -> None:
        """Write what waits and close. Blocking; for the very end."""
        while self._ring:
            lines: list[str] = []
            self._format(lines)
            self._write(lines)
        os.close(self._fd)

    def _format(self, lines: list[str]) -> None:
        """Make lines of what waited longest, a batch at most."""
        take, line = self._ring.popleft, self._line
        lines += [line(take()) for _ in range(min(BATCH, len(self._ring)))]

    def _write(self, lines: list[str]) -> None:
        count = len(lines)
        if self.dropped > self._told:
            lines.append(json.dumps({"msg": "access log lines dropped", "count": self.dropped - self._told}))
            self._told = self.dropped
        data = memoryview(("\n".join(lines) + "\n").encode())
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            self.dropped += count
        else:
            self.written += count

    def _line(self, entry: Entry) -> str:
        """The entry in JSON, by hand: a general encoder takes five times as long, and this runs for every request."""
        start, end, request_id, peer, method, path, agent, status, size, reason = entry
        seconds = start + self._offset
        whole = int(seconds)
        if whole != self._second:
            self._second = whole
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        middle = _middle(peer, method, path[:MAX_PATH], agent, status)
        line = _LINE % (self._stamp, (seconds - whole) * 1000, request_id.decode("ascii"), middle, size, end - start)
        return f'{line}, "reason": {json.dumps(reason)}}}' if reason else line + "}"


# A request id is of harmless characters, whoever chose it.
_LINE = '{"time": "%s.%03dZ", "request_id": "%s", %s, "bytes": %d, "seconds": %.6f'


# What comes again and again: whole outcomes, and where paths differ, what is beside them. At 1 KiB a path and three times
# that in escapes, 4 MiB for the outcomes; what the others hold is short.
@functools.lru_cache(1024)
def _middle(peer: str, method: bytes, path: bytes, agent: str, status: int) -> str:
    """Who asked whom for what, with which outcome: JSON of ASCII only, one character for each byte."""
    told = json.dumps(path.decode("latin-1"))
    return (
        f'"peer": {_text(peer)}, "method": {_text(method)}, "path": {told}, "agent": {_text(agent)}, "status": {status}'
    )


@functools.lru_cache(1024)
def _text(text: str | bytes) -> str:
    return json.dumps(text if isinstance(text, str) else text.decode("latin-1"))
