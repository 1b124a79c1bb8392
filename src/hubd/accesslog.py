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
# Lines formatted without giving the loop a turn: some 4 us each.
BATCH = 1024
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
            batch = [self._ring.popleft() for _ in range(min(BATCH, len(self._ring)))]
            # In a thread: a full disk or a pipe nobody reads would hold up the loop.
            await loop.run_in_executor(None, self._write, batch)

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
            self._write([self._ring.popleft() for _ in range(min(BATCH, len(self._ring)))])
        os.close(self._fd)

    def _write(self, batch: list[Entry]) -> None:
        lines = [self._line(entry) for entry in batch]
        if self.dropped > self._told:
            lines.append(json.dumps({"msg": "access log lines dropped", "count": self.dropped - self._told}))
            self._told = self.dropped
        data = memoryview(("\n".join(lines) + "\n").encode())
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            self.dropped += len(batch)
        else:
            self.written += len(batch)

    def _line(self, entry: Entry) -> str:
        """The entry in JSON, by hand: a general encoder takes five times as long, and this runs for every request."""
        start, end, request_id, peer, method, path, agent, status, size, reason = entry
        seconds = start + self._offset
        whole = int(seconds)
        if whole != self._second:
            self._second = whole
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        line = _LINE % (
            self._stamp, int((seconds - whole) * 1000), request_id.decode("ascii"), _text(peer), _bytes(method),
            _bytes(path[:MAX_PATH]), _text(agent), status, size, end - start,
        )  # fmt: skip
        return f'{line}, "reason": {_text(reason)}}}' if reason else line + "}"


# A request id is of harmless characters, whoever chose it.
_LINE = (
    '{"time": "%s.%03dZ", "request_id": "%s", "peer": %s, "method": %s, "path": %s, "agent": %s, "status": %d, '
    '"bytes": %d, "seconds": %.6f'
)
# Texts that come again and again: agents, addresses, paths. At 1 KiB a path and three times that in escapes, 4 MiB.
_CACHE = 1024


@functools.lru_cache(_CACHE)
def _text(text: str) -> str:
    """A JSON string of ASCII only."""
    return json.dumps(text)


@functools.lru_cache(_CACHE)
def _bytes(data: bytes) -> str:
    """The same of bytes, one character for each."""
    return json.dumps(data.decode("latin-1"))
