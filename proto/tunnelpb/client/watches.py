"""Watches that go on by themselves: connections break and hubs restart, and the consumer sees one stream of changes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import grpc

from tunnelpb.client.errors import HubError

Row = TypeVar("Row")

# Half a second after a hub's restart is soon enough for eyes, and 15 s keeps thousands of watchers from wearing it down.
_FIRST_WAIT = 0.2
_LONGEST_WAIT = 15.0
_EXPIRED = "RESUME_TOKEN_EXPIRED"
# What a hub that goes, a proxy between, or a cut connection ends a stream with.
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED)


@dataclass(frozen=True, slots=True)
class Change(Generic[Row]):
    """One step of a watch.

    Attributes:
        kind: ``upsert`` and ``removed`` bring a row. ``synced`` says the snapshot is complete. ``reset`` says that
            changes were missed: forget all rows, a new snapshot follows. ``bookmark`` only moves the resume token.
        row: the row, for ``upsert`` and ``removed``.
        resume_token: where a later watch may go on; ``""`` until the snapshot is complete.
    """

    kind: Literal["upsert", "removed", "synced", "reset", "bookmark"]
    row: Row | None = None
    resume_token: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """A watch lost its stream and tries again after ``wait`` seconds. ``attempt`` counts from 1 since it last worked."""

    error: HubError | None
    attempt: int
    wait: float


Told = Callable[[Retry], None]


class Patience:
    """How long to wait between tries: random, so that watchers of one hub do not come back all at once."""

    __slots__ = ("attempt",)

    def __init__(self) -> None:
        self.attempt = 0

    def next(self, error: HubError | None) -> Retry:
        """Return the next wait, at least as long as the hub asks for."""
        self.attempt += 1
        longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(self.attempt - 1, 16))
        asked = (error.retry_after if error is not None else None) or 0.0
        return Retry(error, self.attempt, max(asked, random.uniform(longest / 2, longest)))


async def resume(
    open_stream: Callable[[str], Any],
    accept: Callable[[Any], Change[Row]],
    *,
    resume_token: str = "",
    snapshot: bool = True,
    told: Told | None = None,
) -> AsyncIterator[Change[Row]]:
    """Yield the changes of streams that follow each other.

    ``open_stream`` starts one from a token; ``accept`` reads a message. With ``snapshot`` a token counts only once the
    snapshot is complete, for a stream cut in the middle of one has to start over. An error before anything ever came
    is raised, as is one that a retry cannot mend; ``told`` hears of every retry.
    """
    token, worked, partial = resume_token, False, False
    patience = Patience()
    while True:
        error: HubError | None = None
        complete = bool(token) or not snapshot
        if partial and not complete:
            yield Change("reset")
        partial = False
        call = open_stream(token)
        try:
            async for message in call:
                change = accept(message)
                worked, patience.attempt = True, 0
                complete = complete or change.kind == "synced"
                if complete:
                    token = change.resume_token
                else:
                    partial, change = True, Change(change.kind, change.row)
                yield change
        except grpc.aio.AioRpcError as caught:
            error = HubError.of(caught)
            if error.reason == _EXPIRED and token:
                token, partial = "", False
                yield Change("reset")
                continue
            if error.status not in _PASSING or not worked:
                raise error from None
        finally:
            call.cancel()
        retry = patience.next(error)
        if told is not None:
            told(retry)
        await asyncio.sleep(retry.wait)


def accept_row(message: Any) -> Change[Any]:
    """Read a message of WatchSessions or WatchRoutes."""
    kind = message.WhichOneof("change")
    if kind == "bookmark" or kind is None:
        synced = kind is not None and message.bookmark.synced
        return Change("synced" if synced else "bookmark", None, message.resume_token)
    return Change(kind, getattr(message, kind), message.resume_token)


def accept_event(message: Any) -> Change[Any]:
    """Read a message of WatchEvents."""
    if message.HasField("event"):
        return Change("upsert", message.event, message.resume_token)
    return Change("bookmark", None, message.resume_token)
