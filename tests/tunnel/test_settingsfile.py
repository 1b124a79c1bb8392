"""Which file a daemon reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunnel import settingsfile


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settingsfile, "ETC", tmp_path)
    return tmp_path


def usual(etc: Path) -> Path:
    file = etc / "hubd" / "hubd.toml"
    file.parent.mkdir()
    file.write_text("")
    return file


def test_no_file_is_fine(etc):
    assert settingsfile.find("hubd", None, {}) is None
    (etc / "hubd").write_text("a file where the folder should be")
    assert settingsfile.find("hubd", None, {}) is None


def test_the_flag_then_the_variable_then_the_usual_place(etc):
    file = usual(etc)
    assert settingsfile.find("hubd", None, {}) == file
    assert settingsfile.find("agentd", None, {}) is None
    assert settingsfile.find("hubd", None, {"HUBD_CONFIG": "/x.toml"}) == Path("/x.toml")
    assert settingsfile.find("hubd", Path("y.toml"), {"HUBD_CONFIG": "/x.toml"}) == Path("y.toml")
    assert settingsfile.find("hubd", None, {"HUBD_CONFIG": ""}) is None


def test_a_file_that_cannot_be_looked_at_is_not_taken_for_none(etc, monkeypatch):
    def refused(self):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "stat", refused)
    assert settingsfile.find("hubd", None, {}) == etc / "hubd" / "hubd.toml"
