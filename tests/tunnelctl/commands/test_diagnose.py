"""``tunnelctl diagnose``."""

from __future__ import annotations

import json
import stat
import tarfile


def contents(file):
    with tarfile.open(file) as bundle:
        return {name.removeprefix("diagnose/"): json.load(bundle.extractfile(name)) for name in bundle.getnames()}


def test_a_bundle(ctl, fake, home):
    fake.add_session("s1")
    fake.add_session("s2", agent="paris")
    file = home / "bundle.tar"
    done = ctl("diagnose", "-o", str(file))
    assert done.out == ""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = contents(file)
    assert {"client.json", "hub.json", "settings.json", "sessions.json", "events.json"} <= found.keys()
    assert [row["name"] for row in found["sessions.json"]] == ["sessions/s1", "sessions/s2"]
    assert ctl("diagnose", "-o", str(file), code=1).err == f"error: -o {file}: File exists\n"


def test_of_one_agent_and_with_what_failed(ctl, fake, home, monkeypatch):
    fake.add_session("s1")
    fake.add_session("s2", agent="paris")
    file = home / "bundle.tar"
    fake.forbidden = {"GetEffectiveConfig"}
    done = ctl("diagnose", "--out", str(file), "--agent", "paris", code=7)
    found = contents(file)
    assert [row["name"] for row in found["sessions.json"]] == ["sessions/s2"]
    assert found["errors.json"] == {"settings.json": "this needs admin (ROLE_REQUIRED)"}
    assert "missing settings.json" in done.err


def test_nobody_there_is_an_error_and_no_bundle(alone, home):
    alone("--hub", "unix:///nowhere", "diagnose", "-o", str(home / "b.tar"), code=5)
    assert not (home / "b.tar").exists()
