"""Tables fit, and say the same in every form."""

from __future__ import annotations

import pytest
from tests.tunnelctl.test_columns import session

from tunnelctl import render, text
from tunnelctl.columns import COLUMNS, Column


@pytest.mark.parametrize("limit", [140, 80, 60, 40])
def test_tables_fit_the_terminal(limit):
    rows = [session(), session(agent="agents/" + "long" * 20, state="DRAINING")]
    lines = render.table("session", rows, limit=limit)
    assert all(text.width(line) <= limit for line in lines)
    assert lines[0].startswith("SESSION")
    assert "STATE" in lines[0]
    assert ("…" in lines[2]) is (limit < 130)


def test_without_a_terminal_nothing_is_cut():
    assert "long" * 20 in render.table("session", [session(agent="agents/" + "long" * 20)])[1]


def test_columns_that_say_nothing_are_left_out():
    assert "RTT" not in render.table("session", [session(rtt_seconds=None)])[0]
    assert "RTT" in render.table("session", [])[0]


def test_numbers_stand_to_the_right_and_wide_letters_count_twice():
    columns = [Column("N", lambda row: row["n"], right=True), Column("T", lambda row: row["t"])]
    lines = render.lay_out(columns, [["1", "漢"], ["100", "b"]], None)
    assert lines == ["  N  T", "  1  漢", "100  b"]


def test_colours_only_where_they_are_wanted():
    assert "\x1b[32mACTIVE\x1b[0m" in render.table("session", [session()], color=True)[1]
    assert "\x1b" not in render.table("session", [session()])[1]


def test_escapes_from_elsewhere_are_shown_not_obeyed():
    assert "\x1b" not in render.table("session", [session(agent="agents/\x1b[2J")], color=False)[1]


def test_fields_leave_out_what_is_empty():
    row = {"a": "x", "b": None, "c": 0, "d": False, "e": {"f": [1, 2]}, "g": [{"h": "y"}], "i": []}
    assert render.fields(row) == ["a       x", "d       no", "e.f     1, 2", "g[0].h  y"]


def test_every_kind_has_columns_that_may_stay():
    for columns in COLUMNS.values():
        assert any(column.keep == 0 and not column.wide for column in columns)


def test_fit():
    assert (render.fit("abc", None), render.fit("abcdef", 3)) == ("abcdef"[:3], "ab…")
