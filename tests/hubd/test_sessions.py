"""Pools: who is in service, who drains, and what is remembered."""

from __future__ import annotations

import pytest

from hubd import sessions
from hubd.reasons import AGENT_DRAINING, AGENT_OFFLINE, AGENT_UNKNOWN
from hubd.sessions import AgentPools, AgentSession, Pool


class FakeSession:
    def __init__(self) -> None:
        self.can_open = True
        self.num_streams = 0
        self.is_closed = False
        self.said = 0

    def go_away(self, code: int = 0) -> None:
        self.said += 1


def entry(agent_id: str = "a", instance: str | None = None) -> AgentSession:
    return AgentSession(agent_id, FakeSession(), instance=instance)


class Waiting:
    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.asked = 0

    def retry(self) -> bool:
        self.asked += 1
        return self.answers.pop(0)


def test_unknown_offline_draining():
    pools = AgentPools()
    assert pools.absent("a") is AGENT_UNKNOWN and pools.get("a") is None
    one = entry()
    pools.add(one)
    assert pools.get("a").entries == [one]
    pools.drain(one)
    assert pools.get("a") is None and pools.absent("a") is AGENT_DRAINING and one.session.said == 1
    pools.remove(one)
    assert pools.absent("a") is AGENT_OFFLINE and pools.sessions() == []
    pools.remove(one)


def test_remembered_ids_are_bounded(monkeypatch):
    monkeypatch.setattr(sessions, "MAX_REMEMBERED", 2)
    pools = AgentPools()
    for name in "abc":
        one = entry(name)
        pools.add(one)
        pools.remove(one)
    assert [pools.absent(name) for name in "abc"] == [AGENT_UNKNOWN, AGENT_OFFLINE, AGENT_OFFLINE]


def test_e10_same_instance_replaces():
    pools = AgentPools()
    old, new, other = entry(instance="i"), entry(instance="i"), entry(instance="j")
    assert pools.add(old) is None
    assert pools.add(other) is None
    assert pools.add(new) is old
    assert pools.get("a").entries == [other, new]
    assert old.draining and old in pools.draining and len(pools) == 2


def test_e10_without_instance_nothing_is_replaced():
    pools = AgentPools()
    assert pools.add(entry()) is None
    assert pools.add(entry()) is None
    assert len(pools) == 2


def test_e18_an_agent_that_leaves_is_told_nothing():
    pools = AgentPools()
    one = entry()
    pools.add(one)
    pools.retire(one)
    assert one.draining and one.session.said == 0 and one in pools.draining
    gone = entry("b")
    pools.add(gone)
    gone.session.is_closed = True
    pools.retire(gone)
    assert gone not in pools.draining


def test_draining_twice_says_go_away_once():
    one = entry()
    one.drain()
    one.drain()
    assert one.session.said == 1


def test_waiting_in_order():
    pool = Pool("a")
    first, second, third = Waiting(True), Waiting(False, True), Waiting(True)
    for waiter in (first, second, third):
        assert pool.wait(waiter)
    pool.wake()
    assert list(pool.waiters) == [second, third] and third.asked == 0
    pool.forget(third)
    pool.forget(third)
    pool.wake()
    assert not pool.waiters


def test_d8_waiting_is_bounded(monkeypatch):
    monkeypatch.setattr(sessions, "MAX_WAITING", 1)
    pool = Pool("a")
    assert pool.wait(Waiting())
    assert not pool.wait(Waiting())


@pytest.mark.parametrize("new", [True, False])
def test_waiting_requests_hear_of_changes(new):
    pools = AgentPools()
    one = entry()
    pools.add(one)
    waiter = Waiting(True)
    pools.get("a").wait(waiter)
    if new:
        pools.add(entry())
    else:
        pools.remove(one)
    assert waiter.asked == 1


def test_a_full_session_cannot_open():
    one = entry()
    assert one.can_open
    one.active = sessions.MAX_STREAMS
    assert not one.can_open


def test_the_control_stream_is_no_stream_in_use():
    one = entry()
    one.session.num_streams = 3
    assert one.open_streams == 3
    one.controlled = True
    assert one.open_streams == 2
    one.session.num_streams = 0
    assert one.open_streams == 0, "the session may end before its control stream is seen to"
