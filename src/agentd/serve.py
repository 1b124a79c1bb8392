"""What all exchanges of an agent share: targets, readers, counters, deadlines, and the way to end them all."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from agentd.exchange import Exchange
from agentd.guard import Guard
from agentd.memory import Memory
from agentd.pool import TargetConnection, TargetPool
from agentd.reasons import LEFT, STALLED, Reason
from agentd.tunnels import Opening
from agentd.watch import Watch, has_stalled, judge
from tunnel.http1 import Limits, RequestReader
from tunnel.logs import RejectLog
from tunnel.splice import Splice
from tunnel.targets import Target, allow_list, normal_name
from yamux.carrier import TlsOptions

if TYPE_CHECKING:
    from agentd.config import AgentConfig
    from yamux import StreamTransport

logger = logging.getLogger("agentd.serve")

# Readers kept for the next exchange; making one costs more than a look-up in its rules.
SPARE_READERS = 256
# The hub has checked the request against its own limits (limits.head, .line, .fields: at most 128 KiB, 64 KiB, 500), then
# added the path once more and fields of its own.
HUB_LIMITS = Limits(target=80 * 1024, line=80 * 1024, head=256 * 1024, fields=560)


class Server:
    """Serves streams.

    Args:
        config: checked settings.
        targets: the allow-list; the first one is the default.
        tls: authorities to trust for ``https://`` targets.
        clock: monotonic seconds; the loop's by default.

    Attributes:
        now: monotonic seconds as of the last sweep.
        open: exchanges in progress.
        openings: CONNECTs that have no connection yet.
        tunnels: upgraded connections, each with what was seen of it last.
        pools: connections to the targets, in the order of the list.
        retired: pools of targets no longer listed, until what they serve has ended.
        allowed: pool by value of ``X-Proxy-Host``.
        default: pool for requests that name no target; None serves none.
        default_tunnel: TCP target for a CONNECT that names none.
        hold: bytes of a request kept for a second try, or until there is a connection.
        errors: exchanges that failed, by code.
        guard: knows the agent's own places, which are no targets.
        memory: requests that may come again.
        served: exchanges answered by a target, upgrades included.
        retries: requests sent a second time.
        draining: no stream will come any more.
        quiet: set once nothing is in progress while draining.
    """

    def __init__(
        self,
        config: AgentConfig,
        targets: Iterable[Target],
        *,
        tls: TlsOptions | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._clock = clock or self.loop.time
        self.now = self._clock()
        self.guard = Guard()
        self.configure(config)
        self.open: set[Exchange] = set()
        self.tunnels: dict[Splice, Watch] = {}
        self.errors: Counter[str] = Counter()
        self.served = self.retries = 0
        self.draining = False
        self.quiet = asyncio.Event()
        self.memory = Memory()
        self._rejects = RejectLog(logger)
        self._readers: list[RequestReader] = []
        self.target_tls = tls or TlsOptions()
        self.max_idle = config.limits.idle_connections
        self.pools: list[TargetPool] = []
        self.retired: list[TargetPool] = []
        self.openings: set[Opening] = set()
        self.set_targets(targets)
        # A protocol for one more stream. Made by the class itself, since it is asked for with every request.
        self.exchange = partial(Exchange, self)

    def __repr__(self) -> str:
        return f"<Server targets={len(self.pools)} open={len(self.open)} tunnels={len(self.tunnels)}>"

    def configure(self, config: AgentConfig) -> None:
        """Go by these settings from now on, as far as they concern single exchanges."""
        self.keep_host = config.keep_host
        self.hold = config.limits.hold
        self.timeouts = config.timeouts
        self.guard.know(config.hub)

    def set_targets(self, targets: Iterable[Target]) -> None:
        """Serve these from now on; what goes on with others ends in peace.

        Args:
            targets: the allow-list; the first one of each kind is the default. Two may have the same address, never the
                same name.
        """
        listed = list(targets)
        requests, tunnels = allow_list(listed, first=True), allow_list(listed, tcp=True, first=True)
        known = {pool.target.place_and_base: pool for pool in self.pools}
        self.pools = []
        for target in listed:
            if target.tcp:
                continue
            pool = known.pop(target.place_and_base, None) or self._pool(target)
            pool.target = target
            self.pools.append(pool)
        for pool in known.values():
            pool.retire()
            self.retired.append(pool)
        by_target = {id(pool.target): pool for pool in self.pools}
        self.allowed = {name: by_target[id(target)] for name, target in requests.items()}
        self.default = self.pools[0] if self.pools else None
        self._tunnels = tunnels
        self.default_tunnel = next((target for target in listed if target.tcp), None)
        # What it remembers names pools.
        self.memory = Memory()

    def _pool(self, target: Target) -> TargetPool:
        return TargetPool(
            target,
            limits=HUB_LIMITS,
            max_idle=self.max_idle,
            idle_seconds=self.timeouts.keep_alive,
            dial_seconds=self.timeouts.dial,
            tls=self.target_tls,
            clock=self._clock,
            guard=self.guard,
        )

    def set_idle_connections(self, count: int) -> None:
        """Keep at most so many idle connections to each target."""
        self.max_idle = count
        for pool in self.pools:
            pool.max_idle = count

    @property
    def active(self) -> int:
        """Exchanges and upgraded connections in progress."""
        return len(self.open) + len(self.tunnels) + len(self.openings)

    def find(self, asked: bytes) -> TargetPool | None:
        """The pool for an ``X-Proxy-Host`` in another spelling of its name; None if it is not allowed."""
        return self.allowed.get(normal_name(asked))

    def find_tunnel(self, asked: bytes) -> Target | None:
        """The TCP target of that name or address; None if it is not listed."""
        return self._tunnels.get(normal_name(asked))

    def take_reader(self) -> RequestReader:
        """A reader for one request."""
        readers = self._readers
        return readers.pop() if readers else RequestReader(HUB_LIMITS, trusted=True)

    def return_reader(self, reader: RequestReader) -> None:
        """Keep a reader whose request is complete."""
        if len(self._readers) < SPARE_READERS and not reader.buffered:
            self._readers.append(reader)

    # -- what exchanges tell -----------------------------------------------------------------------------------------

    def leave(self, exchange: Exchange) -> None:
        """An exchange is over."""
        self.open.discard(exchange)
        if exchange.response is not None:
            self.served += 1
        self._look_quiet()

    def begin_tunnel(self, exchange: Exchange, data: bytes) -> None:
        """A stream begins like a CONNECT: take it from its exchange.

        Args:
            exchange: will not be told anything more, unless it gets the stream back.
            data: what came so far.
        """
        self.open.discard(exchange)
        opening = Opening(self, exchange, exchange.stream)
        self.openings.add(opening)
        opening.data_received(data)

    def leave_opening(self, opening: Opening) -> None:
        """A CONNECT is decided."""
        self.openings.discard(opening)
        self._look_quiet()

    def join(self, stream: StreamTransport, connection: TargetConnection, early: bytes, *, stream_full: bool) -> None:
        """An exchange has become an upgraded connection.

        Args:
            stream: its 101 is written.
            connection: of the target.
            early: what the visitor sent behind its request.
            stream_full: the stream does not take more at the moment.
        """
        connection.user = None
        connection.pool.forget(connection)
        rest = connection.reader.take_rest()
        self.tunnel(
            lambda on_end: Splice(
                stream, connection.transport, to_left=rest, to_right=early, left_full=stream_full, on_end=on_end
            )
        )

    def tunnel(self, join: Callable[[Callable[[Splice], None]], Splice]) -> None:
        """Count one more upgraded connection and look after it.

        Args:
            join: makes it; is given what it calls at its end.
        """
        splice = join(self._ended)
        self.served += 1
        if not (splice.left.lost and splice.right.lost):
            self.tunnels[splice] = Watch(splice.moved, self.now)

    def _ended(self, splice: Splice) -> None:
        self.tunnels.pop(splice, None)
        self._look_quiet()

    def _look_quiet(self) -> None:
        if self.draining and not self.active:
            self.quiet.set()

    def failed(self, exchange: Exchange | Opening, reason: Reason, detail: str) -> None:
        """Count a failure and log it, at most 100 lines a second for each reason."""
        self.errors[reason.code] += 1
        if reason is LEFT:
            # Visitors leave all the time; the hub keeps the log of it.
            return
        request_id = exchange.request_id.decode("ascii")
        self._rejects.reject(
            reason.code, reason.message, level=logging.WARNING,
            target=exchange.target_name, detail=detail, request_id=request_id,
        )  # fmt: skip

    # -- deadlines and the end ---------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Look at every deadline once.

        Args:
            now: monotonic seconds.
        """
        self.now = now
        for exchange in list(self.open):
            reason = judge(exchange, now, self.timeouts)
            if reason is None or exchange.over:
                continue
            if reason.status:
                exchange.refuse(reason, "")
            else:
                exchange.give_up(reason)
        for splice, watch in list(self.tunnels.items()):
            if has_stalled(splice, watch, now, self.timeouts):
                self.errors[STALLED.code] += 1
                splice.abort()
        for pool in self.pools:
            pool.sweep(now)
        if self.retired:
            self.retired = [pool for pool in self.retired if not pool.is_over]

    def drain(self) -> None:
        """Have ``quiet`` set as soon as nothing is in progress."""
        self.draining = True
        self._look_quiet()

    def cut(self) -> None:
        """End everything that is still in progress."""
        for exchange in list(self.open):
            exchange.give_up(STALLED, "the agent is shutting down")
        for opening in list(self.openings):
            opening.give_up(STALLED, "the agent is shutting down")
        for splice in list(self.tunnels):
            splice.abort()

    async def close(self) -> None:
        """Cut what is in progress and close every connection. To be called once no stream can come any more."""
        self.cut()
        for pool in [*self.pools, *self.retired]:
            await pool.close()
        # Transports report their end one turn of the loop after abort().
        await asyncio.sleep(0)
        self._rejects.flush()
