"""A hub that is none, and the command line on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.tunnelctl.fakehub import FakeHub

from tunnelctl import cli


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return json.loads(self.err)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Ctl:
    """Runs command lines, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], hub: FakeHub | None) -> None:
        self.capsys = capsys
        self.hub = hub

    def __call__(self, *arguments: str, code: int | None = 0) -> Done:
        where = ["--hub", self.hub.address] if self.hub is not None else []
        return self.bare(*where, *arguments, code=code)

    def bare(self, *arguments: str, code: int | None = 0) -> Done:
        self.capsys.readouterr()
        ended = cli.run(arguments)
        out, err = self.capsys.readouterr()
        assert "Traceback" not in err
        assert code is None or ended == code, (ended, out, err)
        return Done(ended, out, err)

    def start(self, *arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start one as a process, for those that stay."""
        where = ["--hub", self.hub.address] if self.hub is not None else []
        return subprocess.Popen(
            [sys.executable, "-m", "tunnelctl", *where, *arguments],
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and no hub of this machine in sight."""
    for name in [name for name in os.environ if name.startswith("TUNNELCTL_")] + ["NO_COLOR", "XDG_CONFIG_HOME"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr("tunnelctl.locate._SYSTEM", tmp_path / "system")
    return tmp_path


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path short enough for sockets."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def fake(short: Path) -> Iterator[FakeHub]:
    hub = FakeHub(short)
    yield hub
    hub.stop()


@pytest.fixture
def ctl(capsys: pytest.CaptureFixture[str], fake: FakeHub) -> Ctl:
    return Ctl(capsys, fake)


@pytest.fixture
def alone(capsys: pytest.CaptureFixture[str]) -> Ctl:
    """The command line without a hub."""
    return Ctl(capsys, None)
