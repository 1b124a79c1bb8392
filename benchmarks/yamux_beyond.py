"""Rows of bench-yamux beyond the reference's own cases: many idle streams, fairness beside bulk, and a long pipe."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.delay import RATE, ROUND_TRIP

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20
# Far above what the slowest case takes on a busy machine.
TIMEOUT = 600.0
TITLES = {"streams": "10,000 idle streams", "fair": "100 ping-pongs beside 1 GiB", "wan": "100 ms round trip"}
Figures = dict[str, float]


def run(command: Sequence[str], case: str) -> Figures:
    """Run one case of a benchmark program and return its figures."""
    done = subprocess.run([*command, case], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=TIMEOUT)
    found: Figures = json.loads(done.stdout)
    return found


def free_address() -> str:
    """Return a loopback address nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def delayed(address: str) -> Iterator[str]:
    """Give the address of a delaying relay to this one."""
    command = [sys.executable, "-m", "benchmarks.delay", "--to", address]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as relay:
        assert relay.stdout is not None
        try:
            yield f"127.0.0.1:{int(relay.stdout.readline())}"
        finally:
            relay.kill()


def streams(theirs: list[str], ours: list[str], scale: float) -> Iterator[str]:
    """Memory of an idle stream, and how fast they open."""
    count = max(1000, int(10_000 * scale))
    for name, command in (("reference", theirs), ("ours", ours)):
        found = run(command, f"streams:{count}:0")
        rate = count / found["seconds"]
        yield f"  {name:<10}{found['memory']:7,.0f} bytes a stream and end, {rate:8,.0f} opened and accepted a second"


def fair(theirs: list[str], ours: list[str], scale: float) -> Iterator[str]:
    """The p99 of 100 ping-pongs, alone and beside bulk; goal: under 10 times."""
    size = max(64, int(1024 * scale)) * MIB
    for name, command in (("reference", theirs), ("ours", ours)):
        found = run(command, f"fair:1:{size}")
        idle, busy, speed = found["idle"] * 1e3, found["busy"] * 1e3, size / found["seconds"] / 1e6
        missed = "" if name == "reference" or busy < 10 * idle else "  ! goal: under 10x"
        yield f"  {name:<10}p99 {idle:6.2f} ms alone, {busy:6.2f} beside bulk ({busy / idle:.1f}x), bulk {speed:,.0f} MB/s{missed}"


def wan(theirs: list[str], ours: list[str], scale: float) -> Iterator[str]:
    """One stream through the delaying relay once windows have grown; goal: 80 % of what plain TCP gets there."""
    size = max(32, int(256 * scale)) * MIB
    allowed = 0.0
    yield f"  the pipe: {RATE / 1e6:.0f} MB/s, {ROUND_TRIP * 1e3:.0f} ms; the reference's window is its default, 256 KiB"
    # The reference takes a second for 2.6 MB: a fraction is enough to see its speed.
    rows = (("plain TCP", ours, "pipe", size), ("reference", theirs, "wan", 8 * MIB), ("ours", ours, "wan", size))
    for name, command, case, amount in rows:
        address = free_address()
        with delayed(address) as relay:
            found = run([*command, "-listen", address, "-dial", relay], f"{case}:1:{amount}")
        speed = amount / found["seconds"] / 1e6
        allowed = allowed or speed
        missed = "" if name != "ours" or speed >= 0.8 * allowed else "  ! goal: 80 %"
        yield f"  {name:<10}{speed:7.1f} MB/s  {speed / allowed:4.0%}{missed}"


ROWS = {"streams": streams, "fair": fair, "wan": wan}


def wanted(only: str) -> list[str]:
    """Return the names of the rows whose titles contain this."""
    return [name for name, title in TITLES.items() if only.lower() in title.lower()]


def lines(names: list[str], theirs: list[str], ours: list[str], scale: float) -> Iterator[str]:
    """Run these rows and give what there is to print."""
    for name in names:
        yield TITLES[name]
        yield from ROWS[name](theirs, ours, scale)
