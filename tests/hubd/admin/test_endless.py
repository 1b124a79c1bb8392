"""What watches have in common."""

from __future__ import annotations

import asyncio

import pytest

from hubd.admin import endless
from hubd.admin.endless import Endings, follow, resume
from hubd.admin.errors import RESUME_KEY, ApiError, Code
from hubd.feed import Feed, Position


async def taken(changes) -> list:
    return [number for number, _ in await anext(changes)]


async def test_changes_come_in_batches_and_nothing_is_kept_for_a_slow_reader(monkeypatch):
    monkeypatch.setattr(endless, "BATCH", 3)
    feed, endings = Feed("f", "h/b", capacity=10), Endings()
    changes = follow(feed, 0, endings.current())
    for number in range(5):
        feed.publish(number)
    assert await taken(changes) == [1, 2, 3]
    assert await taken(changes) == [4, 5]
    waiting = asyncio.ensure_future(taken(changes))
    await asyncio.sleep(0)
    feed.publish(5)
    assert await waiting == [6]
    for number in range(11):
        feed.publish(number)
    with pytest.raises(ApiError) as caught:
        await anext(changes)
    assert (caught.value.code, caught.value.reason) == (Code.OUT_OF_RANGE, "RESUME_TOKEN_EXPIRED")


async def test_while_nothing_comes_there_are_empty_batches(monkeypatch):
    monkeypatch.setattr(endless, "IDLE_SECONDS", 0.001)
    changes = follow(Feed("f", "h/b"), 0, Endings().current())
    assert await anext(changes) == [] and await anext(changes) == []


@pytest.mark.parametrize("how", ["asked", "old"])
async def test_an_end_tells_where_to_go_on(monkeypatch, how):
    feed, endings = Feed("f", "h/b"), Endings()
    feed.publish("x")
    if how == "old":
        monkeypatch.setattr(endless, "LIFE_SECONDS", (0.05, 0.05))
    changes = follow(feed, 0, endings.current())
    await anext(changes)
    if how == "asked":
        endings.end_all()
        feed.publish("y")  # at once, even if there is more
    with pytest.raises(ApiError) as caught:
        await anext(changes)
    assert (caught.value.code, caught.value.trailing) == (Code.UNAVAILABLE, ((RESUME_KEY, feed.token(Position(1))),))
    assert not endings.current().done(), "streams that begin now live on"


def test_bad_tokens():
    feed = Feed("f", "h/b", capacity=2)
    for number in range(4):
        feed.publish(number)
    assert resume(feed, feed.token(Position(2))) == Position(2)
    assert resume(feed, feed.token(Position(0, "row"))).after == "row"
    for token in (feed.token(Position(1)), feed.token(Position(9)), Feed("f", "h/c").token(Position(3))):
        with pytest.raises(ApiError, match="start again"):
            resume(feed, token)
    with pytest.raises(ApiError, match="resume_token"):
        resume(feed, "nonsense")
