"""Compare this system with the Go programs on this machine: `python -m benchmarks.run`.

Both systems are started in turn before the same target and under the same load, round after round,
so that what else the machine does falls on both. Only figures of one run compare with each other.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import load, measure, report
from benchmarks.procs import ROOT, NotReady, free_port
from benchmarks.systems import Direct, GoSeed, Ours, System
from benchmarks.target import find_nginx, start_target

RESULTS = ROOT / "benchmarks" / "results"
MEASURES = ("requests", "memory", "download", "idle")


def say(text: str) -> None:
    """Print progress."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


class Bench:
    """One run: the systems, the plan, and what came of it.

    A system that fails is reported and left out of the rest of its round; the others go on.
    """

    def __init__(self, kinds: list[type[System]], plan: measure.Plan, only: set[str], folder: Path) -> None:
        self.kinds = kinds
        self.plan = plan
        self.only = only
        self.folder = folder
        self.results = report.Results()
        self.failed = False
        self._starts = 0

    def start(self, kind: type[System], target_port: int) -> System:
        """Return a system of this kind with a folder of its own, not yet started."""
        self._starts += 1
        return kind(self.folder / f"{self._starts:03}-{kind.name.replace(' ', '-')}", target_port)

    def attempt(self, name: str, what: str, work: Callable[[], None]) -> None:
        """Do one measure of one system and note its failure, if any."""
        try:
            work()
        except (NotReady, measure.Broken, load.LoadFailed, OSError) as error:
            self.failed = True
            line = f"{name}: {what} failed: {error}"
            self.results.notes.append(line)
            say(line)

    def round(self, number: int) -> None:
        """Measure every system once, each on a target of its own."""
        for kind in self.kinds:
            port = free_port()
            with start_target(self.folder / f"target-{number}-{self._starts}", port, nginx=find_nginx()):
                self.attempt(kind.name, "load", partial(self.loads, kind, port))
                if "memory" in self.only and kind is not Direct:
                    self.attempt(kind.name, "memory", partial(self.memory, kind, port))
            if "idle" in self.only and kind in (GoSeed, Ours):
                self.attempt(kind.name, "idle agents", partial(self.idle, kind))

    def loads(self, kind: type[System], port: int) -> None:
        """Downloads first, while the process is fresh, then small requests at each connection count."""
        if not self.only & {"requests", "download"}:
            return
        with self.start(kind, port) as system:
            measure.check(system)
            for _ in range(self.plan.downloads if "download" in self.only else 0):
                record = measure.download(system)
                self.results.add(kind.name, "download", record)
                say(f"{kind.name}: 1 GiB at {record['mb_s']:.0f} MB/s")
            if "requests" in self.only:
                for count in self.plan.connections:
                    self.point(system, f"c{count}", count, vary=False)
                self.point(system, "paths", self.plan.paths, vary=True)

    def point(self, system: System, key: str, count: int, *, vary: bool) -> None:
        """One point of load on a running system, kept under key."""
        record = measure.requests(system, count, self.plan.seconds, vary=vary)
        self.results.add(system.name, key, record)
        what = f"{count}, every path new" if vary else f"{count}"
        cpu = f"CPU us {record['hub_us']:.0f} hub, {record['agent_us']:.0f} agent"
        say(f"{system.name}: {record['rate']:,.0f} req/s at {what}, p99 {record['p99_ms']:.1f} ms, {cpu}")
        if record["failures"]:
            self.results.notes.append(f"{system.name}: {record['failures']:.0f} failed requests at {what}")

    def memory(self, kind: type[System], port: int) -> None:
        """Memory before and after many requests, on a fresh system."""
        with self.start(kind, port) as system:
            measure.check(system)
            record = measure.memory(system, self.plan.requests)
        self.results.add(kind.name, "memory", record)
        say(
            f"{kind.name}: RSS {record['hub_after']:.0f} hub, {record['agent_after']:.0f} agent MiB after {record['requests']:,.0f}"
        )

    def idle(self, kind: type[System]) -> None:
        """Memory for each idle agent, on a hub of its own."""
        system = self.start(kind, 0)
        assert isinstance(system, GoSeed | Ours)
        record = measure.idle_agents(system, self.plan.agents)
        self.results.add(kind.name, "idle", record)
        say(f"{kind.name}: {record['kib_each']:.1f} KiB of hub memory for each of {record['agents']:.0f} idle agents")

    def save(self, path: Path) -> None:
        """Write everything measured as JSON."""
        content = {"machine": measure.machine(), "rounds": self.results.rounds, "notes": self.results.notes}
        measure.dump(path, content)
        say(f"wrote {path}")


