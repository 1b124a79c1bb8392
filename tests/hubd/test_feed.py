"""The ring of changes, its tokens, and events."""

from __future__ import annotations

import asyncio

import pytest

from hubd.feed import BadToken, Events, Feed, Position, ResumeExpired


def test_changes_in_order_each_once():
    feed = Feed("things", "h/b", capacity=4)
    assert feed.behind(0, 10) == [] and feed.oldest == 1
    for number in range(1, 5):
        assert feed.publish(f"c{number}") == number
    assert feed.behind(1, 2) == [(2, "c2"), (3, "c3")]
    assert feed.behind(4, 2) == []
    feed.publish("c5")
    feed.publish("c6")
    assert feed.oldest == 3
    assert list(feed.kept()) == [(number, f"c{number}") for number in range(3, 7)]
    assert feed.behind(2, 10) == list(feed.kept())
    for gone in (0, 1, 7):
        with pytest.raises(ResumeExpired):
            feed.behind(gone, 1)


def test_tokens():
    feed = Feed("things", "h/b")
    for position in (Position(7), Position(0, "x|y")):
        token = feed.token(position)
        assert feed.position(token) == position and "=" not in token
    with pytest.raises(ResumeExpired):
        Feed("things", "h/other").position(feed.token(Position(1)))
    with pytest.raises(BadToken, match="things"):
        Feed("others", "h/b").position(feed.token(Position(1)))
    for nonsense in ("x", "é", "YWJj"):
        with pytest.raises(BadToken):
            feed.position(nonsense)


async def test_one_bell_for_everybody():
    feed = Feed("things", "h/b")
    bells = [feed.bell(), feed.bell()]
    assert bells[0] is bells[1]
    feed.publish("x")
    await asyncio.wait(bells)
    assert not feed.bell().done()


def test_events():
    events = Events("h/b")
    events.emit("session", "session.closed", "sessions/x", "over", agent="a", streams=3)
    ((index, event),) = events.feed.kept()
    assert (index, event.actor, event.attributes) == (1, "hub", {"agent": "a", "streams": "3"})
