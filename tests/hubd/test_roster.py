"""Sessions as the API sees them."""

from __future__ import annotations

import time

from hubd import roster as module
from hubd.feed import Events
from hubd.roster import Roster
from hubd.sessions import AgentPools, AgentSession


class FakeCore:
    bytes_in = 5
    streams_opened = 2


class FakeSession:
    bytes_out = 7
    num_streams = 0
    is_closed = False
    can_open = True

    def __init__(self) -> None:
        self.core = FakeCore()

    def go_away(self, code: int = 0) -> None:
        pass


def entry(name: str, agent: str = "a", instance: str | None = None) -> AgentSession:
    return AgentSession(agent, FakeSession(), id=name, carrier="tcp", labels=("k=v",), epoch=3, instance=instance)


def make() -> tuple[Roster, AgentPools]:
    roster = Roster("h/b", Events("h/b"))
    return roster, AgentPools(roster.changed)


def test_the_life_of_a_row():
    roster, pools = make()
    one = entry("01")
    roster.add(one)
    pools.add(one)
    pools.drain(one)
    roster.end(one, "the carrier ended")
    roster.end(one, "again")
    changes = [change for _, change in roster.feed.kept()]
    assert [change.after.state for change in changes] == ["active", "draining", "closed"]
    assert [change.before for change in changes] == [None, changes[0].after, changes[1].after]
    last = changes[-1].after
    assert (last.close_reason, last.labels, last.epoch, last.revision) == ("the carrier ended", {"k": "v"}, 3, 3)
    assert last.closed is not None and last.drain_deadline is None
    assert not roster.live and roster.row("01") is last
    roster.changed(one)
    assert roster.feed.revision == 3, "what is over does not change"


def test_what_ended_is_remembered_for_ten_minutes():
    roster, _ = make()
    one = entry("01")
    roster.add(one)
    roster.end(one, "over")
    roster.forget_closed(time.time() + 599)
    assert roster.row("01") is not None
    roster.forget_closed(time.time() + 601)
    assert roster.row("01") is None and list(roster.rows()) == []
    *_, (_, change) = roster.feed.kept()
    assert change.before.id == "01" and change.after is None


def test_d9_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "MAX_CLOSED", 2)
    monkeypatch.setattr(module, "MAX_TOTALS", 2)
    roster, _ = make()
    for number in range(4):
        one = entry(f"0{number}", agent=f"a{number}")
        roster.add(one)
        roster.end(one, "over")
    assert [row.id for row in roster.rows()] == ["02", "03"]
    assert roster.totals("a0").bytes_in == 0 and roster.totals("a3").bytes_in == 5


def test_counters_of_what_ended_are_kept():
    roster, _ = make()
    for number in range(2):
        one = entry(f"0{number}")
        one.requests, one.errors = 3, 1
        roster.add(one)
        roster.end(one, "over")
    totals = roster.totals("a")
    assert (totals.bytes_in, totals.bytes_out, totals.streams_opened, totals.requests, totals.errors) == (
        10,
        14,
        4,
        6,
        2,
    )
    assert roster.past == totals
    totals.plus(roster.past)
    assert totals.requests == 12
    roster.forget_totals("a")
    assert roster.totals("a").requests == 0


def test_finding_by_prefix():
    roster, _ = make()
    for name in ("01a", "01b", "01ab"):
        roster.add(entry(name))
    assert roster.find("01a") == ["01a"], "a whole id means itself"
    assert roster.find("01") == ["01a", "01b", "01ab"]
    assert roster.find("x") == []
    assert [row.id for row in roster.rows("01a")] == ["01b", "01ab"]


def test_last_seen_moves_with_bytes():
    roster, _ = make()
    one = entry("01")
    roster.add(one)
    before = one.last_seen()
    roster.look()
    assert one.last_seen() == before
    one.session.core.bytes_in = 6
    roster.look()
    assert one.last_seen() > before


def test_whoever_asked_hears_of_the_end():
    roster, _ = make()
    told = []
    roster.on_end.append(told.append)
    one = entry("01")
    roster.add(one)
    roster.end(one, "over")
    assert told == [one]
