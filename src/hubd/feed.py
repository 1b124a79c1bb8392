"""Changes for whoever watches: one ring all watchers share, each of them no more than a number in it.

A watcher that is slow, or gone, costs nothing. One that falls behind the ring's end is told so and starts again with a
snapshot; so does one whose token comes from another process, because revisions begin anew with each.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

# Changes kept. A thousand agents that all reconnect make three thousand; at about 1 KiB a row it is 10 MiB at most.
CAPACITY = 10_000

T = TypeVar("T")


class ResumeExpired(Exception):
    """The changes behind a token are gone, or were another process's: start again with a snapshot."""


class BadToken(ValueError):
    """A token this hub has never made."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a watch is.

    Args:
        revision: of the last change it has seen.
        after: within a snapshot, the last row it has seen; "" when the snapshot is complete.
    """

    revision: int
    after: str = ""


class Feed(Generic[T]):
    """A ring of changes with revisions 1, 2, 3 and so on.

    Args:
        name: of what changes; part of tokens.
        origin: of the tokens: the hub and its process.
        capacity: changes kept.
    """

    __slots__ = ("_bell", "_capacity", "_name", "_origin", "_ring", "revision")

    def __init__(self, name: str, origin: str, capacity: int = CAPACITY) -> None:
        self.revision = 0
        self._name = name
        self._origin = origin
        self._capacity = capacity
        self._ring: list[T] = []
        self._bell: asyncio.Future[None] | None = None

    def publish(self, change: T) -> int:
        """Add a change, wake the watchers, return the change's revision."""
        ring = self._ring
        if len(ring) < self._capacity:
            ring.append(change)
        else:
            ring[self.revision % self._capacity] = change
        self.revision += 1
        bell, self._bell = self._bell, None
        if bell is not None and not bell.done():
            bell.set_result(None)
        return self.revision

    @property
    def oldest(self) -> int:
        """Revision of the oldest change kept; one more than the last if there is none."""
        return self.revision - len(self._ring) + 1

    def behind(self, revision: int, limit: int) -> list[tuple[int, T]]:
        """At most ``limit`` changes behind a revision, with their own.

        Raises:
            ResumeExpired: some of them are gone.
        """
        if revision + 1 < self.oldest or revision > self.revision:
            raise ResumeExpired
        end = min(self.revision, revision + limit)
        return [(number, self._ring[(number - 1) % self._capacity]) for number in range(revision + 1, end + 1)]

    def kept(self) -> Iterator[tuple[int, T]]:
        """All that is kept, oldest first. Not while changes are added."""
        for number in range(self.oldest, self.revision + 1):
            yield number, self._ring[(number - 1) % self._capacity]

    def bell(self) -> asyncio.Future[None]:
        """Done with the next change. Shared: wait for it by ``asyncio.wait``, which cancels nothing."""
        if self._bell is None:
            self._bell = asyncio.get_running_loop().create_future()
        return self._bell

    def token(self, position: Position) -> str:
        """The opaque token of a place in this feed."""
        text = "|".join((self._name, self._origin, str(position.revision), position.after))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def position(self, token: str) -> Position:
        """The place of a token.

        Raises:
            BadToken: it is none.
            ResumeExpired: it is another process's.
        """
        try:
            text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
            name, origin, revision, after = text.split("|", 3)
            number = int(revision)
        except (binascii.Error, ValueError):
            raise BadToken("not a resume token") from None
        if name != self._name or number < 0:
            raise BadToken(f"a resume token of {name[:32]!r}, not of {self._name!r}")
        if origin != self._origin:
            raise ResumeExpired
        return Position(number, after)


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened.

    Args:
        at: seconds since the epoch.
        topic: "session", "agent", "route", "token", "config", "auth" or "hub".
        type: such as "session.attached".
        subject: name of what it is about.
        actor: who did it.
        message: for people.
        attributes: more, by name.
    """

    at: float
    topic: str
    type: str
    subject: str
    actor: str
    message: str
    attributes: dict[str, str] = field(default_factory=dict)


class Events:
    """The audit and life-cycle feed.

    Args:
        origin: of resume tokens.
    """

    def __init__(self, origin: str) -> None:
        self.feed: Feed[Happening] = Feed("events", origin)

    def emit(
        self, topic: str, type: str, subject: str, message: str, *, actor: str = "hub", **attributes: object
    ) -> None:
        """Tell that something happened. Cheap; not for the data path.

        Args:
            topic: one of `Happening`'s.
            type: topic, dot, what happened.
            subject: name of what it is about.
            message: for people, without secrets.
            actor: who did it.
            **attributes: more, by name.
        """
        texts = {name: str(value) for name, value in attributes.items()}
        self.feed.publish(Happening(time.time(), topic, type, subject, actor, message, texts))
