"""Show where hubd or agentd spends its time under load: `python -m benchmarks.profile hub|agent`.

Three ways, the best that is there unless one is named: py-spy (samples Python lines of the running
process without stopping it; time in a C function counts for the line that called it), perf (samples
C functions and the kernel, needs perf_event access), cProfile (always there, slows the program two to
three times and so shows shares, not speed).
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

from benchmarks import load, measure
from benchmarks.procs import Child, free_port
from benchmarks.systems import Ours
from benchmarks.target import BIG, find_nginx, start_target

WAYS = ("py-spy", "perf", "cprofile")


class ProfiledOurs(Ours):
    """Ours with one daemon started under cProfile, which writes its figures when the daemon ends."""

    part = ""
    stats = Path()

    def run(self, name: str, argv: list[str | Path], *, env: dict[str, str] | None = None) -> Child:  # type: ignore[override]
        if name == self.part:
            # python -m hubd ... becomes python -m cProfile -o FILE -m hubd ...
            argv = [argv[0], "-m", "cProfile", "-o", self.stats, *argv[1:]]
        return super().run(name, argv, env=env)


def find_py_spy() -> str | None:
    """Return the path of py-spy, on PATH or beside this interpreter."""
    return shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))


def best_way() -> str:
    """Return the best way this machine has."""
    if find_py_spy():
        return "py-spy"
    return "perf" if shutil.which("perf") else "cprofile"


def _under_load(system: Ours, options: argparse.Namespace) -> None:
    if options.load == "download":
        got = load.download(system.url("/big"), BIG)
        print(f"1 GiB at {got.size / got.seconds / 1e6:,.0f} MB/s")
    else:
        seen = load.run(system.url("/hello"), options.connections, options.seconds)
        print(f"{seen.rate:,.0f} req/s at {options.connections} connections, p99 {seen.p99:.1f} ms")


def _folded(path: Path, top: int) -> str:
    """Return the functions with the most samples of their own, and with callees, of folded stacks."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        own[frames[-1]] += int(count)
        for frame in set(frames):
            within[frame] += int(count)
    total = sum(own.values()) or 1
    lines = [f"{'own %':>6} {'all %':>6}  function ({total} samples)"]
    lines += [f"{count / total:6.1%} {within[frame] / total:6.1%}  {frame}" for frame, count in own.most_common(top)]
    return "\n".join(lines)


def sample(way: str, child: Child, seconds: float, out: Path, top: int, *, lines: bool = False) -> str:
    """Sample a running process for so many seconds and return its top functions."""
    if way == "py-spy":
        words = [] if lines else ["--function"]
        command = [
            find_py_spy() or "py-spy",
            "record",
            "--nonblocking",
            *words,
            "--format",
            "raw",
            "-r",
            "200",
            "-o",
            str(out),
        ]
        command += ["-d", str(round(seconds)), "--pid", str(child.pid)]
    else:
        command = [
            "perf",
            "record",
            "-q",
            "-F",
            "999",
            "-g",
            "-o",
            str(out),
            "-p",
            str(child.pid),
            "--",
            "sleep",
            str(seconds),
        ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr}")
    if way == "py-spy":
        return _folded(out, top)
    report = ["perf", "report", "-i", str(out), "--stdio", "--no-children", "-g", "none", "--percent-limit", "0.3"]
    shown = subprocess.run(report, capture_output=True, text=True, timeout=120).stdout
    return "\n".join([line for line in shown.splitlines() if line and not line.startswith("#")][:top])


def _figures(path: Path, top: int) -> None:
    stats = importlib.import_module("pstats").Stats(str(path))
    stats.strip_dirs().sort_stats("tottime").print_stats(top)


def main() -> None:
    """Start the system, load it, print the top functions of the chosen daemon."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("part", choices=("hub", "agent"))
    options.add_argument("--way", choices=WAYS, default=best_way())
    options.add_argument("--load", choices=("requests", "download"), default="requests")
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--seconds", type=float, default=8.0)
    options.add_argument("--top", type=int, default=40)
    options.add_argument("--lines", action="store_true", help="py-spy: tell lines of one function apart")
    options.add_argument("--out", type=Path, help="keep the raw profile in this file")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="profile-") as name:
        folder = Path(name)
        out = (chosen.out or folder / "profile").resolve()
        port = free_port()
        ProfiledOurs.part = chosen.part if chosen.way == "cprofile" else ""
        ProfiledOurs.stats = out
        with start_target(folder / "target", port, nginx=find_nginx()), ProfiledOurs(folder / "ours", port) as system:
            measure.check(system)
            child = system.hub if chosen.part == "hub" else system.agent
            assert child is not None
            loading = threading.Thread(target=_under_load, args=(system, chosen))
            loading.start()
            if chosen.way != "cprofile":
                print(sample(chosen.way, child, max(1.0, chosen.seconds - 1), out, chosen.top, lines=chosen.lines))
            loading.join()
        if chosen.way == "cprofile":
            _figures(out, chosen.top)


if __name__ == "__main__":
    main()
