"""``tunnelctl sessions``."""

from __future__ import annotations

import json
import signal

import pytest

from tunnelpb.hub.v1.session_pb2 import Session


def test_list_as_json_is_an_array_of_rows(ctl, fake):
    fake.add_session("s1", labels={"zone": "b", "area": "a"}, open_streams=3)
    (row,) = ctl("sessions", "list", "-o", "json").json
    assert (row["name"], row["agent"], row["state"], row["carrier"]) == (
        "sessions/s1", "agents/berlin", "ACTIVE", "websocket",
    )  # fmt: skip
    assert (row["open_streams"], row["rtt_seconds"], row["bytes_in"]) == (3, 0.018, 2000)
    assert row["labels"] == {"area": "a", "zone": "b"}
    assert (row["connect_time"], row["drain_deadline"]) == ("2026-11-25T12:00:00.000Z", None)


def test_list_in_every_form(ctl, fake):
    fake.add_session("s1")
    fake.add_session("s2", agent="paris", state=Session.STATE_DRAINING)
    done = ctl("sessions", "list")
    assert done.lines[0].split()[:4] == ["SESSION", "AGENT", "HUB", "STATE"]
    assert done.lines[1].split()[:5] == ["s1", "berlin", "h1", "ACTIVE", "websocket"]
    assert done.err == "2 sessions\n"
    assert "LABELS" not in done.lines[0]
    assert "VERSION" in ctl("sessions", "list", "-o", "wide").lines[0]
    assert ctl("sessions", "list", "-o", "name").out == "sessions/s1\nsessions/s2\n"
    assert [json.loads(line)["name"] for line in ctl("sessions", "list", "-o", "jsonl").lines] == [
        "sessions/s1", "sessions/s2",
    ]  # fmt: skip
    assert ctl("sessions", "list", "-o", "yaml").out.startswith("- name: sessions/s1\n  agent: agents/berlin\n")
    assert ctl("-q", "sessions", "list").err == ""
    assert "hub unix://" in ctl("-v", "sessions", "list").err


def test_list_says_what_is_missing(ctl, fake):
    fake.add_session("s1")
    fake.unreachable = ["hubs/h2"]
    assert ctl("sessions", "list", code=7).err == "1 session; hub h2 did not answer\n"
    assert ctl("sessions", "list", "-o", "json", code=7).err == "1 session; hub h2 did not answer\n"


def test_list_filters(ctl, fake):
    fake.add_session("s1", labels={"region": "eu"})
    fake.add_session("s2", agent="paris")
    fake.add_session("s3", agent="paris", state=Session.STATE_CLOSED)
    assert ctl("sessions", "list", "-o", "name", "--agent", "paris").lines == ["sessions/s2"]
    assert ctl("sessions", "list", "-o", "name", "--label", "region=eu").lines == ["sessions/s1"]
    assert ctl("sessions", "list", "-o", "name", "--all").lines == ["sessions/s1", "sessions/s2", "sessions/s3"]


def test_get_shows_what_there_is(ctl, fake):
    fake.add_session("s1", peer_address="10.0.0.1:5\x1b[31m")
    done = ctl("sessions", "get", "s1")
    assert "state           ACTIVE" in done.lines
    assert "\x1b" not in done.out
    assert "close_reason" not in done.out


def test_evict(ctl, fake):
    fake.add_session("s1", open_streams=2)
    assert ctl("sessions", "evict", "s1", "--reason", "tidy", "--deny-for", "10m").out == (
        "evicted sessions/s1: 2 streams reset\n"
    )
    (request,) = fake.requests
    assert (request.reason, request.deny_for.seconds) == ("tidy", 600)
    assert len(request.request_id) == 16
    assert ctl("sessions", "evict", "sessions/s1", "-o", "json").json == [
        {"name": "sessions/s1", "state": "CLOSED", "reset_streams": 0}
    ]


def test_evicting_several_asks(ctl, fake):
    for ident in ("s1", "s2"):
        fake.add_session(ident)
    done = ctl("sessions", "evict", "--agent", "berlin", code=2)
    assert done.err.splitlines() == ["error: to evict 2 sessions needs --yes", "hint: --dry-run shows which"]
    done = ctl("sessions", "evict", "--agent", "berlin", "--dry-run")
    assert done.lines == ["sessions/s1", "sessions/s2"]
    assert fake.requests == []
    assert len(ctl("sessions", "evict", "--agent", "berlin", "--yes").lines) == 2
    assert ctl("sessions", "evict", "--agent", "berlin", code=3).err == "error: no session is so\n"


