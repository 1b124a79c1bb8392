"""Run the long tests of tests/soak; arguments go to pytest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> None:
    """Run pytest, or say that there is nothing to run."""
    if not any((ROOT / "tests" / "soak").glob("**/test_*.py")):
        print("soak: there are no tests in tests/soak")
        return
    command = [sys.executable, "-m", "pytest", "tests/soak", "-m", "soak", "--timeout", "0", "-s", *arguments]
    sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main(sys.argv[1:])
