"""Make .venv from the pinned requirements and put the project into it, unless that is done already.

Runs before anything is installed, so it uses the standard library only.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".installed"
# The editable install maps package names to folders, and pyproject.toml says which; the version lies in its own file.
INPUTS = ("requirements/dev.txt", "pyproject.toml", "src/tunnel/version.py")


def fingerprint() -> str:
    """Return what the environment depends on: the inputs' content and this checkout's place."""
    digest = hashlib.sha256(str(ROOT).encode())
    for name in INPUTS:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def works() -> bool:
    """Tell whether the environment can be used: its interpreter may be gone, or its making may have been broken off."""
    try:
        return (
            subprocess.run([VENV / "bin/python", "-c", "import pip"], check=False, capture_output=True).returncode == 0
        )
    except OSError:
        return False


def pip(*arguments: str) -> None:
    """Run the environment's pip, or end with its exit code."""
    common = ["--quiet", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run([VENV / "bin/python", "-m", "pip", *common, *arguments], cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(f"install: pip failed with code {done.returncode}; what it said stands above")


def main() -> None:
    """Bring .venv up to date."""
    wanted = fingerprint()
    if works():
        if STAMP.exists() and STAMP.read_text() == wanted:
            return
        STAMP.unlink(missing_ok=True)
    else:
        shutil.rmtree(VENV, ignore_errors=True)
        print(f"install: making .venv with Python {sys.version.split()[0]}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    print("install: installing requirements/dev.txt", flush=True)
    pip("install", "--require-hashes", "-r", "requirements/dev.txt")
    pip("install", "--no-deps", "--no-build-isolation", "-e", ".")
    STAMP.write_text(wanted)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("install: interrupted; the next time it goes on")
    except subprocess.CalledProcessError as error:
        sys.exit(f"install: {Path(error.cmd[0]).name} failed with code {error.returncode}; what it said stands above")
