"""A visitor's connection: reads requests one after the other, answers what is the hub's own, hands on the rest.

One request is in progress at a time; what a visitor sends ahead is held up to a limit, then reading stops. All
deadlines are kept by the hub's sweep: `deadline` says when this connection wants to be looked at.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import TYPE_CHECKING, cast

from hubd.exchange import Exchange
from hubd.headers import Link, given_request_id, is_trusted, passed_here
from hubd.peers import address_of, is_dead, server_name
from hubd.reasons import (
    HEADER_TIMEOUT,
    HUB_DRAINING,
    LOOP,
    OVERLOADED,
    Reason,
    error_response,
    of_message,
)
from hubd.routes import Local, Route
from tunnel.http1 import BadMessage, RequestHead, RequestReader

if TYPE_CHECKING:
    from hubd.state import Hub

HIGH_MARK = 64 * 1024
LOW_MARK = 16 * 1024
_NEVER = float("inf")
_UNREADABLE = b"-"


class Phase(IntEnum):
    """What a connection is doing."""

    IDLE = 0  # between requests
    HEAD = 1  # part of a head is there
    ACTIVE = 2  # a request is being served
    ATTACH = 3  # an agent waits for its 101
    LINGER = 4  # the last answer is out; what still comes is dropped
    OVER = 5  # closed, or somebody else's


class Front(asyncio.Protocol):
    """Protocol of one visitor connection. Serves attach requests on the same port."""

    __slots__ = (
        "_discarded",
        "_pumping",
        "agents_only",
        "deadline",
        "eof",
        "exchange",
        "hub",
        "link",
        "phase",
        "read_paused",
        "reader",
        "request_id",
        "sni",
        "transport",
        "write_paused",
    )

    transport: asyncio.Transport
    link: Link

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.reader = RequestReader(hub.http_limits)
        self.exchange: Exchange | None = None
        self.phase = Phase.IDLE
        self.deadline = _NEVER
        self.eof = False
        self.read_paused = False
        self.write_paused = False
        self.agents_only = False
        self.sni: str | None = None
        self.request_id = b""
        self._pumping = False
        self._discarded = 0

    @property
    def gone(self) -> bool:
        """Whether no answer can be given any more."""
        return self.phase >= Phase.LINGER

    def __repr__(self) -> str:
        return f"<Front {self.phase.name} eof={self.eof} exchange={self.exchange!r}>"

    # -- the transport's calls ----------------------------------------------------------------------------------------

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
        budget = hub.budget
        budget.visitors += 1
        self.agents_only = budget.agents_only
        if budget.full:
            hub.on_budget()

    def data_received(self, data: bytes) -> None:
        phase = self.phase
        if phase >= Phase.LINGER:
            self._discard(len(data))
            return
        self.reader.feed(data)
        if phase <= Phase.HEAD:
            self._pump()
        else:
            self._more()

    def eof_received(self) -> bool:
        self.eof = True
        phase = self.phase
        if phase <= Phase.HEAD:
            if self.reader.buffered and not self.write_paused:
                self.hub.stats.rejects["truncated_head"] += 1
            self._pump()
            return self.phase != Phase.OVER
        if phase is Phase.ACTIVE and self.exchange is not None and self.reader.body_done:
            # A half-close after the request: it still gets its answer. From here on a reset is not reported by the
            # loop any more, so the sweep looks for it.
            self.deadline = 0.0
            return True
        if self.exchange is not None:
            self.exchange.visitor_gone()
        self.phase = Phase.OVER
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.phase = Phase.OVER
        if self.exchange is not None:
            self.exchange.visitor_gone()
            self.exchange = None
        self._leave()
        self.hub.budget.visitors -= 1
        self.hub.on_budget()

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.phase is not Phase.HEAD:
            self.deadline = 0.0
        if self.exchange is not None:
            self.exchange.visitor_full()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.exchange is not None:
            self.exchange.visitor_drained()
        elif self.phase is Phase.IDLE:
            self.deadline = self.hub.now + self.hub.timeouts.idle
            self._pump()

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

    def _more(self) -> None:
        """Bytes came while a request is in progress: its body, or what is sent ahead."""
        exchange = self.exchange
        reader = self.reader
        if exchange is not None and not exchange.sent_all:
            try:
                pieces = reader.read_body()
            except BadMessage as fault:
                self._bad(fault)
                return
            exchange.send_body(pieces, reader.body_done)
        elif reader.buffered > self.hub.limits.ahead:
            self.pause_reading()

    def _pump(self) -> None:
        """Serve what is in the buffer, until a request is in progress or bytes are missing."""
        if self._pumping:
            return
        self._pumping = True
        reader = self.reader
        try:
            while self.phase <= Phase.HEAD and not self.write_paused:
                head = reader.next_head()
                if head is None:
                    self._wait()
                    break
                self._begin(head)
        except BadMessage as fault:
            self._bad(fault)
        finally:
            self._pumping = False

    def _wait(self) -> None:
        if self.eof:
            self._close()
            return
        if self.read_paused:
            self.resume_reading()
        if self.phase is Phase.IDLE and self.reader.buffered:
            self.phase = Phase.HEAD
            self.deadline = self.hub.loop.time() + self.hub.timeouts.header

    # -- requests -----------------------------------------------------------------------------------------------------

    def _begin(self, head: RequestHead) -> None:
        hub = self.hub
        hub.stats.requests += 1
        self.phase = Phase.ACTIVE
        self.request_id = b""
        route = hub.router.resolve(head, self.sni)
        if type(route) is Route:
            if head.upgrade is not None and head.upgrade != b"websocket":
                head.upgrade = None
                self.reader.decline_upgrade()
            if self.agents_only:
                hub.stats.connections_shed += 1
                self.refuse(OVERLOADED, head, close=True)
            elif passed_here(head, hub.via):
                self.refuse(LOOP, head)
            else:
                self._forward(head, route)
        elif isinstance(route, Reason):
            self.refuse(route, head)
        else:
            assert isinstance(route, Local)
            self._local(head, route)

    def _forward(self, head: RequestHead, route: Route) -> None:
        reader = self.reader
        pieces = reader.read_body() if head.framing else []
        given = given_request_id(head)
        self.request_id = given or self.hub.next_id()
        exchange = Exchange(self.hub, self, head, route, self.request_id, given is None)
        self.exchange = exchange
        exchange.start(pieces, reader.body_done)

    def _local(self, head: RequestHead, what: Local) -> None:
        if what is Local.ATTACH and self.hub.desk is not None:
            self.hub.desk.receive(self, head)
        elif what is Local.OPTIONS:
            self.answer(
                head, b"HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n", b""
            )
        elif head.method not in (b"GET", b"HEAD"):
            self.refuse(of_message(405, "method_not_allowed"), head, extra=b"Allow: GET, HEAD\r\n")
        elif self.hub.draining:
            self.refuse(HUB_DRAINING, head, count=False)
        else:
            body = b'{"status":"ok"}\n'
            lines = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: %d\r\n"
            self.answer(head, lines % len(body), b"" if head.method == b"HEAD" else body)

    def answer(self, head: RequestHead, lines: bytes, body: bytes) -> None:
        """Send an answer of the hub's own.

        Args:
            head: the request's.
            lines: status line and fields, each ended by CRLF.
            body: with the length the fields tell.
        """
        keep = self._may_keep(head)
        if not keep:
            lines += b"Connection: close\r\n"
        elif not head.minor:
            lines += b"Connection: keep-alive\r\n"
        self.transport.write(lines + b"\r\n" + body)
        if self.hub.access_log is not None:
            self.hub.log_local(self, head, int(lines[9:12]), len(body), "")
        self.finish(keep)

    def refuse(
        self, reason: Reason, head: RequestHead, *, close: bool = False, extra: bytes = b"", count: bool = True
    ) -> None:
        """Answer a well-formed request with an error.

        Args:
            reason: what to say.
            head: the request's.
            close: end the connection even if it could go on.
            extra: further field lines, each ended by CRLF.
            count: count and log it as a refusal.
        """
        keep = not close and self._may_keep(head)
        request_id = (self.request_id or self.hub.next_id()).decode("latin-1")
        if count:
            self.hub.reject(reason.code, "request refused", self.link.peer, request_id)
        if keep and not head.minor:
            extra += b"Connection: keep-alive\r\n"
        head_only = head.method == b"HEAD"
        data = error_response(reason, request_id, close=not keep, head_only=head_only, extra=extra)
        self.transport.write(data)
        if self.hub.access_log is not None:
            self.hub.log_local(self, head, reason.status, len(data), reason.code)
        self.finish(keep)

    def _may_keep(self, head: RequestHead) -> bool:
        """Whether another request may follow: the one answered must have been read to its end."""
        if not head.keep_alive or head.upgrade is not None or self.hub.draining:
            return False
        if not self.reader.body_done:
            try:
                self.reader.read_body()
            except BadMessage:
                return False
        return self.reader.body_done

    def finish(self, keep: bool) -> None:
        """The answer to the request in progress has been written.

        Args:
            keep: go on with the next request; otherwise the answer has said ``Connection: close``.
        """
        self.exchange = None
        if self.phase is Phase.OVER:
            return
        if not keep:
            self._end()
            return
        self.phase = Phase.IDLE
        if not self.write_paused:
            self.deadline = self.hub.now + self.hub.timeouts.idle
        if self.eof or self.read_paused or self.reader.buffered:
            self._pump()

    def _bad(self, fault: BadMessage) -> None:
        """Bytes that break a rule: answer if that still can be, and read nothing more."""
        exchange = self.exchange
        reason = of_message(fault.status, fault.reason)
        if exchange is not None:
            self.exchange = None
            exchange.give_up(reason)
            if exchange.started:
                self.abort()
                return
        request_id = self.hub.next_id().decode()
        self.hub.reject(fault.reason, "bad request", self.link.peer, request_id)
        if fault.silent:
            self._close()
            return
        extra = b"".join(b"%b: %b\r\n" % field for field in fault.fields)
        self.transport.write(error_response(reason, request_id, close=True, extra=extra))
        self._linger()

    def wait_for_attach(self) -> None:
        """The attach desk decides; it keeps the deadline."""
        self.phase = Phase.ATTACH
        self.deadline = _NEVER

    # -- the end ------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Close once the answer has left, without a reset that could overtake it."""
        if self.eof or (self.reader.body_done and not self.reader.buffered and not self.read_paused):
            self._close()
        else:
            self._linger()

    def _close(self) -> None:
        self.phase = Phase.OVER
        self.deadline = self.hub.now + self.hub.timeouts.stall
        self.transport.close()

    def _linger(self) -> None:
        if self.eof:
            self._close()
            return
        self.phase = Phase.LINGER
        self.deadline = self.hub.loop.time() + self.hub.timeouts.linger
        self.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > self.hub.limits.linger:
            self.phase = Phase.OVER
            self.transport.abort()

    def abort(self) -> None:
        """Cut the connection, so that an incomplete answer shows as such."""
        self.phase = Phase.OVER
        self.transport.abort()

    def hand_over(self) -> None:
        """The connection is about to get another protocol."""
        self.phase = Phase.OVER
        self.exchange = None
        self._leave()

    def _leave(self) -> None:
        self.deadline = _NEVER
        self.hub.connections.discard(self)

    def drain(self) -> None:
        """The hub is about to stop: close if nothing is in progress."""
        if self.phase is Phase.IDLE or (self.phase is Phase.HEAD and not self.reader.buffered):
            self._close()

    # -- deadlines ----------------------------------------------------------------------------------------------------

    def expired(self, now: float) -> None:
        """`deadline` has passed. Called by the sweep."""
        phase = self.phase
        if phase is Phase.ACTIVE:
            exchange = self.exchange
            if (self.eof or self.read_paused) and is_dead(self.transport):
                self.abort()
            elif exchange is not None:
                again = exchange.check(now)
                if self.exchange is exchange and not exchange.over:
                    self.deadline = again
        elif phase is Phase.HEAD:
            self._timeout_head()
        elif phase is Phase.LINGER or (phase is Phase.IDLE and not self.write_paused):
            self._close()
        elif phase is not Phase.ATTACH:
            # Closing, or full of answers nobody reads.
            if self.deadline == 0.0:
                self.deadline = now + self.hub.timeouts.stall
            else:
                self.abort()

    def _timeout_head(self) -> None:
        request_id = self.hub.next_id().decode()
        self.hub.reject(HEADER_TIMEOUT.code, HEADER_TIMEOUT.message, self.link.peer, request_id)
        self.transport.write(error_response(HEADER_TIMEOUT, request_id, close=True))
        self._linger()
