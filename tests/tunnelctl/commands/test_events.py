"""``tunnelctl events``."""

from __future__ import annotations

import json
import signal


def test_kept_ones(ctl, fake):
    fake.emit("session", "session.attached", "sessions/s1", "berlin attached\x1b]0;x")
    fake.emit("auth", "auth.denied", "agents/x", "bad token")
    rows = ctl("events", "-o", "json").json
    assert [(row["index"], row["type"]) for row in rows] == [(1, "session.attached"), (2, "auth.denied")]
    assert [row["topic"] for row in ctl("events", "--topic", "auth,hub", "-o", "json").json] == ["auth"]
    lines = ctl("events").lines
    assert lines[1].split()[-6:] == ["12:00:01", "session.attached", "s1", "berlin", "attached\\x1b]0;x", "hub"]
    assert "\x1b" not in lines[1]
    assert ctl("events", "--since", "1s", "-o", "json").json == []


def test_follow(ctl, fake):
    fake.emit("hub", "hub.started", "hubs/h1", "started")
    with ctl.start("events", "--follow", "--since", "3650d", "-o", "jsonl") as process:
        read = iter(process.stdout)
        assert json.loads(next(read))["type"] == "hub.started"
        fake.emit("auth", "auth.denied", "agents/x", "bad token")
        assert json.loads(next(read))["type"] == "auth.denied"
        fake.restart(forget=True)
        assert "watch interrupted" in next(iter(process.stderr))
        fake.emit("auth", "auth.denied", "agents/y", "bad token")
        assert json.loads(next(read))["subject"] == "agents/y"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert "events may be missing here" in process.stderr.read()


def test_follow_for_people(ctl, fake):
    fake.emit("hub", "hub.started", "hubs/h1", "started")
    with ctl.start("events", "-f", "--since", "3650d") as process:
        assert next(iter(process.stdout)) == "12:00:01  hub.started         started  (hub)\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
