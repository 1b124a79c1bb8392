"""``tunnelctl agents``."""

from __future__ import annotations

import json
import signal

import pytest

from tunnelpb.hub.v1.agent_pb2 import Agent


@pytest.fixture(autouse=True)
def agents(fake):
    fake.add_session("s1")
    fake.add_session("s2", agent="paris-02")


def test_list(ctl):
    rows = ctl("agents", "list", "-o", "json").json
    assert [(row["name"], row["state"], row["sessions"]) for row in rows] == [
        ("agents/berlin", "ONLINE", 1), ("agents/paris-02", "ONLINE", 1),
    ]  # fmt: skip
    done = ctl("agents", "list")
    assert done.lines[1].split()[:3] == ["berlin", "ONLINE", "1"]
    assert done.err == "2 agents\n"


def test_get(ctl):
    assert ctl("agents", "get", "berlin", "-o", "json").json["limits"]["streams"] == 0
    done = ctl("agents", "get", "pris-02", code=3)
    assert done.err.splitlines() == ["error: agent pris-02 not found (AGENT_NOT_FOUND)", "hint: did you mean paris-02?"]
    # A prefix is not enough: what is meant may be gone, and another one be hit.
    assert ctl("agents", "delete", "paris", code=3).out == ""


def test_deny_and_allow(ctl, fake):
    done = ctl("agents", "deny", "berlin", "--reason", "lost laptop", "--for", "1h")
    assert done.out == "denied agents/berlin: 1 session evicted\n"
    assert (fake.requests[0].reason, fake.requests[0].duration.seconds) == ("lost laptop", 3600)
    assert "denied: lost laptop" in ctl("agents", "list").out
    assert ctl("agents", "allow", "berlin").out == "allowed agents/berlin\n"
    assert fake.agents["berlin"].state == Agent.STATE_OFFLINE


def test_delete(ctl, fake):
    assert "needs --yes" in ctl("agents", "delete", "berlin", "paris-02", code=2).err
    assert ctl("agents", "delete", "berlin", "paris-02", "--dry-run").lines == ["agents/berlin", "agents/paris-02"]
    (row,) = ctl("agents", "delete", "berlin", "-o", "json").json
    assert (row["name"], row["state"], row["evicted_sessions"]) == ("agents/berlin", "DELETED", 1)
    assert "berlin" not in fake.agents


def test_limits(ctl, fake):
    row = ctl("agents", "limits", "berlin", "--streams", "5", "--request-rate", "2.5", "-o", "json").json
    assert (row["streams"], row["request_rate"]) == (5, 2.5)
    assert list(fake.requests[0].update_mask.paths) == ["limits.request_rate", "limits.streams"]
    assert "streams" in ctl("agents", "limits", "berlin").out
    assert len(fake.requests) == 1


def test_list_watch(ctl, fake):
    with ctl.start("agents", "list", "--watch", "-o", "jsonl") as process:
        read = iter(process.stdout)
        assert [json.loads(next(read))["agent"]["name"] for _ in range(2)] == ["agents/berlin", "agents/paris-02"]
        fake.agents["berlin"].state = Agent.STATE_OFFLINE
        change = json.loads(next(read))
        assert (change["change"], change["agent"]["state"]) == ("upsert", "OFFLINE")
        del fake.agents["berlin"]
        assert json.loads(next(read))["change"] == "removed"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
