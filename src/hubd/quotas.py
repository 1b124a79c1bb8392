"""What an agent and each of its visitors may use: requests and bytes a second, requests in progress, sessions.

The hub's own settings hold for every agent that has none of its own. Where nothing is limited, `Hub.gate` is None and
the data path does no more than see that.
"""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Protocol

from hubd.headers import visitor_address
from hubd.rates import LEAST_FLOW, Flow, Rate
from hubd.reasons import AGENT_BUSY, BUFFERS_FULL, RATE_LIMITED, VISITOR_RATE_LIMITED, Reason

if TYPE_CHECKING:
    from hubd.front import Front
    from hubd.routes import Route
    from hubd.state import Hub
    from tunnel.http1 import RequestHead

# Visitors whose buckets are kept, at some 300 bytes each. Whoever comes back after 50,000 others begins anew.
MAX_VISITORS = 50_000
# Retry-After of a bucket that takes longer would only be a guess.
MAX_RETRY_AFTER = 60


class LimitsLike(Protocol):
    """Whatever has these attributes, such as the API's message."""

    request_rate: float
    bandwidth: int
    streams: int
    sessions: int
    visitor_request_rate: float
    visitor_bandwidth: int


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """Limits of one agent; 0 is none.

    Attributes:
        request_rate: requests a second.
        bandwidth: bytes a second, each way.
        streams: requests in progress.
        sessions: at once.
        visitor_request_rate: requests a second of one visitor's address.
        visitor_bandwidth: bytes a second of one visitor's address, each way.
    """

    request_rate: float = 0.0
    bandwidth: int = 0
    streams: int = 0
    sessions: int = 0
    visitor_request_rate: float = 0.0
    visitor_bandwidth: int = 0

    @classmethod
    def of(cls, given: LimitsLike) -> AgentLimits:
        """Read them from anything with the same attributes.

        Raises:
            ValueError: one cannot be; the text names it.
        """
        made = cls(**{field.name: getattr(given, field.name) for field in fields(cls)})
        for field in fields(cls):
            value = getattr(made, field.name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{field.name}: {value} is not a limit; 0 means the hub's own setting")
        for name in ("bandwidth", "visitor_bandwidth"):
            if 0 < getattr(made, name) < LEAST_FLOW:
                raise ValueError(f"{name}: at least {LEAST_FLOW} bytes a second, or 0 for the hub's own setting")
        return made

    def over(self, below: AgentLimits) -> AgentLimits:
        """These, and those below where these are 0."""
        return AgentLimits(*(getattr(self, field.name) or getattr(below, field.name) for field in fields(AgentLimits)))


class Share:
    """The buckets of an agent, or of one visitor of it."""

    __slots__ = ("down", "requests", "up")

    def __init__(self, request_rate: float, bandwidth: int) -> None:
        self.requests = Rate(request_rate) if request_rate else None
        self.down = Flow(bandwidth) if bandwidth else None
        self.up = Flow(bandwidth) if bandwidth else None


class Quota:
    """An agent's limits with what is left of them.

    Attributes:
        stale: others have taken their place.
    """

    __slots__ = ("limits", "share", "stale")

    def __init__(self, limits: AgentLimits) -> None:
        self.limits = limits
        self.stale = False
        self.share = Share(limits.request_rate, limits.bandwidth)


class Meter:
    """Who pays for the bytes of one exchange."""

    __slots__ = ("down", "up")

    def __init__(self, *shares: Share) -> None:
        self.down = [share.down for share in shares if share.down is not None]
        self.up = [share.up for share in shares if share.up is not None]

    def spend(self, flows: list[Flow], size: int, now: float) -> float:
        """Count bytes in all buckets; returns the seconds to wait."""
        return max((flow.spend(size, now) for flow in flows), default=0.0)


class Ticket:
    """What the requests of one visitor to one agent are counted against.

    Attributes:
        quota: the agent's.
        streams: requests the agent may have in progress, 0 for any number.
        rates: buckets, each with the reason for a refusal.
        meter: who pays for bytes, None if nobody does.
    """

    __slots__ = ("meter", "quota", "rates", "streams")

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.streams = quota.limits.streams
        self.rates: list[tuple[Rate, Reason]] = []
        self.meter: Meter | None = None


class Quotas:
    """All limits of a hub, and the gate every request passes while there are any.

    Args:
        hub: whose.

    Attributes:
        shedding: buffers are nearly full: no new request is taken.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._own: dict[str, AgentLimits] = {}
        self._quotas: dict[str, Quota] = {}
        self._visitors: OrderedDict[tuple[str, str], Share] = OrderedDict()
        self._default = AgentLimits()
        self.shedding = False

    def configure(self) -> None:
        """Take the hub's own settings anew."""
        default = AgentLimits.of(self._hub.limits)
        if default != self._default:
            self._default = default
            self._forget(list(self._quotas))
        self._set_gate()

    def apply(self, agent_id: str, given: LimitsLike) -> AgentLimits:
        """Set an agent's own limits, at once for its next request; returns what holds now.

        Raises:
            ValueError: one cannot be; the text names it.
        """
        own = AgentLimits.of(given)
        if own == AgentLimits():
            self._own.pop(agent_id, None)
        else:
            self._own[agent_id] = own
        self._forget([agent_id])
        self._set_gate()
        return self.limits_of(agent_id)

    def limits_of(self, agent_id: str) -> AgentLimits:
        """What holds for an agent: its own limits, and the hub's where it has none."""
        own = self._own.get(agent_id)
        return self._default if own is None else own.over(self._default)

    def room_for_session(self, agent_id: str, instance: str | None) -> bool:
        """Whether an agent may have one more session. One that takes over from another of its instance always may."""
        limit = self.limits_of(agent_id).sessions
        pool = self._hub.pools.get(agent_id)
        if not limit or pool is None:
            return True
        others = [entry for entry in pool.entries if instance is None or entry.instance != instance]
        return len(others) < limit

    def shed(self, on: bool) -> None:
        """Take no new requests, or take them again."""
        self.shedding = on
        self._set_gate()

    def _set_gate(self) -> None:
        quiet = replace(self._default, sessions=0) == AgentLimits() and not self._own and not self.shedding
        self._hub.gate = None if quiet else self

    def _forget(self, names: list[str]) -> None:
        """Begin anew for these agents and their visitors."""
        for name in names:
            quota = self._quotas.pop(name, None)
            if quota is not None:
                quota.stale = True
        gone = set(names)
        for key in [key for key in self._visitors if key[0] in gone]:
            del self._visitors[key]

    # -- for each request ---------------------------------------------------------------------------------------------

    def refuses(self, front: Front, head: RequestHead, route: Route) -> Reason | None:
        """Why a request cannot be taken now; None if it can, and has been paid for.

        Args:
            front: where it came.
            head: as read.
            route: where it goes; remembers who pays, for a visitor that repeats its request.
        """
        if self.shedding:
            return BUFFERS_FULL
        ticket, hub = route.ticket, self._hub
        if ticket is None or ticket.quota.stale:
            if route.agent_id not in hub.pools.pools:
                # It gets its answer, and a name nobody knows gets no memory.
                return None
            ticket = route.ticket = self._ticket(front, head, route.agent_id)
        if ticket.streams:
            pool = hub.pools.pools.get(route.agent_id)
            if pool is not None:
                entries = pool.entries
                active = entries[0].active if len(entries) == 1 else sum([entry.active for entry in entries])
                if active >= ticket.streams:
                    return AGENT_BUSY
        if ticket.rates:
            now = hub.loop.time()
            for rate, reason in ticket.rates:
                wait = rate.take(now)
                if wait:
                    return _later(reason, wait)
        return None

    def _ticket(self, front: Front, head: RequestHead, agent_id: str) -> Ticket:
        quota = self._quota(agent_id)
        limits = quota.limits
        ticket = Ticket(quota)
        shares = [quota.share]
        if limits.visitor_request_rate or limits.visitor_bandwidth:
            visitor = self._visitor(front, head, quota, agent_id)
            shares.append(visitor)
            if visitor.requests is not None:
                ticket.rates.append((visitor.requests, VISITOR_RATE_LIMITED))
        if quota.share.requests is not None:
            ticket.rates.append((quota.share.requests, RATE_LIMITED))
        if limits.bandwidth or limits.visitor_bandwidth:
            ticket.meter = Meter(*shares)
        return ticket

    def _quota(self, agent_id: str) -> Quota:
        quota = self._quotas.get(agent_id)
        if quota is None:
            if len(self._quotas) > 2 * len(self._hub.pools.pools) + 16:
                # Agents that have gone; those with requests make theirs again.
                self._forget(list(self._quotas))
            quota = self._quotas[agent_id] = Quota(self.limits_of(agent_id))
        return quota

    def _visitor(self, front: Front, head: RequestHead, quota: Quota, agent_id: str) -> Share:
        key = (agent_id, visitor_address(front.link, head.special, self._hub.config.trusted_proxies))
        share = self._visitors.get(key)
        if share is None:
            limits = quota.limits
            share = self._visitors[key] = Share(limits.visitor_request_rate, limits.visitor_bandwidth)
            if len(self._visitors) > MAX_VISITORS:
                self._visitors.popitem(last=False)
        else:
            self._visitors.move_to_end(key)
        return share


def _later(reason: Reason, seconds: float) -> Reason:
    return _retry_after(reason, max(1, min(MAX_RETRY_AFTER, math.ceil(seconds))))


@functools.cache
def _retry_after(reason: Reason, seconds: int) -> Reason:
    return replace(reason, retry_after=seconds)
