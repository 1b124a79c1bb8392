"""Connections to a port of a TCP route: each becomes a stream that begins with CONNECT, and then bytes both ways.

The visitor is not read before the agent has answered, so nothing of it needs to be kept; the kernel holds it back.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from hubd.joined import Joined
from hubd.peers import address_of, is_dead
from tunnel.cutting import cut
from yamux import SessionClosed, StreamLimit, YamuxError

if TYPE_CHECKING:
    from hubd.sessions import AgentSession, Pool
    from hubd.state import Hub
    from hubd.store.routes import RouteRecord
    from tunnel.splice import Splice
    from yamux import StreamTransport

logger = logging.getLogger("hubd.tcp")

HIGH_MARK = 64 * 1024
LOW_MARK = 16 * 1024
# An agent answers with a status line and a few fields.
MAX_ANSWER = 16 * 1024


class TcpVisitor(asyncio.Protocol):
    """A visitor of a TCP route until it is joined to its stream, and the stream's protocol until then.

    Args:
        hub: shared state.
        record: the route.

    Attributes:
        full: it takes no more at the moment.
        hub: shared state.
        over: it failed, or was joined.
        peer: its address.
    """

    transport: asyncio.Transport

    def __init__(self, hub: Hub, record: RouteRecord) -> None:
        self.hub = hub
        self._record = record
        self._entry: AgentSession | None = None
        self._waiting: Pool | None = None
        self._opening: _Opening | None = None
        self._deadline = 0.0
        self.peer = ""
        self.over = False
        self._eof = self.full = False
        self._early = b""

    # -- the visitor's calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        hub = self.hub
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's
        self.transport.set_write_buffer_limits(HIGH_MARK, LOW_MARK)
        self.peer = address_of(self.transport)[0]
        self.transport.pause_reading()
        hub.stats.connections += 1
        hub.budget.visitors += 1
        hub.on_budget()
        hub.active += 1
        hub.tunnels.add(self)
        why = self._refusal()
        if why:
            self.fail("tcp_refused", why)
            return
        self._deadline = hub.loop.time() + hub.timeouts.response
        if not self._dispatch():
            self._queue()

    def data_received(self, data: bytes) -> None:
        # uvloop begins to read behind connection_made: one read's worth comes all the same.
        if not self.over:
            self._early += data
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._eof = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.hub.budget.visitors -= 1
        self.hub.on_budget()
        if not self.over:
            self.fail("visitor_left", "the visitor left")

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False

    # -- finding a session --------------------------------------------------------------------------------------------

    def _refusal(self) -> str:
        """Why this visitor is not let in; "" if it is."""
        hub, agent = self.hub, self._record.agent
        if hub.draining or hub.budget.agents_only or hub.quotas.shedding:
            return "the hub has no room"
        guard = hub.guard
        if guard is not None:
            reason = guard.refuses_tcp(agent, self.peer)
            if reason:
                return reason
        limit = hub.limits_for(agent).streams
        pool = hub.pools.get(agent)
        if limit and pool is not None and sum(entry.active for entry in pool.entries) >= limit:
            return "the agent has as many streams as it may"
        return ""

    def _dispatch(self) -> bool:
        """Open a stream, or fail; False if every session is full or one is about to come."""
        hub, agent = self.hub, self._record.agent
        pool = hub.pools.get(agent)
        if pool is None:
            reason = hub.pools.absent(agent)
            self.fail(reason.code, reason.message)
            return True
        entry = hub.pick(pool)
        if entry is None:
            return False
        opening = _Opening(self)
        try:
            stream = entry.session.open_stream(opening)
        except StreamLimit:
            return False
        except YamuxError:
            if entry.session.is_closed:
                hub.pools.remove(entry)
            else:
                hub.pools.retire(entry)
            return self._dispatch()
        self._opening, self._entry = opening, entry
        entry.active += 1
        entry.requests += 1
        stream.write(_connect(self._record.service, self.peer, hub.next_id()))
        return True

    def _queue(self) -> None:
        pool = self.hub.pools.get(self._record.agent)
        if pool is None or not pool.wait(self):
            self.fail("agent_busy", "the agent has no free stream")
            return
        self._waiting = pool
        self._deadline = self.hub.loop.time() + self.hub.timeouts.queue

    def retry(self) -> bool:
        """Called by the pool when a stream may be free."""
        waiting, self._waiting = self._waiting, None
        if self._dispatch():
            self._deadline = self.hub.loop.time() + self.hub.timeouts.response
            return True
        self._waiting = waiting
        return False

    # -- the end of the beginning -------------------------------------------------------------------------------------

    def join(self, stream: StreamTransport, to_visitor: bytes) -> None:
        """The agent is connected to its target."""
        self.over = True
        hub, entry = self.hub, self._entry
        assert entry is not None
        hub.tunnels.discard(self)
        tunnel = TcpTunnel(self, entry, stream, to_visitor=to_visitor, to_agent=self._early)
        if self._eof:
            tunnel.left.eof_received()

    def fail(self, code: str, message: str) -> None:
        """Cut the visitor: a port has no other way to say no."""
        if self.over:
            return
        self.over = True
        hub = self.hub
        hub.active -= 1
        hub.tunnels.discard(self)
        if self._waiting is not None:
            self._waiting.forget(self)
            self._waiting = None
        if self._entry is not None:
            self._entry.active -= 1
            if code != "visitor_left":
                self._entry.errors += 1
        if self._opening is not None:
            self._opening.abort()
        hub.reject(code, f"TCP route {self._record.id}: {message}", self.peer, agent=self._record.agent)
        cut(self.transport)

    def check(self, now: float) -> None:
        """Called by the sweep."""
        if now >= self._deadline:
            self.fail("response_timeout", "the agent did not answer in time")
        elif is_dead(self.transport):
            self.fail("visitor_left", "the visitor left")

    def abort(self) -> None:
        """End it now."""
        self.fail("hub_draining", "the hub is shutting down")


class _Opening(asyncio.Protocol):
    """The stream until the agent has answered the CONNECT."""

    def __init__(self, visitor: TcpVisitor) -> None:
        self._visitor = visitor
        self._stream: StreamTransport | None = None
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._stream = cast("StreamTransport", transport)

    def data_received(self, data: bytes | memoryview) -> None:
        if self._visitor.over:
            return
        self._answer += bytes(data)
        end = self._answer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._answer) > MAX_ANSWER:
                self._visitor.fail("bad_response", "the agent's answer has no end")
            return
        status = self._answer[9:12]
        if not self._answer.startswith(b"HTTP/1.1 ") or not status.isdigit():
            self._visitor.fail("bad_response", "the agent's answer is not HTTP")
        elif status[:1] != b"2":
            self._visitor.fail("tcp_connect_failed", f"the agent answered {status.decode()} to CONNECT")
        else:
            assert self._stream is not None
            self._visitor.join(self._stream, self._answer[end + 4 :])

    def eof_received(self) -> bool:
        self._visitor.fail("agent_reset", "the agent gave the connection up")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        lost = isinstance(exc, SessionClosed)
        self._visitor.fail("agent_lost" if lost else "agent_reset", "the agent gave the connection up")

    def abort(self) -> None:
        """Reset the stream."""
        if self._stream is not None:
            self._stream.abort()


class TcpTunnel(Joined):
    """A joined connection, and the books of the session that carries it."""

    __slots__ = ("_entry",)

    def __init__(
        self, visitor: TcpVisitor, entry: AgentSession, stream: StreamTransport, *, to_visitor: bytes, to_agent: bytes
    ) -> None:
        self._entry = entry
        super().__init__(
            visitor.hub,
            visitor.transport,
            stream,
            to_visitor=to_visitor,
            to_agent=to_agent,
            visitor_full=visitor.full,
        )

    def _leave(self, splice: Splice) -> None:
        super()._leave(splice)
        hub, entry = self._hub, self._entry
        hub.active -= 1
        entry.active -= 1
        pool = hub.pools.get(entry.agent_id)
        if pool is not None and pool.waiters:
            hub.loop.call_soon(pool.wake)


def _connect(service: str, peer: str, request_id: bytes) -> bytes:
    target = service.encode() or b"default"
    lines = [b"CONNECT %b HTTP/1.1" % target, b"Host: " + target]
    if service:
        lines.append(b"X-Proxy-Host: " + target)
    if peer:
        lines.append(b"X-Forwarded-For: " + peer.encode())
    lines.append(b"X-Request-Id: " + request_id)
    return b"\r\n".join([*lines, b"", b""])