def parser(description: str) -> argparse.ArgumentParser:
    """Return the options that all benchmark programs share."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument(
        "--quick", action="store_true", help="short points and one round: shows that it works, not how fast"
    )
    options.add_argument("--rounds", type=int, help="interleaved rounds; the table shows medians (default 3, quick 1)")
    options.add_argument("--seconds", type=float, help="seconds for each point of load (default 6, quick 2)")
    options.add_argument("--requests", type=int, help="requests of the memory measure (default 100,000, quick 10,000)")
    options.add_argument("--only", action="append", choices=MEASURES, help="measure only this; may be given again")
    options.add_argument("--json", type=Path, help="file for the results (default benchmarks/results/<time>.json)")
    options.add_argument("--ours-python", default=sys.executable, help="interpreter that runs hubd and agentd")
    options.add_argument("--hubd-flag", action="append", default=[], help="one more word for hubd, as --hubd-flag=--x")
    options.add_argument("--agentd-flag", action="append", default=[], help="one more word for agentd")
    options.add_argument("--keep", type=Path, help="keep logs and state in this folder")
    return options


def plan_of(options: argparse.Namespace) -> measure.Plan:
    """Return the plan the options ask for."""
    plan = measure.Plan.quick() if options.quick else measure.Plan()
    if options.seconds:
        plan = replace(plan, seconds=options.seconds)
    if options.requests:
        plan = replace(plan, requests=options.requests)
    return plan


def run(options: argparse.Namespace, kinds: list[type[System]], name: str) -> Bench:
    """Do all rounds, save the results and return them."""
    Ours.python = options.ours_python
    Ours.hub_flags = tuple(options.hubd_flag)
    Ours.agent_flags = tuple(options.agentd_flag)
    folder = Path(options.keep or tempfile.mkdtemp(prefix="bench-"))
    bench = Bench(kinds, plan_of(options), set(options.only or MEASURES), folder)
    say(f"target: {'nginx' if find_nginx() else 'asyncio responder (nginx is missing)'}")
    say(f"load: {'wrk' if load.find_wrk() else 'asyncio generator (wrk is missing)'}")
    try:
        for number in range(options.rounds or (1 if options.quick else 3)):
            say(f"round {number + 1}")
            bench.round(number)
    finally:
        if bench.results.rounds:
            bench.save(options.json or RESULTS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json")
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return bench


def main() -> int:
    """Run, print the table and the bars; 1 when a measure failed."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--baseline-only", action="store_true", help="leave ours out")
    options.add_argument("--direct", action="store_true", help="measure the target without a tunnel as well")
    chosen = options.parse_args()
    kinds: list[type[System]] = [GoSeed] if chosen.baseline_only else [Ours, GoSeed]
    bench = run(chosen, [Direct, *kinds] if chosen.direct else kinds, "run")
    table_rows = report.rows(bench.plan.connections)
    print("\n" + report.compare(bench.results, table_rows, Ours.name, GoSeed.name) + "\n")
    names = [kind.name for kind in bench.kinds]
    print(
        report.charts(bench.results, table_rows, names, lambda row: row.key in ("rate", "mb_s", "hub_us", "agent_us"))
    )
    for note in bench.results.notes:
        print("note:", note)
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
