"""Attached agents: ids, their pools of sessions, and requests that wait for a free stream."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from hubd.reasons import AGENT_DRAINING, AGENT_OFFLINE, AGENT_UNKNOWN, Reason

if TYPE_CHECKING:
    from yamux import Session

# Ids that were attached once and get 503 instead of 404: at about 150 bytes each 1.5 MB at most.
MAX_REMEMBERED = 10_000
# Requests of one agent that may wait for a stream. Each holds a visitor's connection and what it has read of the body.
MAX_WAITING = 256
# Exchanges on one session: what common yamux implementations take before they refuse streams.
MAX_STREAMS = 1000


class Waiter(Protocol):
    """A request that found every session of its pool full."""

    def retry(self) -> bool:
        """Try again; False if there still is no stream."""


class AgentSession:
    """One session of an agent.

    Attributes:
        agent_id: id it attached under.
        instance: value of ``X-Agent-Instance``; None for agents that send none, which are instances of their own.
        session: the yamux session.
        active: exchanges in progress on it.
        draining: takes no new exchanges; ends with its last one.
        closing: it has been asked to close.
        ready: it may be sent streams; until then requests wait for it.
        raw_path: the agent takes percent-encoded paths in ``X-Proxy-Path``.
        id: names it in the management API; never given twice.
        carrier: upgrade token it came over.
        connected: when it attached, in seconds since the epoch.
        epoch: grows with every session of the agent.
        token_id: of the token it attached with, "" for none.
        certificate: the client's, in DER, if it showed one.
        requests: exchanges begun on it.
        errors: of them, those that failed between visitor and target.
        controlled: it has an open control stream.
        config_version: of the configuration the agent runs; 0 for none of the hub's.
        told: the agent knows that it is to leave.
        drain_deadline: when it is cut at the latest, in seconds since the epoch; None for never.
        replaced_by: id of the session that took over.
        awaits: monotonic seconds until which an idle session that drains is kept for its agent to connect anew.
        close_reason: why it was ended from this side, for people.
        joining: it attached with a join token, to enrol and for nothing else.
        folds: the agent takes the end of a request before the response; the Go programs cancel the request on it.
    """

    __slots__ = (
        "_heard",
        "_received",
        "active",
        "agent_id",
        "attached_at",
        "awaits",
        "carrier",
        "certificate",
        "close_reason",
        "closing",
        "config_version",
        "connected",
        "controlled",
        "drain_deadline",
        "draining",
        "epoch",
        "errors",
        "id",
        "folds",
        "instance",
        "joining",
        "labels",
        "peer",
        "raw_path",
        "ready",
        "replaced_by",
        "requests",
        "session",
        "token_id",
        "told",
        "version",
    )

    def __init__(
        self,
        agent_id: str,
        session: Session,
        *,
        instance: str | None = None,
        peer: str = "",
        version: str = "",
        labels: tuple[str, ...] = (),
        attached_at: float = 0.0,
        ready: bool = True,
        id: str = "",
        carrier: str = "",
        epoch: int = 0,
        token_id: str = "",
        certificate: bytes | None = None,
        joining: bool = False,
        folds: bool = False,
    ) -> None:
        self.id = id
        self.carrier = carrier
        self.connected = self._heard = time.time()
        self._received = 0
        self.epoch = epoch
        self.token_id = token_id
        self.certificate = certificate
        self.joining = joining
        self.agent_id = agent_id
        self.session = session
        self.instance = instance
        self.peer = peer
        self.version = version
        self.labels = labels
        self.attached_at = attached_at
        self.active = self.requests = self.errors = 0
        self.draining = self.closing = self.controlled = self.told = False
        self.config_version = 0
        self.drain_deadline: float | None = None
        self.awaits = 0.0
        self.replaced_by = self.close_reason = ""
        self.ready = ready
        self.folds = folds
        self.raw_path = instance is not None

    def __repr__(self) -> str:
        state = " draining" if self.draining else ""
        return f"<AgentSession {self.agent_id} {self.instance or '-'} active={self.active}{state}>"

    @property
    def can_open(self) -> bool:
        """Whether it takes another exchange now."""
        return self.ready and self.active < MAX_STREAMS and self.session.can_open

    @property
    def open_streams(self) -> int:
        """Streams in use now, for people: the control stream is always there and does not count."""
        return max(0, self.session.num_streams - self.controlled)

    def last_seen(self) -> float:
        """When bytes last came from the agent, in seconds since the epoch; as exact as somebody looks."""
        received = self.session.core.bytes_in
        if received != self._received:
            self._received = received
            self._heard = time.time()
        return self._heard

    def drain(self) -> None:
        """Take nothing new; end when the last exchange has. The peer is told with GoAway."""
        if not self.draining:
            self.draining = self.told = True
            self.session.go_away()


class Pool:
    """The sessions of one id that take new exchanges.

    Attributes:
        until: monotonic seconds until which an agent that has no session yet is waited for.
    """

    __slots__ = ("agent_id", "entries", "turn", "until", "waiters")

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.entries: list[AgentSession] = []
        self.turn = 0
        self.until = 0.0
        self.waiters: deque[Waiter] = deque()

    def wait(self, waiter: Waiter) -> bool:
        """Queue a request for the next free stream; False if too many wait already."""
        if len(self.waiters) >= MAX_WAITING:
            return False
        self.waiters.append(waiter)
        return True

    def wake(self) -> None:
        """Let waiting requests try again, in order, until one finds no stream."""
        for _ in range(len(self.waiters)):
            waiter = self.waiters.popleft()
            if not waiter.retry():
                self.waiters.appendleft(waiter)
                return

    def forget(self, waiter: Waiter) -> None:
        """Take a request out of the queue, if it is there."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)


