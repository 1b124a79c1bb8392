"""How rows fill the columns of tables."""

from __future__ import annotations

import datetime as dt

import pytest

from tunnelctl import rows
from tunnelctl.columns import COLUMNS, clock, short
from tunnelpb.hub.v1 import session_pb2


def session(**changed):
    found = rows.session(session_pb2.Session(name="sessions/s1", agent="agents/berlin", hub="hubs/h1", carrier="tls"))
    return found | {"state": "ACTIVE", "rtt_seconds": 0.018} | changed


def cell(kind, title, row):
    return next(column for column in COLUMNS[kind] if column.title == title).cell(row)


def test_names_are_shown_short():
    assert (short("sessions/s1"), short(""), short(None)) == ("s1", "-", "-")


def test_a_draining_session_says_when_it_closes():
    now = dt.datetime.now(dt.UTC)
    row = session(
        state="DRAINING",
        connect_time=(now - dt.timedelta(minutes=6)).isoformat(),
        drain_deadline=(now + dt.timedelta(seconds=90, milliseconds=900)).isoformat(),
    )
    assert cell("session", "AGE", row) == "6m (closes in 1m30s)"
    assert cell("session", "AGE", row | {"drain_deadline": now.isoformat()}) == "6m (closes now)"


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ({"revoke_time": "x", "expire_time": None}, "revoked"),
        ({"revoke_time": None, "expire_time": None}, "never"),
        ({"revoke_time": None, "expire_time": "2020-01-01T00:00:00Z"}, "expired"),
    ],
)
def test_how_long_a_token_is_good(row, shown):
    assert cell("token", "ENDS IN", row) == shown


def test_a_denied_agent_says_why():
    row = {"state": "DENIED", "deny_reason": "", "deny_until": None}
    assert cell("agent", "NOTE", row) == "denied: no reason given"
    assert cell("agent", "NOTE", row | {"state": "ONLINE"}) == "-"


def test_the_clock_says_the_day_if_it_is_not_today():
    now = dt.datetime(2026, 11, 25, 23, tzinfo=dt.UTC)
    assert clock("2026-11-25T12:00:01.250Z", now) == "12:00:01"
    assert clock("2026-11-24T12:00:01.250Z", now) == "2026-11-24 12:00:01"
    assert clock(None) == "-"


def test_flags_and_lists():
    assert cell("route", "STRIP", {"strip_path": True}) == "yes"
    assert cell("plugin", "HOOKS", {"hooks": ["a", "b"]}) == "a, b"
    assert cell("session", "LABELS", session(labels={"a": "1", "b": "2"})) == "a=1,b=2"