def test_what_fails_in_part_is_told_and_the_rest_is_done(ctl, fake):
    fake.add_session("s1", state=Session.STATE_CLOSED)
    fake.add_session("s2")
    done = ctl("sessions", "drain", "s1", "s2", "--yes", "--no-wait", code=7)
    assert done.err == "error: sessions/s1 is closed (SESSION_CLOSED)\n"
    assert done.out == "draining sessions/s2: 0 streams open\n"
    assert ctl("sessions", "drain", "s1", "--no-wait", code=6).err.startswith("error: sessions/s1 is closed")


def test_drain_waits_until_it_is_over(ctl, fake):
    fake.add_session("s1", open_streams=3)
    done = ctl("sessions", "drain", "sessions/s1", "--wait", "--deadline", "30s")
    assert done.out.startswith("sessions/s1 closed after ")
    assert done.out.endswith(", replaced by next (drained)\n")
    assert done.err == "draining s1: 3 streams\n"
    assert fake.requests[0].deadline.seconds == 30


def test_who_stops_waiting_is_told_that_the_drain_goes_on(ctl, fake):
    fake.drains_end = False
    fake.add_session("s1", open_streams=3)
    with ctl.start("sessions", "drain", "s1", "--wait") as process:
        read = iter(process.stderr)
        assert next(read) == "draining s1: 3 streams\n"
        process.send_signal(signal.SIGINT)
        assert next(read).startswith("the drain goes on without you")
        assert process.wait(30) == 130


def test_drain_as_json_brings_the_last_state(ctl, fake):
    fake.add_session("s1", open_streams=1)
    (row,) = ctl("sessions", "drain", "s1", "-o", "json").json
    assert (row["state"], row["close_reason"], row["replaced_by"]) == ("CLOSED", "drained", "sessions/next")
    assert row["seconds"] >= 0


def test_force_is_a_deadline_of_nothing(ctl, fake):
    fake.add_session("s1")
    ctl("sessions", "drain", "s1", "--force", "--no-wait")
    assert fake.requests[0].HasField("deadline")
    assert fake.requests[0].deadline.seconds == 0
    fake.add_session("s2")
    ctl("sessions", "drain", "s2", "--no-wait")
    assert not fake.requests[1].HasField("deadline")


def test_undrain(ctl, fake):
    fake.add_session("s1", state=Session.STATE_DRAINING)
    assert ctl("sessions", "undrain", "s1").out == "sessions/s1 is ACTIVE\n"


@pytest.mark.parametrize("line", [("sessions", "watch", "-o", "jsonl"), ("sessions", "list", "--watch")])
def test_watch_prints_a_line_a_change_until_interrupted(ctl, fake, line):
    fake.add_session("s1")
    with ctl.start(*line) as process:
        read = iter(process.stdout)
        assert json.loads(next(read))["session"]["name"] == "sessions/s1"
        assert json.loads(next(read)) == {"change": "synced", "session": None}
        fake.add_session("s2")
        change = json.loads(next(read))
        assert (change["change"], change["session"]["name"]) == ("upsert", "sessions/s2")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == ""


def test_watch_for_people(ctl, fake):
    fake.add_session("s1")
    with ctl.start("sessions", "watch") as process:
        read = iter(process.stdout)
        heading, first = next(read), next(read)
        assert heading.split() == ["CHANGE", "SESSION", "STATE", "CARRIER", "AGENT"]
        assert first.split() == ["upsert", "s1", "ACTIVE", "websocket", "berlin"]
        assert heading.index("AGENT") == first.index("berlin")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_a_watch_says_that_it_lost_the_hub_and_goes_on(ctl, fake):
    with ctl.start("sessions", "watch", "-o", "jsonl") as process:
        read = iter(process.stdout)
        assert json.loads(next(read))["change"] == "synced"
        fake.restart(forget=True)
        assert json.loads(next(read))["change"] == "reset"
        assert "watch interrupted" in next(iter(process.stderr))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