class AgentPools:
    """All pools by agent id, the sessions that drain, those that join, and ids seen lately.


    Args:
        on_change: told of each session that begins to drain.

    Attributes:
        expected: pools without a session, whose agents are about to come: over from the process before this one, or
            from a session that drains.
        guests: sessions that may only enrol.
    """

    def __init__(self, on_change: Callable[[AgentSession], None] = lambda _: None) -> None:
        self._on_change = on_change
        self.pools: dict[str, Pool] = {}
        self.draining: set[AgentSession] = set()
        self.expected: set[Pool] = set()
        self.guests: set[AgentSession] = set()
        self._seen: OrderedDict[str, None] = OrderedDict()
        # The pool of an id with at least one session in service, or about to be; else None. It is the table's own method,
        # since it is called for every request.
        self.get = self.pools.get

    def __len__(self) -> int:
        return sum(len(pool.entries) for pool in self.pools.values())

    def add(self, entry: AgentSession) -> AgentSession | None:
        """Put a session into service.

        Returns the session of the same instance that it replaces, which has been told to drain, or None.
        """
        pool = self._pool(entry.agent_id)
        replaced = None
        if entry.instance is not None:
            replaced = next((old for old in pool.entries if old.instance == entry.instance), None)
            for old in self.draining:
                if old.instance == entry.instance and old.agent_id == entry.agent_id and not old.replaced_by:
                    old.replaced_by = entry.id
                    old.awaits = 0.0
                    self._on_change(old)
        pool.entries.append(entry)
        self._remember(entry.agent_id)
        if replaced is not None:
            replaced.replaced_by = entry.id
            self.drain(replaced)
        if pool.waiters:
            pool.wake()
        return replaced

    def drain(self, entry: AgentSession) -> None:
        """Take a session out of service and let its exchanges end."""
        self._unlist(entry)
        if not entry.session.is_closed:
            self.draining.add(entry)
            entry.drain()
            self._on_change(entry)

    def retire(self, entry: AgentSession) -> None:
        """Take a session out of service whose agent has asked for no more streams."""
        self._unlist(entry)
        if not entry.session.is_closed:
            entry.draining = entry.told = True
            self.draining.add(entry)
            self._on_change(entry)

    def withdraw(self, entry: AgentSession) -> None:
        """Take a session out of service without a word to its agent. Also tells of a drain that was changed."""
        self._unlist(entry)
        if not entry.session.is_closed:
            entry.draining = True
            self.draining.add(entry)
            self._on_change(entry)

    def restore(self, entry: AgentSession) -> None:
        """Put a session that was withdrawn back into service."""
        self.draining.discard(entry)
        entry.draining = False
        self._pool(entry.agent_id).entries.append(entry)
        self._on_change(entry)

    def expect(self, names: Iterable[str], until: float) -> None:
        """Let requests wait for agents that are about to come.

        Args:
            names: ids of the agents.
            until: monotonic seconds.
        """
        for name in names:
            pool = self._pool(name)
            pool.until = until
            self.expected.add(pool)
            self._remember(name)

    def sweep(self, now: float) -> None:
        """Give up agents that were expected and have not come; `now` is monotonic seconds."""
        for pool in [pool for pool in self.expected if pool.entries or pool.until <= now]:
            self.expected.discard(pool)
            if not pool.entries and self.pools.get(pool.agent_id) is pool:
                del self.pools[pool.agent_id]
                pool.wake()

    def remove(self, entry: AgentSession) -> None:
        """Forget a session that is over. Harmless when repeated."""
        self.draining.discard(entry)
        self.guests.discard(entry)
        self._unlist(entry)

    def _pool(self, agent_id: str) -> Pool:
        pool = self.pools.get(agent_id)
        if pool is None:
            pool = self.pools[agent_id] = Pool(agent_id)
        return pool

    def forget(self, agent_id: str) -> None:
        """Know an id no more, unless it is in service."""
        if agent_id not in self.pools:
            self._seen.pop(agent_id, None)

    def absent(self, agent_id: str) -> Reason:
        """Why an id has no pool: unknown, draining, or known but not connected."""
        if any(entry.agent_id == agent_id for entry in self.draining):
            return AGENT_DRAINING
        return AGENT_OFFLINE if agent_id in self._seen else AGENT_UNKNOWN

    def sessions(self) -> list[AgentSession]:
        """All sessions, in service, draining and joining."""
        return [entry for pool in self.pools.values() for entry in pool.entries] + [*self.draining, *self.guests]

    def _unlist(self, entry: AgentSession) -> None:
        pool = self.pools.get(entry.agent_id)
        if pool is None or entry not in pool.entries:
            return
        pool.entries.remove(entry)
        self._remember(entry.agent_id)
        if not pool.entries and pool not in self.expected:
            del self.pools[entry.agent_id]
            if pool.waiters:
                pool.wake()

    def _remember(self, agent_id: str) -> None:
        self._seen[agent_id] = None
        self._seen.move_to_end(agent_id)
        if len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)
