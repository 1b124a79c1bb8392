"""The reference's own benchmark cases on hashicorp/yamux and on ours, side by side: python -m benchmarks.yamux_bench

Both over loopback TCP, both ends in one process: goroutines on all cores there, one loop on one core here. "2 processes"
puts our receiver into a process of its own. Rounds alternate between the two, so that a busy moment hits both; the
table shows medians. Figures compare within one run only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import yamux_beyond
from conformance import gobuild

ROOT = Path(__file__).resolve().parent.parent
SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
BAR = 30
MIB = 1 << 20
# Far above what the slowest case takes on a busy machine.
TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Case:
    """One row: what is run, how often, and how many times faster ours is to be."""

    name: str
    count: int
    size: int = 0
    goal: float | None = None

    def __str__(self) -> str:
        return f"{self.name}:{self.count}:{self.size}"

    @property
    def title(self) -> str:
        """Name it as the reference does."""
        names = {"ping": "Ping", "accept": "Accept", "large": "SendRecvLarge", "large2": "SendRecvLarge, 2 processes"}
        names |= {"sendrecv": f"SendRecv{self.size}", "parallel": f"SendRecvParallel{self.size}"}
        return names.get(self.name, f"Frames{self.size}, 100 streams")

    @property
    def reference(self) -> str:
        """Return what the reference runs for it: it has both ends in one process always."""
        return str(self).replace("large2", "large")


def cases(scale: float) -> list[Case]:
    """Return all rows, their counts scaled."""

    def times(count: int) -> int:
        return max(200, int(count * scale))

    large = max(64, int(1024 * scale)) * MIB
    return [
        Case("ping", times(20_000), goal=1.2),
        Case("accept", times(20_000), goal=1.5),
        *(Case("sendrecv", times(100_000), size, 5.0) for size in SIZES),
        Case("large", 1, large, 2.0),
        Case("large2", 1, large, 2.0),
        *(Case("parallel", times(100_000), size, 5.0) for size in SIZES),
        Case("frames", times(100_000), 64),
    ]


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians of one case on one system."""

    seconds: float
    cpu: float
    frames: float = 0


def run(command: Sequence[str | Path], names: Sequence[str]) -> dict[str, Figures]:
    """Run a benchmark program over these cases and return its figures by case."""
    done = subprocess.run(
        [*map(str, command), *names], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=TIMEOUT
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["case"]: Figures(row["seconds"], row["cpu"], row.get("frames", 0)) for row in rows}


def median(rounds: list[dict[str, Figures]], name: str) -> Figures:
    """Return the medians of a case over the rounds."""
    seen = [figures[name] for figures in rounds]
    middle = statistics.median
    return Figures(middle(f.seconds for f in seen), middle(f.cpu for f in seen), middle(f.frames for f in seen))


def speed(case: Case, figures: Figures) -> str:
    """Return a figure as people compare it."""
    if case.name.startswith("large"):
        return f"{case.count * case.size / figures.seconds / 1e6:,.0f} MB/s"
    return f"{figures.seconds / case.count * 1e6:.2f} us"


def table(rows: list[Case], theirs: list[dict[str, Figures]], ours: list[dict[str, Figures]]) -> list[str]:
    """Return the lines of the table and its chart: a bar is how many times faster ours is.

    The last figure is how many times less CPU ours takes, both ends: a busy machine disturbs that least.
    """
    ratios = {case: median(theirs, case.reference).seconds / median(ours, str(case)).seconds for case in rows}
    most = max(ratios.values())
    out = [f"{'':<28}{'reference':>12}{'ours':>12}{'faster':>9}{'goal':>6}{'less CPU':>10}"]
    for case in rows:
        reference, own = median(theirs, case.reference), median(ours, str(case))
        goal = "" if case.goal is None else f"{case.goal:g}x"
        missed = " " if case.goal is None or ratios[case] >= case.goal else "!"
        bar = "#" * max(1, round(ratios[case] / most * BAR))
        figures = f"{speed(case, reference):>12}{speed(case, own):>12}{ratios[case]:>8.2f}x{goal:>6}"
        out.append(f"{case.title:<28}{figures}{reference.cpu / own.cpu:>9.2f}x {missed} {bar}")
    return out


def costs(rows: list[Case], theirs: list[dict[str, Figures]], ours: list[dict[str, Figures]]) -> list[str]:
    """Return CPU seconds, of both ends together, for a GiB in bulk and for a million small frames."""
    out = [f"{'CPU seconds, both ends':<28}{'reference':>12}{'ours':>12}"]
    for case in rows:
        if case.name in ("large", "large2", "frames"):
            reference, own = median(theirs, case.reference), median(ours, str(case))
            if case.name == "frames":
                # Each write is a frame there; here a few more go the other way.
                values, title = (reference.cpu / case.count * 1e6, own.cpu / own.frames * 1e6), "a million frames"
            else:
                gib = case.count * case.size / 2**30
                values, title = (reference.cpu / gib, own.cpu / gib), f"a GiB ({case.title})"
            out.append(f"{title:<34}{values[0]:>6.2f}{values[1]:>12.2f}")
    return out


def main() -> None:
    """Run all rounds and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of a tenth of everything")
    parser.add_argument("--only", default="", help="cases whose title contains this")
    arguments = parser.parse_args()
    rows = [case for case in cases(0.1 if arguments.quick else 1) if arguments.only.lower() in case.title.lower()]
    beyond = yamux_beyond.wanted(arguments.only)
    if not rows and not beyond:
        parser.error(f"no case is called {arguments.only!r}")
    programs: dict[str, list[str]] = {
        "theirs": [str(gobuild.programs()["yamuxpeer"].with_name("yamuxbench"))],
        "ours": [sys.executable, "-m", "benchmarks.yamux_ours", "--loop", arguments.loop],
    }
    found: dict[str, list[dict[str, Figures]]] = {"theirs": [], "ours": []}
    rounds = 1 if arguments.quick else arguments.rounds
    for number in range(rounds if rows else 0):
        for system, command in programs.items():
            print(f"round {number + 1}: {system}", file=sys.stderr, flush=True)
            names = [case.reference if system == "theirs" else str(case) for case in rows]
            found[system].append(run(command, list(dict.fromkeys(names))))
    print(f"loop: {arguments.loop}; processors: {os.cpu_count()}; rounds: {rounds}")
    if rows:
        print(*table(rows, found["theirs"], found["ours"]), "", *costs(rows, found["theirs"], found["ours"]), sep="\n")
    for line in yamux_beyond.lines(beyond, programs["theirs"], programs["ours"], 0.1 if arguments.quick else 1):
        print(line, flush=True)


if __name__ == "__main__":
    main()
