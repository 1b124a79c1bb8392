"""``tunnelctl stats`` and ``tunnelctl top``."""

from __future__ import annotations

import json
import signal


def test_stats_of_the_hub(ctl, fake):
    fake.add_session("s1")
    (row,) = ctl("stats", "-o", "json").json
    assert (row["name"], row["bytes_in"], row["sessions"]) == ("hubs/h1", 1_500_000, 1)
    assert row["loop_lag_seconds"] == 0.0018
    assert ctl("stats").lines[1].split()[:3] == ["h1", "1.5", "MB"]


def test_stats_of_sessions(ctl, fake):
    fake.add_session("s1")
    assert [row["name"] for row in ctl("stats", "--scope", "session", "-o", "json").json] == ["sessions/s1"]
    assert ctl("stats", "--session", "s1", "-o", "name").lines == ["sessions/s1"]
    assert ctl("stats", "--agent", "berlin", "-o", "name").lines == ["sessions/s1"]


def test_top_once(ctl, fake):
    fake.add_session("s1")
    lines = ctl("top", "--once").lines
    assert lines[0].startswith("hub h1  up ")
    assert "in 8 Mbit/s" in lines[0]
    assert lines[1].split() == ["AGENT", "SESSION", "CARRIER", "STR", "IN/s", "OUT/s", "REQ/s", "ERR%", "RTT"]
    assert lines[2].split() == ["berlin", "s1", "websocket", "12", "3.0", "MB", "0", "B", "100", "1.0", "18ms"]


def test_top_for_programs(ctl, fake):
    fake.add_session("s1")
    with ctl.start("top", "-o", "jsonl") as process:
        found = json.loads(next(iter(process.stdout)))
        assert found["hub"]["name"] == "hubs/h1"
        assert found["sessions"][0]["name"] == "sessions/s1"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_top_has_no_yaml(ctl):
    assert ctl("top", "-o", "yaml", code=2).err == "error: top prints a table or JSON lines, not yaml\n"
