"""The programs that hold one session of somebody else's yamux; conformance/go/cmd/linepeer says what they do.

go-yamux comes with the other Go programs. rust-yamux and the JavaScript one need cargo and npm and are built on demand.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from conformance import gobuild

HERE = Path(__file__).resolve().parent
BUILD = gobuild.BUILD.parent / "peers"
# A cold cargo build compiles tokio: minutes on a busy machine.
BUILD_TIMEOUT = 600.0


class PeerBuildError(RuntimeError):
    """A peer's program could not be built; the text says why."""


def _run(command: list[str], folder: Path, **environment: str) -> None:
    if not shutil.which(command[0]):
        raise PeerBuildError(f"{command[0]} is not on PATH: install it, or leave this peer out of YAMUX_PEERS")
    env = os.environ | environment
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT
    )
    if done.returncode:
        raise PeerBuildError(f"{' '.join(command)} failed in {folder}:\n{done.stdout}{done.stderr}")


def _go() -> list[str]:
    return [str(gobuild.programs()["linepeer"])]


def _rust() -> list[str]:
    _run(["cargo", "build", "--release", "--locked", "--quiet"], HERE / "rust", CARGO_TARGET_DIR=str(BUILD / "rust"))
    return [str(BUILD / "rust" / "release" / "linepeer")]


def _js() -> list[str]:
    folder = BUILD / "js"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (HERE / "js").iterdir():
        shutil.copy(path, folder)
    _run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], folder)
    return ["node", str(folder / "linepeer.mjs")]


BUILDERS = {"go": _go, "rust": _rust, "js": _js}


def wanted() -> list[str]:
    """Return the peers to run: go, or what YAMUX_PEERS names (``go,rust,js``). Raises PeerBuildError for another."""
    names = os.environ.get("YAMUX_PEERS", "go").split(",")
    if unknown := set(names) - set(BUILDERS):
        raise PeerBuildError(f"YAMUX_PEERS names {', '.join(sorted(unknown))}; there are {', '.join(BUILDERS)}")
    return names


@functools.cache
def command(name: str) -> list[str]:
    """Build a peer, once, and return how it is started. Raises PeerBuildError, GoBuildError."""
    return BUILDERS[name]()
