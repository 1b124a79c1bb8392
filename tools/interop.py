"""Run the tests against other implementations, after making sure their programs are here.

Debian packages that are missing are installed when we are root; otherwise the tool says which are needed and ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# They take long or need programs of others, so they are no part of make test.
FOLDERS = ("conformance",)
# Command -> the Debian package that has it.
PROGRAMS = {
    "nginx": "nginx",
    "haproxy": "haproxy",
    "apache2": "apache2",
    "wrk": "wrk",
    "curl": "curl",
    "node": "nodejs",
    "git": "git",
    "systemd-analyze": "systemd",
}

# The same for modules of Node, which Debian keeps in one place.
MODULES = {"/usr/share/nodejs/ws": "node-ws"}


def missing() -> list[str]:
    """Return the packages whose commands or modules are not found; Debian keeps servers out of a user's PATH."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    programs = [package for command, package in PROGRAMS.items() if not shutil.which(command, path=path)]
    return sorted([*programs, *(package for module, package in MODULES.items() if not Path(module).exists())])


def install(packages: list[str]) -> None:
    """Install Debian packages, without questions and without starting their services."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"interop: missing: {', '.join(packages)}; on Debian: apt-get install {' '.join(packages)}")
    print(f"interop: installing {', '.join(packages)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        command = ["apt-get", "-qq", *arguments]
        done = subprocess.run(
            command, env=environment, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f"interop: {' '.join(command)} failed:\n{done.stderr.strip()}")


def main(arguments: list[str]) -> None:
    """Run pytest over the folders that have tests."""
    folders = [folder for folder in FOLDERS if any((ROOT / folder).glob("**/test_*.py"))]
    if not folders:
        print(f"interop: there are no tests in {' or '.join(FOLDERS)}")
        return
    if packages := missing():
        install(packages)
    environment = {**os.environ, "PATH": os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"}
    # Building the Go programs for the first time downloads modules, within the first test's time.
    command = [sys.executable, "-m", "pytest", "--timeout", "600", *folders, *arguments]
    sys.exit(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)


if __name__ == "__main__":
    main(sys.argv[1:])
