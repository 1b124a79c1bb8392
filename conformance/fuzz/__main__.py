"""Fuzz the yamux core for a bounded time: python -m conformance.fuzz [--seconds N] [target …]

Seeds are the exchanges recorded with the reference; what is found new is kept in .build/fuzz for the next run. An input
that breaks a rule is written there too, and given as an argument to --input it is run again. atheris guides the search
by coverage where it is installed (Linux on x86-64); elsewhere the seeds are mutated blindly, and the output says so.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import random
import subprocess
import sys
import time
from pathlib import Path

from conformance.record import VECTORS
from yamux.trace import read_capture

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / ".build" / "fuzz"
TARGETS = ("reader", "core")
SECONDS = 60
MAX_INPUT = 4096


def seeds(folder: Path) -> list[bytes]:
    """Write the recorded exchanges as inputs, each side of each by itself, and return them."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for path in sorted(VECTORS.glob("*.txt")):
        sides: dict[str, bytes] = {}
        with path.open() as lines:
            for _, direction, data in read_capture(lines):
                sides[direction] = sides.get(direction, b"") + data
        for number, data in enumerate(sides.values()):
            # The first byte picks the role and whether frames are folded.
            for first in range(4):
                seed = bytes((first, 3, 11, 12)) + data
                (folder / f"{path.stem}-{number}-{first}").write_bytes(seed)
                found.append(seed)
    return found


def guided(target: str, seconds: int, folder: Path) -> None:
    """Run atheris in this process; it ends the process itself."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["yamux"]):
        for name in [name for name in sys.modules if name == "yamux" or name.startswith("yamux.")]:
            del sys.modules[name]
        module = importlib.import_module(f"conformance.fuzz.{target}")
    flags = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_INPUT}",
        f"-artifact_prefix={BUILD}/{target}-",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    atheris.Setup([target, *flags, str(folder)], module.test_one)
    atheris.Fuzz()


def blind(target: str, seconds: int, inputs: list[bytes]) -> None:
    """Mutate the seeds without looking at coverage."""
    module = importlib.import_module(f"conformance.fuzz.{target}")
    picks = random.Random()
    until = time.monotonic() + seconds
    runs = 0
    while time.monotonic() < until:
        raw = bytearray(picks.choice(inputs) + picks.choice(inputs)[4:])
        for _ in range(picks.randrange(8)):
            raw[picks.randrange(len(raw))] = picks.randrange(256)
        try:
            module.test_one(bytes(raw))
        except BaseException:
            (BUILD / f"{target}-crash").write_bytes(raw)
            raise
        runs += 1
    print(f"fuzz: {target}: {runs} inputs, mutated blindly", flush=True)


def main() -> None:
    """Run the targets one after the other, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each target")
    parser.add_argument("--input", type=Path, help="run this one input")
    parser.add_argument("--engine", choices=["atheris", "blind"], help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", metavar="target", help=", ".join(TARGETS))
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(TARGETS):
        parser.error(f"no target is called {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    targets = arguments.targets or list(TARGETS)
    if arguments.input:
        for target in targets:
            importlib.import_module(f"conformance.fuzz.{target}").test_one(arguments.input.read_bytes())
        return
    if arguments.engine:
        folder = BUILD / targets[0]
        inputs = seeds(folder)
        if arguments.engine == "atheris":
            guided(targets[0], arguments.seconds, folder)
        else:
            blind(targets[0], arguments.seconds, inputs)
        return
    engine = "atheris" if importlib.util.find_spec("atheris") else "blind"
    for target in targets:
        print(f"fuzz: {target}: {arguments.seconds} s, {engine}", flush=True)
        command = [sys.executable, "-m", "conformance.fuzz", "--engine", engine, "--seconds", str(arguments.seconds)]
        done = subprocess.run([*command, target], cwd=ROOT, check=False)
        if done.returncode:
            sys.exit(f"fuzz: {target} failed; the input is in {BUILD.relative_to(ROOT)}, its fault stands above")


if __name__ == "__main__":
    main()
