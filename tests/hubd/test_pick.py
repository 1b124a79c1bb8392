"""Policies over pools of stand-in sessions."""

from __future__ import annotations

from collections import Counter

import pytest

from hubd.pick import POLICIES, least_streams, random_choice, round_robin
from hubd.sessions import AgentSession, Pool


class Open:
    can_open = True


class Closed:
    can_open = False


def pool(*sessions: tuple[int, type]) -> Pool:
    made = Pool("a")
    for active, kind in sessions:
        entry = AgentSession("a", kind())
        entry.active = active
        made.entries.append(entry)
    return made


@pytest.mark.parametrize("policy", POLICIES.values())
def test_sessions_that_cannot_open_are_skipped(policy):
    some = pool((0, Closed), (5, Open), (0, Closed))
    for _ in range(5):
        assert policy(some) is some.entries[1]
    assert policy(pool((0, Closed))) is None
    assert policy(pool((0, Closed), (0, Closed))) is None


@pytest.mark.parametrize("policy", POLICIES.values())
def test_a_full_session_is_skipped(policy):
    some = pool((1000, Open), (999, Open))
    assert policy(some) is some.entries[1]


def test_least_streams():
    some = pool((3, Open), (1, Open), (1, Open), (0, Closed))
    assert least_streams(some) is some.entries[1]
    assert least_streams(pool((7, Open))) is not None


def test_round_robin_takes_turns():
    some = pool((0, Open), (9, Open), (0, Closed), (0, Open))
    turns = [some.entries.index(round_robin(some)) for _ in range(6)]
    assert turns == [0, 1, 3, 0, 1, 3]
    del some.entries[1:]
    assert round_robin(some) is some.entries[0]


def test_random_reaches_all():
    some = pool((0, Open), (0, Open), (0, Closed), (0, Open))
    seen = Counter(some.entries.index(random_choice(some)) for _ in range(300))
    assert set(seen) == {0, 1, 3}
