"""``hubd plugins`` and ``agentd plugins``."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from carrier_api import Registry
from carrier_api.registry import PluginRow
from tunnel import inspecting


def run(*arguments: str) -> Result:
    return CliRunner().invoke(inspecting.plugins, list(arguments))


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[PluginRow]:
    found = [PluginRow("tcp", "tunnelhub", "0.1", "loaded", "tcp://")]
    monkeypatch.setattr(Registry, "plugins", lambda self: found)
    return found


def test_list(rows: list[PluginRow]) -> None:
    done = run("list")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "NAME  DISTRIBUTION  VERSION  STATE",
        "tcp   tunnelhub     0.1      loaded: tcp://",
    ]
    assert json.loads(run("list", "-o", "json").stdout) == [
        {"name": "tcp", "distribution": "tunnelhub", "version": "0.1", "state": "loaded", "detail": "tcp://"}
    ]


def test_a_broken_one_is_told_and_ends_with_code_1(rows: list[PluginRow]) -> None:
    rows.append(PluginRow("odd", "", "", "failed", "no module named odd"))
    done = run("list")
    assert done.exit_code == 1
    assert "failed: no module named odd" in done.stdout
