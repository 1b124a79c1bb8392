"""Failures by source."""

from __future__ import annotations

import pytest

from hubd.identity import failures
from hubd.identity.failures import ALLOWED, WINDOW, Failures, source_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_ten_a_minute_and_then_a_wait() -> None:
    clock = Clock()
    counted = Failures(clock)
    assert [counted.note("192.0.2.1") for _ in range(ALLOWED)] == [0] * ALLOWED
    wait = counted.note("192.0.2.1")
    assert 0 < wait <= WINDOW / ALLOWED
    assert counted.blocked("192.0.2.1") == wait and not counted.blocked("192.0.2.2")
    assert counted.note("192.0.2.2") == 0
    clock.now += wait
    assert not counted.blocked("192.0.2.1")
    assert counted.note("192.0.2.1") == 0
    assert counted.note("192.0.2.1") > 0
    clock.now += WINDOW
    assert [counted.note("192.0.2.1") for _ in range(ALLOWED)] == [0] * ALLOWED


@pytest.mark.parametrize(
    ("peer", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("somewhere", "somewhere"),
    ],
)
def test_what_counts_as_one_source(peer: str, source: str) -> None:
    assert source_of(peer) == source


def test_no_more_sources_are_remembered_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "MAX_SOURCES", 3)
    counted = Failures(Clock())
    for number in range(9):
        counted.note(f"192.0.2.{number}")
    assert len(counted) == 3
