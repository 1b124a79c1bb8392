"""The sessions as the management API sees them: live ones, those that ended lately, and every change of either.

Kept beside the pools, which know only what the data path needs. Nothing here is touched by a request.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from hubd.feed import Events, Feed

if TYPE_CHECKING:
    from hubd.sessions import AgentSession

# How long a session that ended can still be asked for, and how many of them at most: at about 1 KiB each 10 MiB.
CLOSED_SECONDS = 600.0
MAX_CLOSED = 10_000
# Agents whose former sessions' counters are kept, as many as ids are remembered.
MAX_TOTALS = 10_000


@dataclass(slots=True)
class Totals:
    """Counters of sessions added up."""

    bytes_in: int = 0
    bytes_out: int = 0
    streams_opened: int = 0
    requests: int = 0
    errors: int = 0

    def add(self, entry: AgentSession) -> None:
        """Add what one session has counted so far."""
        session = entry.session
        self.bytes_in += session.core.bytes_in
        self.bytes_out += session.bytes_out
        self.streams_opened += session.core.streams_opened
        self.requests += entry.requests
        self.errors += entry.errors

    def plus(self, other: Totals) -> None:
        """Add another sum."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))


@dataclass(frozen=True, slots=True)
class Row:
    """A session at one moment, for the API. Never changed, so that all watchers can share it.

    Args:
        state: "active", "draining" or "closed".
        revision: of the change that made it; the etag.
        drain_deadline: seconds since the epoch, as all times here; None if it does not drain.
    """

    id: str
    agent_id: str
    state: str
    revision: int
    carrier: str
    peer: str
    version: str
    labels: dict[str, str]
    instance: str
    connected: float
    epoch: int
    config_version: int
    controlled: bool
    drain_deadline: float | None
    closed: float | None
    close_reason: str
    replaced_by: str
    last_seen: float


@dataclass(frozen=True, slots=True)
class Change:
    """A session before and after; None before it came, and when it is forgotten."""

    before: Row | None
    after: Row | None


class Roster:
    """All sessions by id, in the order they came.

    Args:
        origin: of resume tokens.
        events: told of every session that comes, drains and goes.
    """

    def __init__(self, origin: str, events: Events) -> None:
        self.feed: Feed[Change] = Feed("sessions", origin)
        self.live: dict[str, AgentSession] = {}
        self.past = Totals()
        self._events = events
        self._rows: dict[str, Row] = {}
        self._closed: OrderedDict[str, float] = OrderedDict()
        self._totals: OrderedDict[str, Totals] = OrderedDict()
        self.on_end: list[Callable[[AgentSession], None]] = []

    # -- what happens to sessions -------------------------------------------------------------------------------------

    def add(self, entry: AgentSession) -> None:
        """A session has attached."""
        self.live[entry.id] = entry
        self._put(entry)
        self._events.emit(
            "session", "session.attached", f"sessions/{entry.id}", f"agent {entry.agent_id} attached",
            actor=f"agents/{entry.agent_id}", agent=entry.agent_id, carrier=entry.carrier, peer=entry.peer,
        )  # fmt: skip

    def changed(self, entry: AgentSession) -> None:
        """Something of it that a row shows is different now. Harmless for sessions that are over."""
        if entry.id in self.live:
            self._put(entry)

    def end(self, entry: AgentSession, why: str) -> None:
        """It is over. Harmless when repeated.

        Args:
            entry: of a session.
            why: for people.
        """
        if self.live.pop(entry.id, None) is None:
            return
        entry.close_reason = entry.close_reason or why
        totals = self._totals.setdefault(entry.agent_id, Totals())
        totals.add(entry)
        self._totals.move_to_end(entry.agent_id)
        if len(self._totals) > MAX_TOTALS:
            self._totals.popitem(last=False)
        self.past.add(entry)
        now = time.time()
        self._put(entry, closed=now)
        self._closed[entry.id] = now
        self._events.emit(
            "session", "session.closed", f"sessions/{entry.id}", f"agent {entry.agent_id}: {entry.close_reason}",
            agent=entry.agent_id,
        )  # fmt: skip
        if len(self._closed) > MAX_CLOSED:
            self._forget(next(iter(self._closed)))
        for told in self.on_end:
            told(entry)

    def look(self) -> None:
        """Note which agents have been heard of. Called by the sweep, so times are a second exact."""
        for entry in self.live.values():
            entry.last_seen()

    def forget_closed(self, now: float) -> None:
        """Forget sessions that ended long ago. Called by the sweep with seconds since the epoch."""
        while self._closed:
            session_id, closed = next(iter(self._closed.items()))
            if now - closed < CLOSED_SECONDS:
                return
            self._forget(session_id)

    def _forget(self, session_id: str) -> None:
        del self._closed[session_id]
        self.feed.publish(Change(self._rows.pop(session_id), None))

    def _put(self, entry: AgentSession, closed: float | None = None) -> None:
        before = self._rows.get(entry.id)
        row = _row(entry, self.feed.revision + 1, closed)
        self._rows[entry.id] = row
        self.feed.publish(Change(before, row))

    # -- what can be asked --------------------------------------------------------------------------------------------

    def rows(self, after: str = "") -> Iterator[Row]:
        """Rows in the order of their ids, behind one. Not while sessions come and go."""
        for session_id, row in self._rows.items():
            if session_id > after:
                yield row

    def row(self, session_id: str) -> Row | None:
        """One row, of a live session or one that ended lately."""
        return self._rows.get(session_id)

    def find(self, prefix: str) -> list[str]:
        """Ids that begin like this; a whole id finds itself alone."""
        if prefix in self._rows:
            return [prefix]
        return [session_id for session_id in self._rows if session_id.startswith(prefix)]

    def totals(self, agent_id: str) -> Totals:
        """Counters of an agent's former sessions."""
        return self._totals.get(agent_id) or Totals()

    def counted(self) -> list[str]:
        """Agents with counters of former sessions."""
        return list(self._totals)

    def forget_totals(self, agent_id: str) -> None:
        """An agent was deleted."""
        self._totals.pop(agent_id, None)


def _row(entry: AgentSession, revision: int, closed: float | None) -> Row:
    state = "closed" if closed is not None else "draining" if entry.draining else "active"
    return Row(
        id=entry.id,
        agent_id=entry.agent_id,
        state=state,
        revision=revision,
        carrier=entry.carrier,
        peer=entry.peer,
        version=entry.version,
        labels=dict(label.split("=", 1) for label in entry.labels),
        instance=entry.instance or "",
        connected=entry.connected,
        epoch=entry.epoch,
        config_version=entry.config_version,
        controlled=entry.controlled,
        drain_deadline=entry.drain_deadline if state == "draining" else None,
        closed=closed,
        close_reason=entry.close_reason if closed is not None else "",
        replaced_by=entry.replaced_by,
        last_seen=entry.last_seen(),
    )
