"""What all connections of a hub share. Built once by the composition root."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from hubd.budget import Budget
from hubd.connection import IDLE
from hubd.feed import Events
from hubd.identity.expiry import Expiry
from hubd.ids import Ids
from hubd.lags import Lags
from hubd.leaving import Leaving
from hubd.pick import POLICIES
from hubd.pressure import Pressure
from hubd.pulse import Pulse
from hubd.quotas import AgentLimits, LimitsLike, Quotas
from hubd.roster import Roster
from hubd.routebook import RouteBook, Table
from hubd.routes import Router
from hubd.sessions import AgentPools
from hubd.stats import Stats
from hubd.store import Database
from hubd.store.agents import Agents
from hubd.store.requests import Requests
from tunnel.http1 import Answers, Limits, ResponseReader
from tunnel.logs import RejectLog

if TYPE_CHECKING:
    from hubd.accesslog import AccessLog
    from hubd.attach import AttachDesk
    from hubd.config import HubConfig
    from hubd.connection import Connection
    from hubd.control.desk import ControlDesk
    from hubd.exchange import Exchange
    from hubd.front import Front
    from hubd.handover import Heir
    from hubd.identity.visitors import VisitorGuard
    from hubd.reload import Reloaded
    from hubd.sessions import AgentSession
    from tunnel.http1 import RequestHead

logger = logging.getLogger("hubd")

# Readers kept for the next exchange; making one costs more than a look-up in its rules.
SPARE_READERS = 256
MAX_TUNNEL_ERRORS = 64
# Seconds a connection may be idle while others wait for its descriptor.
IDLE_GRACE = 1.0

_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Tunnelled(Protocol):
    """An upgraded connection."""

    def check(self, now: float) -> None:
        """Look at its deadlines."""

    def abort(self) -> None:
        """End it now."""


class Hub:
    """The state of one hub process: tables, counters and settings, no I/O of its own.

    Attributes:
        now: monotonic seconds as of the last sweep; good enough for deadlines of many seconds.
        via: our pseudonym in Via, random per process so that two hubs in a row are no loop.
        active: exchanges in progress.
        answers: heads of responses met before.
        tunnels: upgraded connections.
        draining: no new work; set by the first signal.
        gate: what every request must pass; None while nothing is limited.
        guard: who may visit; None while everybody may.
        boot_id: random per process.
        started: when, in seconds since the epoch.
        roster: sessions as the management API sees them.
        events: what happens, for whoever watches.
        agents: what is stored of agents.
        routes: made over the management API.
        requests: answers to calls that must not be done twice.
        leaving: drains and evictions.
        control: the agents' control streams; None if they may have none.
        exit: has the process end within so many seconds; None if nobody can.
        reload: reads the settings again; None if nobody knows where they come from.
        origins: where each setting came from, by dotted key.
        heir: the process that follows this one; visitors' connections move there.
    """

    control: ControlDesk | None = None

    def __init__(
        self,
        config: HubConfig,
        budget: Budget,
        *,
        access_log: AccessLog | None = None,
        database: Database | None = None,
    ) -> None:
        self.connections: set[Connection] = set()
        self.router = Router(config.domain)
        self._open_books(config.id, database or Database())
        self.gate: Quotas | None = None
        self.guard: VisitorGuard | None = None
        self.pools = AgentPools(self.roster.changed)
        self.budget = budget
        self.loop = asyncio.get_running_loop()
        self._readers: list[ResponseReader] = []
        self.answers = Answers()
        self.quotas = Quotas(self)
        self.configure(config)
        self.pressure = Pressure(self)
        self.pulse = Pulse(self)
        self.expiry = Expiry()
        self.lags = Lags()
        self.now = self.loop.time()
        self.access_log = access_log
        self.stats = Stats()
        self.rejects = RejectLog(logger)
        self.tunnels: set[Tunnelled] = set()
        self.active = 0
        self.draining = False
        self.heir: Heir | None = None
        self.via = b"hubd-" + secrets.token_hex(4).encode()
        self.desk: AttachDesk | None = None
        self.on_budget: Callable[[], None] = _nothing
        self.leaving = Leaving(self)
        self.exit: Callable[[float], None] | None = None
        self.reload: Callable[[], Awaitable[Reloaded]] | None = None
        self.origins: Callable[[], Mapping[str, str]] = dict
        self.roster.on_end.append(self.leaving.forget)
        self._id_prefix = secrets.token_hex(4).encode()
        self._ids = 0

    def _open_books(self, id: str, database: Database) -> None:
        """What the management API shows, and what of it is kept in the store."""
        self.id = id
        self.boot_id = secrets.token_hex(8)
        self.started = time.time()
        self.ids = Ids()
        self.database = database
        self.agents = Agents(database)
        self.requests = Requests(database)
        origin = f"{id}/{self.boot_id}"
        self.events = Events(origin)
        self.roster = Roster(origin, self.events)
        self.routes = RouteBook(database, origin, self._routes_changed)

    def configure(self, config: HubConfig) -> None:
        """Go by these settings, from the next request or connection on; those of listeners are not looked at."""
        self.config = config
        self.limits = config.limits
        self.timeouts = config.timeouts
        # Read for every request; a settings model's attributes are slow.
        self.response_timeout = config.timeouts.response
        self.idle_timeout = config.timeouts.idle
        given = config.limits
        self.http_limits = Limits(
            target=given.line, line=given.line, head=given.head, fields=given.fields, body=given.body
        )
        self.pick = POLICIES[config.policy]
        self._readers.clear()
        self.budget.allow(config.limits.connections)
        self.quotas.configure()
        self.router.serve_domain(config.domain)
        for connection in self.connections:
            # What became of the last head was decided by the old settings.
            connection.reader.forget()

    def _routes_changed(self, table: Table | None) -> None:
        self.router.table = table
        for connection in self.connections:
            # What became of the last head was decided by the old routes.
            connection.reader.forget()

    def drain_session(self, entry: AgentSession, deadline: float, reason: str, *, actor: str = "hub") -> None:
        """Take a session out of service; what is open is cut after ``deadline`` seconds."""
        self.leaving.drain(entry, deadline, reason, actor=actor)

    def evict_session(self, entry: AgentSession, reason: str, *, actor: str = "hub") -> int:
        """Reset a session's streams and close it now; returns how many streams that were. Idempotent."""
        return self.leaving.evict(entry, reason, actor=actor)

    def limits_for(self, agent_id: str) -> AgentLimits:
        """What an agent may use: its own limits, and the hub's where it has none."""
        return self.quotas.limits_of(agent_id)

    def apply_limits(self, agent_id: str, given: LimitsLike) -> AgentLimits:
        """Limit an agent from its next request on; returns what holds then. 0 means the hub's own setting.

        Raises:
            ValueError: one cannot be; the text names it.
        """
        return self.quotas.apply(agent_id, given)

    def next_id(self) -> bytes:
        """A request id: unique in this process, and with high probability among all."""
        self._ids += 1
        return b"%b%08x" % (self._id_prefix, self._ids)

    def take_reader(self) -> ResponseReader:
        """A reader for one response."""
        readers = self._readers
        return readers.pop() if readers else ResponseReader(self.http_limits, self.answers)

    def return_reader(self, reader: ResponseReader) -> None:
        """Keep a reader whose response is complete."""
        if len(self._readers) < SPARE_READERS and not reader.buffered:
            self._readers.append(reader)

    def reject(self, code: str, message: str, peer: str, request_id: str = "", agent: str = "") -> None:
        """Count a refusal and log it, at most 100 lines a second for each reason."""
        self.stats.rejects[code] += 1
        self.rejects.reject(code, message, peer=peer, request_id=request_id, agent=agent)

    def stream_error(self, code: str, message: str, request_id: str, agent: str) -> None:
        """Count and log an exchange that failed on the agent's side."""
        self.stats.stream_errors[code] += 1
        self.rejects.reject(code, message, request_id=request_id, agent=agent)

    def note_tunnel_error(self, code: bytes) -> None:
        """Count an error the agent told of. The codes are its own, so only a bounded number of them is told apart."""
        label = code.decode("latin-1")
        counts = self.stats.tunnel_errors
        known = label in counts or (len(counts) < MAX_TUNNEL_ERRORS and _CODE.fullmatch(label) is not None)
        counts[label if known else "other"] += 1

    def log_access(self, exchange: Exchange, status: int, reason: str) -> None:
        """Leave a line for a finished exchange. Only with an access log."""
        log = self.access_log
        assert log is not None
        route = exchange.route
        outcome = route.outcome
        if outcome is None or outcome[-1] != status:
            head = exchange.head
            # The same head on the same connection comes again, with its route.
            outcome = route.outcome = (exchange.front.link.peer, head.method, head.path, route.agent_id, status)
        log.add((exchange.began, self.loop.time(), exchange.request_id, outcome, exchange.size_out, reason))

    def log_local(self, front: Front, head: RequestHead, status: int, size: int, reason: str) -> None:
        """Leave a line for a request the hub answered itself. Only with an access log."""
        log = self.access_log
        assert log is not None
        exchange, now = front.exchange, self.loop.time()
        began = exchange.began if exchange is not None else now
        agent = exchange.route.agent_id if exchange is not None else ""
        outcome = (front.link.peer, head.method, head.path, agent, status)
        log.add((began, now, front.request_id, outcome, size, reason))

    def sweep(self, now: float) -> None:
        """Look at every deadline once.

        Args:
            now: monotonic seconds.
        """
        self.now = now
        if self.pools.expected:
            self.pools.sweep(now)
        if self.budget.full:
            self._shed_idle(now)
        due = [connection for connection in self.connections if connection.deadline <= now]
        for connection in due:
            connection.expired(now)
        for tunnel in list(self.tunnels):
            tunnel.check(now)
        self.roster.look()
        self.roster.forget_closed(time.time())
        if self.desk is not None and self.pools.draining:
            self.desk.close_idle()
        for pool in list(self.pools.pools.values()):
            if pool.waiters:
                pool.wake()

    def _shed_idle(self, now: float) -> None:
        """Make room: close connections that have asked for nothing for a second, instead of letting others wait."""
        fresh, kept = self.timeouts.header, self.idle_timeout
        for connection in list(self.connections):
            left = connection.deadline - now
            quiet = left <= fresh - IDLE_GRACE or fresh < left <= kept - IDLE_GRACE
            if connection.phase == IDLE and not connection.write_paused and quiet:
                self.stats.connections_shed += 1
                connection.close()


def _nothing() -> None:
    """No listener to pause."""
