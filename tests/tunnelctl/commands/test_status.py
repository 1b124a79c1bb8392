"""``tunnelctl status``."""

from __future__ import annotations


def test_one_screen(ctl, fake):
    fake.add_session("s1", agent_version="0.1")
    lines = ctl("status").lines
    assert lines[1].split()[:2] == ["h1", "SERVING"]
    assert "agents     1 online, 0 offline, 0 denied" in lines
    assert "sessions   1 active, 0 draining" in lines
    assert "versions   1x 0.1" in lines
    assert "warning    h1: the disk is nearly full" in lines
    assert len(lines) < 24
    report = ctl("status", "-o", "json").json
    assert (report["agents"], report["warnings"]) == (
        {"online": 1, "offline": 0, "denied": 0}, ["h1: the disk is nearly full"],
    )  # fmt: skip
