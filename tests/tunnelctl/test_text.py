"""Numbers and texts as people read them."""

from __future__ import annotations

import datetime as dt

import pytest

from tunnelctl import text

NOW = dt.datetime(2026, 11, 25, 12, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_234_567, "1.2 MB"), (99_960_000, "100 MB"),
     (999_600, "1.0 MB"), (5e15, "5.0 PB"), (5e18, "5000 PB")],
)  # fmt: skip
def test_size(value, shown):
    assert text.size(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0, "0s"), (0.00025, "250µs"), (0.0018, "1.8ms"), (0.018, "18ms"), (8.24, "8.2s"), (9, "9s"),
     (360, "6m"), (3661, "1h1m"), (273_600, "3d4h"), (86_400, "1d"), (86_460, "1d")],
)  # fmt: skip
def test_duration(value, shown):
    assert text.duration(value) == shown


def test_ages():
    assert text.age("2026-11-25T11:54:00.000Z", NOW) == "6m"
    assert text.age("2026-11-25T12:00:01.000Z", NOW) == "0s"
    assert text.until("2026-11-25T12:00:21.500Z", NOW) == "21s"
    assert text.until("2026-11-25T11:00:00.000Z", NOW) == "now"
    assert (text.age(None), text.until("")) == ("-", "-")


def test_nothing_a_terminal_would_obey():
    assert text.printable("a\x1b[31mb\nc\u202e") == "a\\x1b[31mb\\nc\\u202e"
    assert text.printable("ä 漢") == "ä 漢"


def test_widths_and_cuts():
    assert (text.width("abc"), text.width("漢字"), text.width("e\u0301")) == (3, 4, 1)
    assert (text.cut("abcdef", 4), text.cut("漢字漢字", 5), text.cut("abc", 3)) == ("abc…", "漢字…", "abc")


def test_plural():
    assert (text.plural(1, "stream"), text.plural(0, "stream"), text.plural(2, "x", "y")) == (
        "1 stream",
        "0 streams",
        "2 y",
    )
