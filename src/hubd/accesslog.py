"""The access log, off the hot path: the exchange leaves a tuple, lines are made of many at a time, a task writes them.

Made one by one, between requests, lines take twice as long: the interpreter comes to them with cold caches.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import threading
import time
from pathlib import Path

# About 200 bytes each while they wait: 13 MB, half a second at 100,000 requests a second.
RING = 65_536
# Bytes beyond which no more lines wait, as long paths would make them: five times the common line.
HELD = 64 * 1024 * 1024
# Often enough for a person who watches, rare enough that a batch is worth a write.
INTERVAL = 0.5
# Lines made in one go: a microsecond each, so requests wait a quarter of a millisecond. What more entries hold would fall out
# of the caches meanwhile.
BATCH = 256
# Lines in one write: a megabyte.
CHUNK = 4096
MAX_PATH = 1024
# Outcomes remembered, each of 150 bytes with a common path and of 6 KiB with a long one that is all escapes.
OUTCOMES = 1024
# Milliseconds remembered: those in which the requests now in progress began.
MOMENTS = 4096
# Sizes and durations remembered: to make their digits takes longer than all else of a line.
FIGURES = 4096

Outcome = tuple[str, bytes, bytes, str, int]
"""peer, method, path without query, agent, status."""
Entry = tuple[float, float, bytes, Outcome, int, str]
"""start and end (monotonic), request id, outcome, bytes, reason."""


class AccessLog:
    """Writes one JSON line for each finished request.

    Args:
        path: file to append to, or ``-`` for standard output; opened at once.
        ring: lines that may wait; more are dropped and counted.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str, *, ring: int = RING) -> None:
        self._fd = (
            os.dup(1)
            if path == "-"
            else os.open(Path(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        )
        self._ring: list[Entry] = []
        # Lines that are made: how many, and their bytes.
        self._batches: list[tuple[int, bytes]] = []
        self._limit = ring
        self._waiting = self._held = 0
        self._full = min(BATCH, ring)
        self._outcomes: dict[Outcome, bytes] = {}
        self._moments: dict[int, bytes] = {}
        self._sizes: dict[int, bytes] = {}
        self._spans: dict[int, bytes] = {}
        self._offset = time.time() - time.monotonic()
        self._told = 0
        self._ending = False
        # Whoever ends the log waits for what is being written; a closed file's number may be another's a moment later.
        self._flushing = asyncio.Lock()
        self.dropped = 0
        self.written = 0

    def add(self, entry: Entry) -> None:
        """Leave an entry. Makes lines of what has gathered when that is many; no I/O."""
        self._ring.append(entry)
        if len(self._ring) >= self._full:
            self._format()

    async def run(self) -> None:
        """Write what has gathered, until cancelled or ended."""
        while not self._ending:
            await asyncio.sleep(INTERVAL)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits now. A file that takes nothing costs lines, never requests."""
        async with self._flushing:
            await self._flush()

    async def _flush(self) -> None:
        self._format()
        left = self._waiting
        # Not until nothing waits: under load that never comes, and each handful of lines would be handed to a thread.
        while left > 0 and self._batches:
            count, batches = self._take()
            left -= count
            try:
                # In a thread: a full disk or a pipe nobody reads would hold up the loop. Lines are not made there, or
                # the loop would wait for the interpreter on every return from a system call.
                await self._have_written(count, batches)
            finally:
                self._release(count, batches)

    async def _have_written(self, count: int, batches: list[bytes]) -> None:
        """Write in a thread of our own: for one of the loop's the process would wait at its end, however long."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not done.done():
                done.set_result(None)

        def write() -> None:
            self._write(count, batches)
            # The loop may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(tell)

        try:
            threading.Thread(target=write, name="access-log", daemon=True).start()
        except RuntimeError:
            # This machine has no thread for us now.
            self.dropped += count
        else:
            await done

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
        self._format()
        while self._batches:
            count, batches = self._take()
            self._write(count, batches)
            self._release(count, batches)
        os.close(self._fd)

    def _format(self) -> None:
        """Make lines of the entries that wait."""
        entries, self._ring = self._ring, []
        room = self._limit - self._waiting if self._held < HELD else 0
        if len(entries) > room:
            self.dropped += len(entries) - room
            del entries[room:]
        outcomes, moments, sizes, spans = self._outcomes, self._moments, self._sizes, self._spans
        offset = self._offset
        pieces: list[bytes] = []
        for start, end, request_id, outcome, size, reason in entries:
            moment = int((start + offset) * 1000.0)
            span = int((end - start) * 1000.0 + 0.5)
            # A request id is of harmless characters, whoever chose it.
            pieces += (
                moments.get(moment) or self._stamp(moment),
                request_id,
                outcomes.get(outcome) or self._tell(outcome),
                sizes.get(size) or _figure(sizes, size, b'%d, "seconds": '),
                spans.get(span) or _figure(spans, span, b"%d.%03d", 1000),
                b', "reason": %b}\n' % _text(reason) if reason else b"}\n",
            )
        if entries:
            lines = b"".join(pieces)
            self._batches.append((len(entries), lines))
            self._waiting += len(entries)
            self._held += len(lines)
        self._full = max(1, min(BATCH, self._limit - self._waiting))

    def _take(self) -> tuple[int, list[bytes]]:
        """The lines that waited longest, as many as are written at once: how many, and their bytes."""
        count = 0
        batches: list[bytes] = []
        while self._batches and (not batches or count + self._batches[0][0] <= CHUNK):
            number, lines = self._batches.pop(0)
            count += number
            batches.append(lines)
        return count, batches

    def _release(self, count: int, batches: list[bytes]) -> None:
        self._waiting -= count
        self._held -= sum(map(len, batches))
        self._full = max(1, min(BATCH, self._limit - self._waiting))

    def _write(self, count: int, batches: list[bytes]) -> None:
        if self.dropped > self._told:
            lost = json.dumps({"msg": "access log lines dropped", "count": self.dropped - self._told})
            batches = [*batches, lost.encode(), b"\n"]
            self._told = self.dropped
        data = memoryview(b"".join(batches))
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            self.dropped += count
        else:
            self.written += count

    def _tell(self, outcome: Outcome) -> bytes:
        """Who asked whom for what, with which outcome: JSON of ASCII only, one character for each byte."""
        peer, method, path, agent, status = outcome
        # Where paths differ, what is beside them comes again.
        told = _quoted(path[:MAX_PATH].decode("latin-1")).encode()
        middle = _before(peer, method) + told + _behind(agent, status)
        if len(path) <= MAX_PATH:
            if len(self._outcomes) >= OUTCOMES:
                self._outcomes.clear()
            self._outcomes[outcome] = middle
        return middle

    def _stamp(self, moment: int) -> bytes:
        """The beginning of a line, by milliseconds since 1970."""
        if len(self._moments) >= MOMENTS:
            self._moments.clear()
        seconds, rest = divmod(moment, 1000)
        stamp = self._moments[moment] = b'{"time": "%b.%03dZ", "request_id": "' % (_second(seconds), rest)
        return stamp


def _figure(known: dict[int, bytes], number: int, form: bytes, unit: int = 0) -> bytes:
    """A number's digits, and remember them."""
    if len(known) >= FIGURES:
        known.clear()
    made = known[number] = form % (divmod(number, unit) if unit else number)
    return made


# Requests end in another order than they began, so more than the last.
@functools.lru_cache(64)
def _second(seconds: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode()


_quoted = json.JSONEncoder().encode


@functools.lru_cache(1024)
def _before(peer: str, method: bytes) -> bytes:
    return b'", "peer": %b, "method": %b, "path": ' % (_text(peer), _text(method.decode("latin-1")))


@functools.lru_cache(1024)
def _behind(agent: str, status: int) -> bytes:
    return b', "agent": %b, "status": %d, "bytes": ' % (_text(agent), status)


@functools.lru_cache(256)
def _text(text: str) -> bytes:
    return _quoted(text).encode()
