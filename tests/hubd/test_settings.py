"""Where a hub's settings come from when nobody says where."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hubd import settings
from hubd.cli import app
from tunnel import settingsfile
from tunnel.settings import SettingsError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settingsfile, "ETC", tmp_path)
    monkeypatch.delenv("HUBD_CONFIG", raising=False)
    (tmp_path / "hubd").mkdir()
    return tmp_path / "hubd" / "hubd.toml"


def test_the_machines_file_is_read_unless_another_is_named(file, tmp_path, monkeypatch):
    assert settings.read(None).value.domain is None
    file.write_text('domain = "machine.example"\n')
    other = tmp_path / "other.toml"
    other.write_text('domain = "other.example"\n')
    read = settings.read(None)
    assert (read.value.domain, read.origins["domain"]) == ("machine.example", f"{file}:1")
    assert settings.read(other).value.domain == "other.example"
    assert settings.read(None, {"domain": "flag.example"}).value.domain == "flag.example"
    monkeypatch.setenv("HUBD_CONFIG", str(other))
    assert settings.read(None).value.domain == "other.example"
    monkeypatch.setenv("HUBD_CONFIG", "")
    assert settings.read(None).value.domain is None


def test_dev_is_not_what_the_machine_is_set_up_for(file, tmp_path):
    file.write_text("nonsense = 1\n")
    assert settings.read(None, {"dev": True}).value.dev
    with pytest.raises(SettingsError, match="nonsense"):
        settings.read(None)
    with pytest.raises(SettingsError, match="nonsense"):
        settings.read(file, {"dev": True})


def test_every_command_reads_it(file, tmp_path):
    store = tmp_path / "hub.db"
    file.write_text(f'listen = "127.0.0.1:1"\n[store]\npath = "{store}"\n')

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        return done.output

    assert run("config", "check") == f"{file}: good\n"
    shown = run("config", "show", "--origin").splitlines()
    assert shown[0] == f"# {file}"
    assert f'listen = "127.0.0.1:1"  # {file}:1' in shown
    run("token", "create", "--agent", "a")
    assert store.exists()
    done = CliRunner().invoke(app, ["healthcheck"])
    assert (done.exit_code, done.stderr.startswith("hubd: 127.0.0.1:1 does not answer")) == (1, True)


def test_without_a_file_they_say_so(file):
    assert CliRunner().invoke(app, ["config", "check"]).output == "no file, settings: good\n"
    assert CliRunner().invoke(app, ["config", "show", "--origin"]).output.startswith("# no file\n")
