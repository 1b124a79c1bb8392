"""One wheel, built once from this tree, and clean environments to install it into."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(command: Sequence[str | Path], **more: Any) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, **more)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


@dataclass
class Environment:
    """A virtual environment that holds the wheel and nothing else."""

    home: Path

    @property
    def site(self) -> Path:
        (found,) = self.home.glob("lib/python*/site-packages")
        return found

    def borrow_dependencies(self) -> None:
        """Let it import what the tests' own environment has. Its own packages still come first."""
        (self.site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def python(self, code: str) -> Any:
        """Run code far from the checkout; return what it printed, as JSON."""
        return json.loads(run([self.home / "bin/python", "-I", "-c", code], cwd=self.home))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT)
    (found,) = folder.glob("*.whl")
    return found


def install(wheel: Path, home: Path) -> Environment:
    run([sys.executable, "-m", "venv", "--without-pip", home])
    pip = [sys.executable, "-m", "pip", "--python", home / "bin/python", "--disable-pip-version-check"]
    run([*pip, "install", "--quiet", "--no-index", "--no-deps", wheel])
    return Environment(home)


@pytest.fixture(scope="session")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel without its dependencies."""
    return install(wheel, tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="session")
def complete(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel with its dependencies."""
    environment = install(wheel, tmp_path_factory.mktemp("complete"))
    environment.borrow_dependencies()
    return environment
