"""Load generators: wrk where it is installed, else an asyncio one; and a download that reads at full speed."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

# A path of its own for every request: what knows heads again by their bytes gains nothing by it.
_VARY = """\
local count = 0
function request()
  count = count + 1
  local path, query = wrk.path:match("^([^?]*)(.*)$")
  return wrk.format("GET", path .. "/" .. count .. query)
end
"""

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
# wrk waits for answers under way when its time is over; a stuck system must not hold the run.
SLACK = 30.0


class LoadFailed(RuntimeError):
    """The generator did not run, or nothing was answered."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of load saw: requests answered, seconds, p50 and p99 in ms, failures of any kind."""

    requests: int
    seconds: float
    p50: float
    p99: float
    failures: int

    @property
    def rate(self) -> float:
        """Return answered requests a second."""
        return self.requests / self.seconds if self.seconds else 0.0


def find_wrk() -> str | None:
    """Return the path of wrk, or None."""
    return shutil.which("wrk")


def _split(url: str) -> tuple[str, int, str]:
    """Return host, port and request target of an http URL that names its port."""
    parts = urlsplit(url)
    if parts.hostname is None or parts.port is None:
        raise LoadFailed(f"no host and port in {url}")
    return parts.hostname, parts.port, parts.path + (f"?{parts.query}" if parts.query else "")


def run(url: str, connections: int, seconds: float, *, vary: bool = False) -> Load:
    """Load url for so many seconds from one thread and return what came of it. Raises LoadFailed.

    With vary every request has a path of its own, below that of the url.
    """
    wrk = find_wrk()
    if not wrk:
        how = "vary" if vary else "same"
        return Load(
            **json.loads(
                _run([sys.executable, "-m", "benchmarks.load", url, str(connections), str(seconds), how], seconds)
            )
        )
    whole = max(1, round(seconds))
    command = [wrk, "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "10s", "--latency", url]
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        if vary:
            script = Path(folder) / "vary.lua"
            script.write_text(_VARY)
            command[1:1] = ["-s", str(script)]
        return _from_wrk(_run(command, seconds))


def _run(command: list[str], seconds: float) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + SLACK)
    except subprocess.TimeoutExpired as error:
        raise LoadFailed(f"{command[0]} did not end") from error
    if done.returncode:
        raise LoadFailed(f"{command[0]}: {done.stdout}{done.stderr}")
    return done.stdout


def _from_wrk(text: str) -> Load:
    def latency(percent: str) -> float:
        found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
        return float(found[1]) * _UNITS[found[2]] if found else float("nan")

    total = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m),", text)
    if not total:
        raise LoadFailed(f"wrk said: {text}")
    failures = 0
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    if errors:
        failures += sum(int(number) for number in errors.groups())
    status = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if status:
        failures += int(status[1])
    return Load(int(total[1]), float(total[2]) * _UNITS[total[3]] / 1e3, latency("50"), latency("99"), failures)


class _Client(asyncio.Protocol):
    """One connection that asks again as soon as it has the whole answer; reads Content-Length only."""

    def __init__(self, requests: Iterator[bytes], times: list[float], until: float) -> None:
        self._requests = requests
        self._times = times
        self._until = until
        self._buffer = b""
        self.failures = 0
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self._started = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, mark, body = self._buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if not length:
            self.failures += 1
            self._transport.abort()
            return
        if len(body) < int(length[1]):
            return
        now = time.perf_counter()
        self._buffer = b""
        self._times.append(now - self._started)
        if not head.startswith(b"HTTP/1.1 2"):
            self.failures += 1
        if now < self._until:
            self._ask()
        else:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if time.perf_counter() < self._until:
            self.failures += 1
        self.closed.set_result(None)


def _requests(url: str, vary: bool) -> Iterator[bytes]:
    """Yield requests for url for ever, with vary each for another path below it."""
    host, port, target = _split(url)
    path, mark, query = target.partition("?")
    for number in itertools.count():
        more = f"/{number}" if vary else ""
        yield f"GET {path}{more}{mark}{query} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()


async def _generate(url: str, connections: int, seconds: float, vary: bool) -> Load:
    host, port, _ = _split(url)
    requests = _requests(url, vary)
    times: list[float] = []
    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: _Client(requests, times, started + seconds), host, port))[1]
        for _ in range(connections)
    ]
    await asyncio.wait([client.closed for client in clients], timeout=seconds + SLACK / 2)
    spent = time.perf_counter() - started
    times.sort()
    if not times:
        raise LoadFailed("nothing was answered")
    p50, p99 = (times[int(len(times) * share)] * 1e3 for share in (0.5, 0.99))
    return Load(len(times), spent, p50, p99, sum(client.failures for client in clients))


@dataclass(frozen=True, slots=True)
class Download:
    """One body read to its end: bytes and seconds from the request to the last byte."""

    size: int
    seconds: float


def download(url: str, size: int, timeout: float = 120.0) -> Download:
    """Read the body at url, which must be size bytes long, on one connection. Raises LoadFailed."""
    host, port, target = _split(url)
    buffer = memoryview(bytearray(1 << 20))
    started = time.perf_counter()
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        head, got = b"", 0
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65536)
            if not piece:
                raise LoadFailed(f"the connection ended in the head: {head[:200]!r}")
            head += piece
        head, _, rest = head.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200") or b"chunked" in head.lower():
            raise LoadFailed(f"not a plain 200: {head[:400]!r} {rest[:400]!r}")
        got = len(rest)
        while got < size:
            count = connection.recv_into(buffer)
            if not count:
                raise LoadFailed(f"the body ended at {got} of {size} bytes")
            got += count
            if time.perf_counter() - started > timeout:
                raise LoadFailed(f"{got} of {size} bytes after {timeout:.0f} s")
    return Download(got, time.perf_counter() - started)


if __name__ == "__main__":
    address, count, length, how = sys.argv[1:]
    print(json.dumps(asdict(asyncio.run(_generate(address, int(count), float(length), how == "vary")))))
