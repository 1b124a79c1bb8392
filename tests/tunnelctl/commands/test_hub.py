"""``tunnelctl hub``."""

from __future__ import annotations


def test_info(ctl):
    row = ctl("hub", "info", "-o", "json").json
    assert (row["name"], row["state"], row["version"]) == ("hubs/h1", "SERVING", "1.2.3")
    assert "addresses        http://127.0.0.1:8882" in ctl("hub", "info").lines
    assert ctl("hub", "list", "-o", "name").lines == ["hubs/h1"]


def test_drain_asks_if_more_than_one_is_hit(ctl, fake):
    assert ctl("hub", "drain").out == "hubs/h1 drains: 0 sessions\n"
    fake.add_session("s1")
    fake.add_session("s2")
    assert "needs --yes" in ctl("hub", "drain", code=2).err
    assert ctl("hub", "drain", "--dry-run").lines == ["sessions/s1", "sessions/s2"]
    done = ctl("hub", "drain", "--yes", "--deadline", "1m", "--exit", "--reason", "new kernel", "-o", "json")
    assert (done.json["state"], done.json["draining_sessions"]) == ("DRAINING", 2)
    request = fake.requests[-1]
    assert (request.deadline.seconds, request.exit, request.reason) == (60, True, "new kernel")


def test_reload(ctl):
    assert ctl("hub", "reload").out == "applied: limits.body\nneeds a restart: listen\n"
    assert ctl("hub", "reload", "-o", "json").json == {"applied": ["limits.body"], "need_restart": ["listen"]}


def test_plugins(ctl):
    lines = ctl("hub", "plugins").lines
    assert lines[1].split() == ["tcp", "tunnelhub", "0.1", "LOADED"]
    assert lines[2].endswith("FAILED: no module named odd")


def test_config_has_no_secret(ctl):
    assert ctl("hub", "config", "-o", "json").json == [
        {"key": "listen", "value": "127.0.0.1:8882", "origin": "default"},
        {"key": "tls.key", "value": "***", "origin": "hubd.toml:3"},
    ]
    assert "ORIGIN" not in ctl("hub", "config").out
    assert ctl("hub", "config", "--origin").lines[2].split() == ["tls.key", '"***"', "hubd.toml:3"]
    assert ctl("hub", "config", "-o", "name").lines == ["listen", "tls.key"]


def test_log_level(ctl, fake):
    done = ctl("hub", "log-level", "DEBUG", "--for", "5m")
    assert done.out == "log level debug, info again at 2026-11-25T12:15:00.000Z\n"
    assert (fake.requests[0].level, fake.requests[0].revert_after.seconds) == ("debug", 300)
