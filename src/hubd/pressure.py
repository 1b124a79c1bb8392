"""All bytes the hub holds for others, counted twice a second, and what happens when they are too many (row D12).

Every connection has its own marks, so that a count now and then is enough. Near the limit nothing more is read, neither
from visitors nor from agents, while what is held goes on leaving; nearer still, new requests are refused.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hubd.connection import ACTIVE, IDLE
from tunnel.splice import Splice

if TYPE_CHECKING:
    from hubd.exchange import Exchange
    from hubd.state import Hub

logger = logging.getLogger("hubd")

HOLD = 0.95
"""Part of the limit at which reading stops (Envoy shrinks its buffers there)."""
REFUSE = 0.98
"""Part at which new requests are refused (Envoy stops accepting there)."""
RELEASE = 0.90
"""Part at which reading goes on: what lies between keeps it from flapping."""


class Pressure:
    """Counts, and acts on the count.

    Args:
        hub: whose.

    Attributes:
        buffered: bytes held at the last look.
        holding: reading is stopped.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._exchanges: set[Exchange] = set()
        self._splices: set[Splice] = set()
        self.buffered = 0
        self.holding = False

    def look(self) -> None:
        """Count, and stop or go on."""
        hub = self._hub
        self.buffered = held = self._count()
        limit = hub.limits.buffered
        if held >= limit * HOLD:
            if not self.holding:
                self.holding = True
                hub.stats.buffer_pauses += 1
                logger.error("buffers are nearly full: nothing is read", extra={"bytes": held, "limit": limit})
            self._hold()
        elif self.holding and held <= limit * RELEASE:
            self.holding = False
            self._release()
            logger.info("buffers have room again", extra={"bytes": held})
        refuse = held >= limit * REFUSE or (hub.quotas.shedding and self.holding)
        if refuse != hub.quotas.shedding:
            hub.quotas.shed(refuse)

    def _count(self) -> int:
        hub = self._hub
        held = 0
        for front in hub.connections:
            exchange = front.exchange
            if front.phase != IDLE or front.write_paused:
                held += front.transport.get_write_buffer_size() + front.reader.buffered
                if exchange is not None:
                    held += exchange.held_bytes
        for tunnel in hub.tunnels:
            if isinstance(tunnel, Splice):
                held += sum(tunnel.moved[2:])
        for entry in hub.pools.sessions():
            transport = entry.session.transport
            if transport is not None:
                held += transport.get_write_buffer_size()
        return held

    def _hold(self) -> None:
        """Read nothing more of what is in progress. Said at every look: marks and new requests start reading again."""
        for front in self._hub.connections:
            exchange = front.exchange
            if front.phase == ACTIVE and exchange is not None and exchange.stream is not None:
                self._exchanges.add(exchange)
                exchange.stream.pause_reading()
                if not exchange.sent_all:
                    front.pause_reading()
        for tunnel in self._hub.tunnels:
            if isinstance(tunnel, Splice):
                self._splices.add(tunnel)
                for side in (tunnel.left, tunnel.right):
                    if not side.lost:
                        side.transport.pause_reading()

    def _release(self) -> None:
        """Read on, but for what a mark of its own has stopped."""
        for exchange in self._exchanges:
            if exchange.over or exchange.stream is None:
                continue
            if not exchange.front.write_paused:
                exchange.visitor_drained()
            if not exchange.sent_all and not exchange.stream.is_full:
                exchange.resume_writing()
        for splice in self._splices:
            for side in (splice.left, splice.right):
                if not side.lost and not side.other.full:
                    side.transport.resume_reading()
        self._exchanges.clear()
        self._splices.clear()
