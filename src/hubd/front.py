"""A visitor's requests: reads them one after the other, answers what is the hub's own, hands on the rest.

One request is in progress at a time; what a visitor sends ahead is held up to a limit, then reading stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hubd.connection import ACTIVE, ATTACH, HEAD, IDLE, LINGER, OVER, Connection
from hubd.dates import date_line
from hubd.exchange import Exchange
from hubd.headers import given_request_id, passed_here
from hubd.metered import MeteredExchange
from hubd.peers import is_dead, probe
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
from tunnel.http1 import BadMessage, Piece, RequestHead

if TYPE_CHECKING:
    from hubd.state import Hub


class Front(Connection):
    """Protocol of one visitor connection. Serves attach requests on the same port.

    Attributes:
        request_id: of the request in progress, b"" if it has none.
        held: the request in progress waits for a decision.
    """

    __slots__ = ("_pumping", "held", "request_id")

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.request_id = b""
        self._pumping = self.held = False

    # -- the transport's calls ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        phase = self.phase
        if phase >= LINGER:
            self.discard(len(data))
            return
        if phase == IDLE and not self.write_paused:
            head = self.reader.repeated(data)
            if head is not None:
                # A repeated head has the same fate on the same connection.
                route = head.memo
                if type(route) is Route and route.clear:
                    hub = self.hub
                    hub.stats.requests += 1
                    self.phase = ACTIVE
                    if hub.guard is None:
                        self.go_on(head, route)
                    else:
                        self._forward(head, route)
                else:
                    self._begin(head)
                return
        self.reader.feed(data)
        if phase <= HEAD:
            self._pump()
        else:
            self._more()

    def eof_received(self) -> bool:
        self.eof = True
        phase = self.phase
        if phase <= HEAD:
            if self.reader.buffered and not self.write_paused:
                self.hub.stats.rejects["truncated_head"] += 1
            self._pump()
            return self.phase != OVER and not self.link.secure
        half_open = phase == ACTIVE and (self.exchange is not None or self.held) and self.reader.body_done
        if half_open and not self.link.secure:
            # A half-close after the request: it still gets its answer (TLS has no such thing). From here on a reset is
            # not reported by the loop any more, so the sweep looks for it.
            self.deadline = 0.0
            probe(self.transport)
            return True
        if self.exchange is not None:
            self.exchange.visitor_gone()
        self.phase = OVER
        return False

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.phase != HEAD:
            self.deadline = 0.0
        if self.exchange is not None:
            self.exchange.visitor_full()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.exchange is not None:
            self.exchange.visitor_drained()
        elif self.phase == IDLE:
            self.deadline = self.hub.now + self.hub.idle_timeout
            self._pump()

    # -- reading ------------------------------------------------------------------------------------------------------

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
            while self.phase <= HEAD and not self.write_paused:
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
            self.close()
            return
        if self.read_paused:
            self.resume_reading()
        if self.phase == IDLE and self.reader.buffered:
            self.phase = HEAD
            self.deadline = self.hub.loop.time() + self.hub.timeouts.header

    # -- requests -----------------------------------------------------------------------------------------------------

    def _begin(self, head: RequestHead) -> None:
        hub = self.hub
        hub.stats.requests += 1
        self.phase = ACTIVE
        self.request_id = b""
        route = head.memo
        if route is None:
            route = head.memo = hub.router.resolve(head, self.sni)
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
                route.given = given_request_id(head)
                route.clear = True
                self._forward(head, route)
        elif isinstance(route, Reason):
            self.refuse(route, head)
        else:
            assert isinstance(route, Local)
            self._local(head, route)

    def _forward(self, head: RequestHead, route: Route) -> None:
        guard = self.hub.guard
        if guard is None or guard.admits(self, head, route):
            self.go_on(head, route)

    def release(self) -> bool:
        """A decision was made on the request that was held; False if nobody waits for it any more."""
        self.held = False
        return self.phase == ACTIVE

    def go_on(self, head: RequestHead, route: Route) -> None:
        """Send a request on that may go on."""
        if self.read_paused:
            self.resume_reading()
        hub = self.hub
        gate = hub.gate
        meter = None
        if gate is not None:
            refused = gate.refuses(self, head, route)
            if refused is not None:
                self.refuse(refused, head)
                return
            meter = route.ticket.meter if route.ticket is not None else None
        pieces: Sequence[Piece] = ()
        done = True
        if head.framing:
            reader = self.reader
            pieces = reader.read_body()
            done = reader.body_done
            if self.eof and not done:
                # It came, and ended, behind a request that was being served: the rest of its body never comes.
                hub.stats.rejects["truncated_body"] += 1
                self.close()
                return
        self.request_id = request_id = route.given or hub.next_id()
        if meter is None:
            exchange = Exchange(hub, self, head, route, request_id)
        else:
            exchange = MeteredExchange(hub, self, head, route, request_id)
            exchange.set_meter(meter)
        self.exchange = exchange
        exchange.start(pieces, done)

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
        lines += date_line()
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
        if not head.keep_alive or head.upgrade is not None or (self.hub.draining and not self.movable):
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
        if self.phase == OVER:
            return
        if not keep:
            self.end()
            return
        self.phase = IDLE
        if not self.write_paused:
            self.deadline = self.hub.now + self.hub.idle_timeout
        if self.hub.draining:
            # It was kept because it can move.
            self.drain()
            return
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
            self.close()
            return
        extra = b"".join(b"%b: %b\r\n" % field for field in fault.fields)
        self.transport.write(error_response(reason, request_id, close=True, extra=extra))
        self.linger()

    # -- deadlines ----------------------------------------------------------------------------------------------------

    def expired(self, now: float) -> None:
        """`deadline` has passed. Called by the sweep."""
        phase = self.phase
        if phase == ACTIVE:
            exchange = self.exchange
            if (self.eof or self.read_paused) and is_dead(self.transport):
                self.abort()
            elif exchange is not None:
                again = exchange.check(now)
                if self.exchange is exchange and not exchange.over:
                    self.deadline = again
        elif phase == HEAD:
            self._timeout_head()
        elif phase == LINGER or (phase == IDLE and not self.write_paused):
            if self.agents_only and phase == IDLE:
                self.hub.stats.connections_shed += 1
            self.close()
        elif phase != ATTACH:
            # Closing, or full of answers nobody reads.
            if self.deadline == 0.0:
                self.deadline = now + self.hub.timeouts.stall
            else:
                self.abort()

    def _timeout_head(self) -> None:
        request_id = self.hub.next_id().decode()
        self.hub.reject(HEADER_TIMEOUT.code, HEADER_TIMEOUT.message, self.link.peer, request_id)
        self.transport.write(error_response(HEADER_TIMEOUT, request_id, close=True))
        self.linger()
