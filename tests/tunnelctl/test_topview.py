"""Rates, order and the fitted picture of top."""

from __future__ import annotations

import pytest

from tunnelctl import text, topview
from tunnelpb.hub.v1.stats_pb2 import Stats, StreamStatsResponse


def message(second, *rows, full=False, removed=()):
    answer = StreamStatsResponse(full=full, removed=removed)
    answer.time.FromMilliseconds(second * 1000)
    answer.stats.extend(rows)
    return answer


def test_rates_come_from_what_counters_grew_by():
    rates = topview.Rates()
    rates.take(message(10, Stats(name="a", bytes_in=100, requests=10, errors=1), Stats(name="b"), full=True))
    assert rates.rows()[0]["bytes_in_rate"] == 0
    rates.take(message(12, Stats(name="a", bytes_in=300, requests=30, errors=2)))
    a, b = rates.rows()
    assert (a["bytes_in_rate"], a["request_rate"], a["error_percent"]) == (100.0, 10.0, 5.0)
    assert b["bytes_in_rate"] == 0
    rates.take(message(13, removed=["b"]))
    (a,) = rates.rows()
    assert (a["name"], a["bytes_in_rate"], a["bytes_in"]) == ("a", 0, 300)
    rates.take(message(14, Stats(name="c"), full=True))
    assert [row["name"] for row in rates.rows()] == ["c"]


def test_a_session_that_began_anew_has_no_negative_rate():
    rates = topview.Rates()
    rates.take(message(1, Stats(name="a", bytes_in=100), full=True))
    rates.take(message(2, Stats(name="a", bytes_in=5)))
    assert rates.rows()[0]["bytes_in_rate"] == 0


@pytest.fixture
def picture():
    found = topview.Picture("bytes")
    found.hub = {"name": "hubs/h1", "start_time": None}
    for second in (1, 2):
        rows = [
            Stats(name=f"sessions/s{n}", agent=f"agents/a{n}", bytes_in=second * n * 1000, streams_open=9 - n)
            for n in range(9)
        ]
        found.sessions.take(message(second, *rows, full=second == 1))
        found.totals.take(
            message(second, Stats(name="hubs/h1", sessions=9, sessions_draining=2, bytes_in=second * 125_000))
        )
    return found


def test_the_busiest_come_first(picture):
    assert [row["name"] for row in picture.rows()][:2] == ["sessions/s8", "sessions/s7"]
    picture.sort = "streams"
    assert picture.rows()[0]["name"] == "sessions/s0"


def test_it_fits(picture):
    for width in (120, 60, 40):
        lines = picture.lines(width, 8)
        assert len(lines) <= 8
        assert all(text.width(line) <= width for line in lines)
    assert lines[-1] == "… 5 more sessions"
    assert picture.lines(200, None)[0].startswith("hub h1  up -  sessions 9 (2 draining)  streams 0  in 1 Mbit/s")


def test_bits():
    assert [topview.bits(rate) for rate in (0, 100, 51_500_000, 2e9)] == [
        "0 bit/s",
        "800 bit/s",
        "412 Mbit/s",
        "16 Gbit/s",
    ]
