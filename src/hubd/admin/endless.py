"""Watches: streams that have no end of their own. They resume, and the hub ends them when it has to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import TypeVar

from hubd.admin.errors import RESUME_KEY, ApiError, Code, invalid
from hubd.feed import BadToken, Feed, Position, ResumeExpired

# Between bookmarks while nothing changes: a client's token is then never older than this.
IDLE_SECONDS = 15.0
# Watches end after some time so that those of a restarted hub do not stay on one hub for ever; spread, or all would
# come back together.
LIFE_SECONDS = (1800.0, 3600.0)
# Changes taken out of the ring at once. Between two takings a slow client falls behind, and only there.
BATCH = 256

T = TypeVar("T")


class Endings:
    """Ends all endless streams at once. Those that begin afterwards live until the next time."""

    __slots__ = ("_ending",)

    def __init__(self) -> None:
        self._ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def current(self) -> asyncio.Future[None]:
        """Done when streams that begin now are to end."""
        return self._ending

    def end_all(self) -> None:
        """End them."""
        ending, self._ending = self._ending, asyncio.get_running_loop().create_future()
        ending.set_result(None)


def leaving(token: str = "") -> ApiError:
    """The hub ends a stream; with a token it goes on where it was, here or at another hub's."""
    trailing = ((RESUME_KEY, token),) if token else ()
    return ApiError(
        Code.UNAVAILABLE, "HUB_DRAINING", "the hub ends this stream: call again", retry_after=0.5, trailing=trailing
    )


def expired() -> ApiError:
    """The changes behind the client's token are gone."""
    return ApiError(
        Code.OUT_OF_RANGE, "RESUME_TOKEN_EXPIRED", "the changes behind this token are gone: start again without it"
    )


def resume(feed: Feed[T], token: str) -> Position:
    """The place of a client's token.

    Raises:
        ApiError: it is none, or too old.
    """
    try:
        position = feed.position(token)
        if not position.after:
            feed.behind(position.revision, 1)
    except BadToken as exc:
        raise invalid(("resume_token", str(exc))) from None
    except ResumeExpired:
        raise expired() from None
    return position


async def follow(feed: Feed[T], revision: int, ending: asyncio.Future[None]) -> AsyncIterator[list[tuple[int, T]]]:
    """Changes as they come, in batches; an empty batch every 15 s in which nothing came.

    Args:
        feed: to watch.
        revision: of the last change seen.
        ending: from `Endings.current`.

    Raises:
        ApiError: the client was too slow, or the stream is to end.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + random.uniform(*LIFE_SECONDS)
    while True:
        now = loop.time()
        if ending.done() or now >= end:
            raise leaving(feed.token(Position(revision)))
        try:
            batch = feed.behind(revision, BATCH)
        except ResumeExpired:
            raise expired() from None
        if batch:
            revision = batch[-1][0]
            yield batch
            continue
        patience = min(IDLE_SECONDS, end - now)
        done, _ = await asyncio.wait({feed.bell(), ending}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if not done and patience == IDLE_SECONDS:
            yield []
