"""What is measured on a running system, each as one function that gives one small record.

Every record holds plain numbers only, so that it goes into the JSON of a run as it is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from benchmarks import load
from benchmarks.procs import READY_TIMEOUT, Child
from benchmarks.systems import GoSeed, Ours, System
from benchmarks.target import BIG, BODY
from conformance import daemons

Record = dict[str, float]


class Broken(RuntimeError):
    """A system gave wrong answers, so that its figures would mean nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much load: connections to try, those that ask for ever new paths, seconds a point, requests for the memory
    measure, idle agents."""

    connections: tuple[int, ...] = (16, 64, 256)
    paths: int = 64
    seconds: float = 6.0
    requests: int = 100_000
    agents: int = 200
    downloads: int = 3

    @classmethod
    def quick(cls) -> Plan:
        """Return a plan that shows in half a minute a system that everything works, not how fast."""
        return cls(seconds=2.0, requests=10_000, agents=50, downloads=1)


def check(system: System) -> None:
    """Wait until the system answers rightly. Raises Broken."""
    limit = time.monotonic() + READY_TIMEOUT
    seen = ""
    while time.monotonic() < limit:
        try:
            with urllib.request.urlopen(system.url("/hello"), timeout=5) as response:
                body = response.read()
        except (urllib.error.URLError, OSError) as error:
            seen = str(error)
        else:
            if body == BODY:
                return
            seen = repr(body[:200])
        time.sleep(0.05)
    raise Broken(f"{system.name} does not answer: {seen}")


def _cpu(child: Child | None) -> float:
    return child.usage().cpu if child else 0.0


def _rss(child: Child | None) -> float:
    return child.usage().rss if child else 0.0


def requests(system: System, connections: int, seconds: float, *, vary: bool = False) -> Record:
    """Load with small requests: rate, p50 and p99 in ms, CPU of hub and agent in us a request, failures.

    With vary every request has a path of its own.
    """
    before = _cpu(system.hub), _cpu(system.agent)
    seen = load.run(system.url("/hello"), connections, seconds, vary=vary)
    after = _cpu(system.hub), _cpu(system.agent)
    if not seen.requests:
        raise Broken(f"{system.name} answered nothing at {connections} connections")
    hub, agent = ((late - early) / seen.requests * 1e6 for early, late in zip(before, after, strict=True))
    return {
        "rate": seen.rate,
        "p50_ms": seen.p50,
        "p99_ms": seen.p99,
        "hub_us": hub,
        "agent_us": agent,
        "failures": seen.failures,
    }


def download(system: System) -> Record:
    """Read 1 GiB on one connection: MB/s and CPU seconds of hub and agent."""
    before = _cpu(system.hub), _cpu(system.agent)
    seen = load.download(system.url("/big"), BIG)
    after = _cpu(system.hub), _cpu(system.agent)
    gib = seen.size / (1 << 30)
    return {
        "mb_s": seen.size / seen.seconds / 1e6,
        "hub_s_gib": (after[0] - before[0]) / gib,
        "agent_s_gib": (after[1] - before[1]) / gib,
    }


def memory(system: System, count: int, limit: float = 240.0) -> Record:
    """Answer count requests at 16 connections on a fresh system: MiB of hub and agent before and after.

    Where count is not reached within limit seconds, the record's "requests" tells how many there were.
    """
    record = {"hub_before": _rss(system.hub), "agent_before": _rss(system.agent)}
    done, seconds = 0, 2.0
    until = time.monotonic() + limit
    while done < count and time.monotonic() < until:
        seen = load.run(system.url("/hello"), 16, seconds)
        done += seen.requests
        # The next run is as long as the rest takes at this rate, so that the count is met closely.
        seconds = min(30.0, max(1.0, (count - done) / max(1.0, seen.rate)))
    return record | {"requests": done, "hub_after": _rss(system.hub), "agent_after": _rss(system.agent)}


def idle_agents(system: GoSeed | Ours, count: int) -> Record:
    """Attach count idle agents to a hub of its own: KiB of the hub for each.

    The system must not be started; its hub is started here and stopped with it.
    """
    system.folder.mkdir(parents=True, exist_ok=True)
    hub = system.begin_hub()
    try:
        time.sleep(0.5)
        before = hub.usage().rss
        python = system.python if isinstance(system, Ours) else sys.executable
        kind = "attach" if isinstance(system, Ours) else "raw"
        argv = [python, "-m", "benchmarks.agents", kind, f"ws://127.0.0.1:{system.hub_port}", str(count)]
        agents = system.run("agents", argv, env=daemons.environment())
        agents.wait_output(r"^attached \d+$", timeout=60)
        time.sleep(1.0)
        after = hub.usage().rss
        if not agents.alive:
            raise Broken(f"{system.name}: the idle agents ended: {agents.output()[-500:]}")
    finally:
        system.__exit__()
    return {"agents": count, "kib_each": (after - before) * 1024 / count, "hub_after": after}


def machine() -> dict[str, str | int]:
    """Return what the figures depend on: processor, cores, kernel, versions."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    uname = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "cpu": model[0].partition(":")[2].strip() if model else "unknown",
        "cores": len(model),
        "kernel": uname,
        "python": sys.version.split()[0],
    }


def dump(path: Path, content: object) -> None:
    """Write content as JSON, readable by people."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
