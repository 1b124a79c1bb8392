"""Sessions as messages, and which of them a filter wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubd.admin.errors import Faults
from hubd.admin.names import span, stamp, take
from tunnelpb.hub.v1 import session_pb2 as pb

if TYPE_CHECKING:
    from hubd.roster import Row
    from hubd.sessions import AgentSession
    from hubd.state import Hub

STATES = {
    "active": pb.Session.STATE_ACTIVE,
    "draining": pb.Session.STATE_DRAINING,
    "closed": pb.Session.STATE_CLOSED,
}
_OPEN = frozenset({pb.Session.STATE_ACTIVE, pb.Session.STATE_DRAINING})


def message(hub: Hub, row: Row) -> pb.Session:
    """A session's message: its row, and what is measured of it now."""
    session = pb.Session(
        name=f"sessions/{row.id}",
        agent=f"agents/{row.agent_id}",
        hub=f"hubs/{hub.id}",
        state=STATES[row.state],
        carrier=row.carrier,
        peer_address=row.peer,
        agent_version=row.version,
        labels=row.labels,
        instance=row.instance,
        connect_time=stamp(row.connected),
        drain_deadline=stamp(row.drain_deadline),
        close_time=stamp(row.closed),
        close_reason=row.close_reason,
        epoch=row.epoch,
        applied_config_version=row.config_version,
        controlled=row.controlled,
        replaced_by=f"sessions/{row.replaced_by}" if row.replaced_by else "",
        etag=str(row.revision),
        last_seen_time=stamp(row.last_seen),
    )
    entry = hub.roster.live.get(row.id)
    if entry is not None:
        _measure(session, entry)
    return session


def _measure(session: pb.Session, entry: AgentSession) -> None:
    session.open_streams = entry.open_streams
    rtt = span(entry.session.rtt)
    if rtt is not None:
        session.rtt.CopyFrom(rtt)
    seen = stamp(entry.last_seen())
    if seen is not None:
        session.last_seen_time.CopyFrom(seen)


class Filter:
    """A checked SessionFilter.

    Args:
        given: as sent.
        faults: gets what is wrong with it.
    """

    __slots__ = ("_agent", "_labels", "_states")

    def __init__(self, given: pb.SessionFilter, faults: Faults) -> None:
        self._agent = take("agents", given.agent, "filter.agent", faults) if given.agent else ""
        self._labels = dict(given.labels)
        known = set(STATES.values())
        for index, state in enumerate(given.states):
            if state not in known:
                faults.add(f"filter.states[{index}]", "must be ACTIVE, DRAINING or CLOSED")
        self._states = frozenset(given.states) or _OPEN

    def wants(self, row: Row | None) -> bool:
        """Whether it asks for a row; never for one that is not there."""
        if row is None or STATES[row.state] not in self._states:
            return False
        if self._agent and row.agent_id != self._agent:
            return False
        return all(row.labels.get(name) == value for name, value in self._labels.items())
