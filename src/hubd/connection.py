"""A visitor's connection without its requests: reading on and off, and every way to end it.

All deadlines are kept by the hub's sweep: `deadline` says when a connection wants to be looked at.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from hubd.headers import Link, is_trusted
from hubd.peers import address_of, server_name
from tunnel.cutting import cut
from tunnel.http1 import RequestReader

if TYPE_CHECKING:
    from hubd.exchange import Exchange
    from hubd.identity.visitors import Shown
    from hubd.state import Hub

# Bytes waiting for a visitor before the agent's stream is paused, and before it goes on. uvloop's own low mark is 16
# bytes, and TLS transports' high one 512 KiB.
HIGH_MARK = 64 * 1024
LOW_MARK = 16 * 1024
NEVER: Final = float("inf")
RESERVED_SECONDS = 1.0
"""For the head on a connection beyond the visitors' share of descriptors."""

# What a connection is doing. Plain numbers: an enum's members cost a call each, and these are read for every request.
IDLE: Final = 0
"""Between requests."""
HEAD: Final = 1
"""Part of a head is there."""
ACTIVE: Final = 2
"""A request is being served."""
ATTACH: Final = 3
"""An agent waits for its 101."""
LINGER: Final = 4
"""The last answer is out; what still comes is dropped."""
OVER: Final = 5
"""Closed, or somebody else's."""
PHASES = ("idle", "head", "active", "attach", "linger", "over")


class Connection(asyncio.Protocol):
    """Transport, reader and phase of one visitor connection.

    Attributes:
        deadline: monotonic seconds at which the sweep calls `expired`; 0 is every sweep.
        phase: one of the numbers above.
        eof: the visitor has sent its last byte.
        agents_only: the visitors' share of descriptors was used up when it came.
        shown: what its certificate is worth; None before anybody asked.
        sni: server name of its TLS handshake.
        unframed: a response is being sent whose only end is the connection's (RFC 9112 section 6.3).
    """

    __slots__ = (
        "_discarded",
        "agents_only",
        "deadline",
        "eof",
        "exchange",
        "hub",
        "link",
        "phase",
        "read_paused",
        "reader",
        "shown",
        "sni",
        "transport",
        "unframed",
        "write_paused",
    )

    transport: asyncio.Transport
    link: Link

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.reader = RequestReader(hub.http_limits)
        self.exchange: Exchange | None = None
        self.phase: int = IDLE
        self.deadline = NEVER
        self.eof = False
        self.read_paused = False
        self.write_paused = self.unframed = False
        self.agents_only = False
        self.sni: str | None = None
        self.shown: Shown | None = None
        self._discarded = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {PHASES[self.phase]} eof={self.eof} exchange={self.exchange!r}>"

    @property
    def gone(self) -> bool:
        """Whether no answer can be given any more."""
        return self.phase >= LINGER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        hub = self.hub
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's
        self.transport.set_write_buffer_limits(HIGH_MARK, LOW_MARK)
        peer, authority = address_of(self.transport)
        secure = transport.get_extra_info("ssl_object") is not None
        self.link = Link(peer, authority, secure=secure, trusted=is_trusted(peer, hub.config.trusted_proxies))
        self.sni = server_name(self.transport) if secure else None
        self.deadline = hub.loop.time() + hub.timeouts.header
        hub.connections.add(self)
        hub.stats.connections += 1
        hub.budget.visitors += 1
        self.agents_only = hub.budget.agents_only
        if self.agents_only:
            # It holds what is kept for agents, and an agent speaks at once.
            self.deadline = min(self.deadline, hub.loop.time() + RESERVED_SECONDS)
        hub.on_budget()
        if hub.draining and hub.heir is not None:
            # Accepted at the last moment.
            self.drain()

    def connection_lost(self, exc: Exception | None) -> None:
        self.phase = OVER
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.visitor_gone()
        self._leave()
        self.hub.budget.visitors -= 1
        self.hub.on_budget()

    # -- reading ------------------------------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        """Read no more from the visitor; the sweep then looks whether it is still there."""
        if not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            self.deadline = 0.0
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self.read_paused:
            self.read_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    # -- the end ------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Close once the answer has left, without a reset that could overtake it."""
        if self.eof or (self.reader.body_done and not self.reader.buffered and not self.read_paused):
            self.close()
        else:
            self.linger()

    def close(self) -> None:
        """Close once everything has left; cut it if the visitor does not take it."""
        self.phase = OVER
        self.deadline = self.hub.now + self.hub.timeouts.stall
        self.transport.close()

    def linger(self) -> None:
        """Say the last byte was sent, and drop what still comes for a moment: a close with bytes unread would reset
        the connection, and the answer might never be seen (RFC 9112 section 9.6)."""
        if self.eof:
            self.close()
            return
        self.phase = LINGER
        self.deadline = self.hub.loop.time() + self.hub.timeouts.linger
        self.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def discard(self, size: int) -> None:
        """Count bytes that came too late; of more than is dropped, none is read, and the visitor has until the deadline to
        read its answer, which a close with bytes unread would overtake."""
        self._discarded += size
        if self._discarded > self.hub.limits.linger and not self.read_paused and self.phase == LINGER:
            self.read_paused = True
            self.transport.pause_reading()

    def abort(self) -> None:
        """Cut the connection, so that an incomplete answer shows as such."""
        self.phase = OVER
        if self.unframed:
            cut(self.transport)
        else:
            # What has left may still arrive, which a reset would prevent.
            self.transport.abort()

    def hand_over(self) -> None:
        """The connection is about to get another protocol."""
        self.phase = OVER
        self.exchange = None
        self._leave()

    @property
    def movable(self) -> bool:
        """Whether the connection can go on in the process that follows this one."""
        return self.hub.heir is not None and not self.link.secure

    def let_go(self) -> None:
        """Another process has the connection now: forget it here without a word to the visitor."""
        self.phase = OVER
        self.transport.abort()

    def drain(self) -> None:
        """The hub is about to stop: close if nothing is in progress, or move to the process that follows."""
        heir = self.hub.heir
        if heir is not None and self.phase <= HEAD and heir.take(self):
            return
        if self.phase == IDLE and not self.write_paused:
            self.close()

    def wait_for_attach(self) -> None:
        """The attach desk decides, and keeps the deadline."""
        self.phase = ATTACH
        self.deadline = NEVER

    def expired(self, now: float) -> None:
        """`deadline` has passed. Called by the sweep with monotonic seconds."""
        raise NotImplementedError

    def _leave(self) -> None:
        self.deadline = NEVER
        self.hub.connections.discard(self)
