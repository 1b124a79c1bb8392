from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agentd import kept
from agentd.kept import Kept, KeptError, kept_path, load, save
from tunnelpb.agent.v1 import config_pb2 as pb

ONE = Kept(3, b"\x01\x02", pb.AgentConfig(log_level="debug", services=[pb.Service(name="w", target="http://h:1")]))


@pytest.mark.parametrize("name", ["flat.json", "deep/er/flat.json"])
def test_round_trip(tmp_path, name):
    path = tmp_path / name
    assert load(path) is None
    save(path, ONE)
    assert load(path) == ONE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    save(path, Kept(4, b"", pb.AgentConfig()))
    assert load(path).version == 4
    assert os.listdir(path.parent) == ["flat.json"]


def test_a_write_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    save(path, ONE)

    def fail(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept.os, "fsync", fail)
    with pytest.raises(KeptError, match="No space left"):
        save(path, Kept(4, b"", pb.AgentConfig()))
    assert load(path) == ONE
    assert os.listdir(tmp_path) == ["x.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 9}', '{"format": 1, "version": 1, "digest": "x", "config": {}}',
             '{"format": 1, "version": 1, "digest": "", "config": {"nothing": 1}}'],
)  # fmt: skip
def test_what_is_no_such_file(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(KeptError, match="remove the file"):
        load(path)


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(KeptError, match="cannot read"):
        load(tmp_path)


def test_where(monkeypatch):
    assert kept_path(Path("/s"), "a", {}) == Path("/s/a.config.json")
    assert kept_path(None, "a", {"STATE_DIRECTORY": "/one:/two"}) == Path("/one/a.config.json")
    monkeypatch.setattr(kept.os, "geteuid", lambda: 0)
    assert kept_path(None, "a", {}) == Path("/var/lib/agentd/a.config.json")
    monkeypatch.setattr(kept.os, "geteuid", lambda: 1000)
    assert kept_path(None, "a", {"XDG_STATE_HOME": "/x"}) == Path("/x/agentd/a.config.json")
    assert kept_path(None, "a", {}) == Path.home() / ".local/state/agentd/a.config.json"
