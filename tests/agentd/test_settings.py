"""Where an agent's settings come from when nobody says where."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentd import settings
from agentd.cli import app
from tunnel import settingsfile


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settingsfile, "ETC", tmp_path)
    monkeypatch.delenv("AGENTD_CONFIG", raising=False)
    (tmp_path / "agentd").mkdir()
    found = tmp_path / "agentd" / "agentd.toml"
    found.write_text('hub = "ws://127.0.0.1:1"\nid = "machine"\n')
    return found


def test_the_machines_file_is_read_unless_another_is_named(file, tmp_path, monkeypatch):
    other = tmp_path / "other.toml"
    other.write_text('hub = "ws://127.0.0.1:1"\nid = "other"\n')
    read = settings.read(None)
    assert (read.value.id, read.origins["id"]) == ("machine", f"{file}:2")
    assert settings.read(other).value.id == "other"
    assert settings.read(None, {"id": "flag"}).value.id == "flag"
    monkeypatch.setenv("AGENTD_CONFIG", str(other))
    assert settings.read(None).value.id == "other"


def test_every_command_reads_it(file):
    assert CliRunner().invoke(app, ["config", "check"]).output == f"{file}: good\n"
    shown = CliRunner().invoke(app, ["config", "show", "--origin"]).output.splitlines()
    assert shown[0] == f"# {file}"
    assert f'id = "machine"  # {file}:2' in shown
