"""Ids in the order of their time."""

from __future__ import annotations

import re

from hubd import ids
from hubd.ids import Ids


def test_short_growing_and_never_the_same():
    made = Ids()
    found = [made.next() for _ in range(20_000)]
    assert len(set(found)) == len(found) and found == sorted(found)
    assert all(re.fullmatch("[0-9a-hjkmnp-tv-z]{12}", one) for one in found)


def test_a_clock_that_is_set_back(monkeypatch):
    made = Ids()
    first = made.next()
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1)
    assert made.next() > first
