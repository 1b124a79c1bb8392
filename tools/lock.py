"""Compile requirements/*.txt: exact versions with hashes, for every platform and Python we support.

Uses uv from a throw-away environment, itself pinned in requirements/lock.txt. Versions already locked are kept unless
they no longer fit; ``tools/lock.py --upgrade`` takes the newest.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = (
    "--quiet",
    "--universal",
    "--python-version",
    "3.11",
    "--generate-hashes",
    "--custom-compile-command",
    "make lock",
)
# Runtime first: the development set is bound to the same versions.
SOURCES = {
    "lock": ["requirements/lock.in"],
    "go": ["requirements/go.in"],
    "runtime": ["pyproject.toml"],
    "dev": ["pyproject.toml", "--group", "dev", "--constraints", "requirements/runtime.txt"],
}


def main(arguments: list[str]) -> None:
    """Compile all files."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "-r", "requirements/lock.txt"], cwd=ROOT, check=True)
        for name, sources in SOURCES.items():
            target = ["--output-file", f"requirements/{name}.txt"]
            subprocess.run(
                [f"{folder}/bin/uv", "pip", "compile", *OPTIONS, *arguments, *sources, *target], cwd=ROOT, check=True
            )


if __name__ == "__main__":
    main(sys.argv[1:])
