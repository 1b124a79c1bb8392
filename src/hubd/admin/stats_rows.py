"""Rows of counters, for each scope. Each row is a tuple of plain numbers first, so that unchanged ones cost no message."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hubd.admin.errors import invalid, not_found
from hubd.admin.names import span
from hubd.roster import Totals
from tunnelpb.hub.v1 import stats_pb2 as pb

if TYPE_CHECKING:
    from hubd.sessions import AgentSession
    from hubd.state import Hub

HUB, AGENT, SESSION, STREAM = (
    pb.STATS_SCOPE_HUB, pb.STATS_SCOPE_AGENT, pb.STATS_SCOPE_SESSION, pb.STATS_SCOPE_STREAM,
)  # fmt: skip

Values = tuple[Any, ...]
"""What `encode` makes a message of; equal values make equal messages."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Scope:
    """What a client asks for: checked once, read as often as needed.

    Args:
        hub: shared state.
        scope: of the request; unspecified is the hub.
        parent: "agents/{id}", "sessions/{id}" or "".

    Raises:
        ApiError: they do not go together, or the parent is not there.
    """

    def __init__(self, hub: Hub, scope: int, parent: str) -> None:
        self._hub = hub
        self.scope = scope or HUB
        self.parent = parent
        kind, _, self._id = parent.partition("/")
        self._by_agent = kind == "agents"
        if self.scope not in (HUB, AGENT, SESSION, STREAM):
            raise invalid(("scope", "must be HUB, AGENT, SESSION or STREAM"))
        if parent and (kind not in ("agents", "sessions") or not self._id):
            raise invalid(("parent", '"agents/{id}" or "sessions/{id}" is wanted'))
        if self.scope == STREAM and not parent:
            raise invalid(("parent", "streams are listed for one session or agent: give it"))
        if parent and (self.scope == HUB or (self.scope == AGENT and not self._by_agent)):
            raise invalid(("parent", "the rows of this scope do not belong to one"))
        if parent and not self._known():
            raise not_found(kind.removesuffix("s"), parent)

    def _known(self) -> bool:
        if self._by_agent:
            return self._hub.agents.get(self._id) is not None
        return self._id in self._hub.roster.live

    @property
    def key(self) -> tuple[int, str]:
        """The same for clients that ask for the same."""
        return self.scope, self.parent

    def rows(self) -> Iterator[tuple[str, Values]]:
        """Every row by name, each as of when it is taken; which there are is as of now."""
        if self.scope == HUB:
            return iter([(f"hubs/{self._hub.id}", _hub_row(self._hub))])
        if self.scope == AGENT:
            return self._agents()
        if self.scope == SESSION:
            return ((f"sessions/{entry.id}", _session_row(entry)) for entry in self._entries())
        return self._streams()

    def _entries(self) -> list[AgentSession]:
        live = self._hub.roster.live
        if not self._id:
            return list(live.values())
        if self._by_agent:
            return [entry for entry in live.values() if entry.agent_id == self._id]
        entry = live.get(self._id)
        return [entry] if entry is not None else []

    def _agents(self) -> Iterator[tuple[str, Values]]:
        roster = self._hub.roster
        found: dict[str, list[AgentSession]] = {self._id: []} if self._id else {name: [] for name in roster.counted()}
        for entry in self._entries():
            found.setdefault(entry.agent_id, []).append(entry)
        for agent_id, entries in found.items():
            yield f"agents/{agent_id}", _sum_row(f"agents/{agent_id}", roster.totals(agent_id), entries)

    def _streams(self) -> Iterator[tuple[str, Values]]:
        for entry in self._entries():
            for stream in list(entry.session.core.streams.values()):
                name = f"sessions/{entry.id}/streams/{stream.id}"
                yield name, (f"agents/{entry.agent_id}", stream.bytes_in, stream.bytes_out)


def _session_row(entry: AgentSession) -> Values:
    session = entry.session
    core = session.core
    return (
        f"agents/{entry.agent_id}", core.bytes_in, session.bytes_out, core.streams_opened, entry.open_streams,
        entry.requests, entry.errors, core.keepalive.rtt,
    )  # fmt: skip


def _sum_row(agent: str, past: Totals, entries: list[AgentSession]) -> Values:
    totals = Totals()
    totals.plus(past)
    for entry in entries:
        totals.add(entry)
    rtts = [entry.session.rtt for entry in entries if entry.session.rtt is not None]
    draining = sum(entry.draining for entry in entries)
    return (
        agent, totals.bytes_in, totals.bytes_out, totals.streams_opened,
        sum(entry.open_streams for entry in entries), totals.requests, totals.errors,
        min(rtts) if rtts else None, len(entries) - draining, draining,
    )  # fmt: skip


def _hub_row(hub: Hub) -> Values:
    row = _sum_row("", hub.roster.past, list(hub.roster.live.values()))
    return (*row, max(hub.budget.visitors, 0), hub.lags.percentile(hub.pulse.counts), _resident())


def encode(name: str, values: Values) -> pb.Stats:
    """A row's message."""
    if len(values) == 3:
        agent, received, sent = values
        return pb.Stats(name=name, agent=agent, bytes_in=received, bytes_out=sent)
    agent, received, sent, opened, open_now, requests, errors, rtt, *rest = values
    row = pb.Stats(
        name=name, agent=agent, bytes_in=received, bytes_out=sent, streams_opened=opened, streams_open=open_now,
        requests=requests, errors=errors, rtt=span(rtt),
    )  # fmt: skip
    if rest:
        row.sessions, row.sessions_draining = rest[0], rest[1]
    if len(rest) > 2:
        row.visitors, row.memory_bytes = rest[2], rest[4]
        row.loop_lag.FromMicroseconds(round(rest[3] * 1e6))
    return row


def _resident() -> int:
    """Resident bytes of this process; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return 0
