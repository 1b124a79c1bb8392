"""All static checks, one after the other; every one runs, and the exit code says whether all passed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHECKS: dict[str, list[str]] = {
    "style": [str(BIN / "ruff"), "check", "--quiet", "."],
    "layout": [str(BIN / "ruff"), "format", "--check", "--quiet", "."],
    "types": [str(BIN / "mypy")],
    "imports": [str(BIN / "lint-imports"), "--no-logo"],
    "API": [str(BIN / "buf"), "lint", "proto"],
    "API changes": [sys.executable, "-m", "tools.breaking"],
    "generated code": [sys.executable, "-m", "tools.gen", "--check"],
    "API pages": [sys.executable, "-m", "tools.apidocs", "--check"],
    "house rules": [sys.executable, "-m", "tools.house"],
}


def main() -> None:
    """Run the checks; show the output of those that fail."""
    failed = []
    for name, command in CHECKS.items():
        start = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
        print(
            f"lint: {name:<15} {'ok' if done.returncode == 0 else 'FAILED'} ({time.monotonic() - start:.1f} s)",
            flush=True,
        )
        if done.returncode:
            failed.append(name)
            print(done.stdout + done.stderr, flush=True)
    if failed:
        sys.exit(f"lint: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
