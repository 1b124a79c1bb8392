"""What becomes of an exchange after the agent's 101: bytes both ways, until one side ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hubd.headers import switching_head
from hubd.peers import cut, is_dead

if TYPE_CHECKING:
    from hubd.exchange import Exchange
    from hubd.state import Hub
    from tunnel.http1 import ResponseHead


def switch(exchange: Exchange, response: ResponseHead) -> None:
    """Pass the agent's 101 on and join the visitor's connection to the stream.

    What the visitor sent behind its request was held until now.

    Args:
        exchange: whose request asked for just this upgrade.
        response: the 101.
    """
    front, stream = exchange.front, exchange.stream
    assert stream is not None
    exchange.started = exchange.over = True
    upgraded = Upgraded(exchange)
    visitor, agent = Side(upgraded, front.transport), Side(upgraded, stream)
    visitor.other, agent.other = agent, visitor
    early = front.reader.take_rest()
    front.transport.write(switching_head(response) + exchange.reader.take_rest())
    upgraded.visitor, upgraded.agent = visitor, agent
    front.resume_reading()
    eof = front.eof
    front.hand_over()
    front.transport.set_protocol(visitor)
    stream.set_protocol(agent)
    if early:
        visitor.received += len(early)
        stream.write(early)
    if front.write_paused:
        visitor.pause_writing()
    if eof:
        visitor.eof_received()


class Upgraded:
    """An upgraded connection: both sides, and its place in the hub's books."""

    __slots__ = ("_exchange", "_hub", "_moved", "_moved_at", "_open", "agent", "visitor")

    visitor: Side
    agent: Side

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._hub: Hub = exchange.hub
        self._open = 2
        self._moved = (0, 0, 0)
        self._moved_at = self._hub.now
        self._hub.tunnels.add(self)
        self._hub.stats.upgrades += 1

    def __repr__(self) -> str:
        return f"<Upgraded in={self.visitor.received} out={self.agent.received}>"

    def check(self, now: float) -> None:
        """End it if nothing has moved for the idle limit, or the visitor is gone unseen."""
        waiting = self.visitor.transport.get_write_buffer_size()
        moved = (self.visitor.received, self.agent.received, waiting)
        if moved != self._moved:
            self._moved = moved
            self._moved_at = now
        stalled = self.visitor.write_paused and now - self._moved_at >= self._hub.timeouts.stall
        if stalled or now - self._moved_at >= self._hub.timeouts.stream_idle or is_dead(self.visitor.transport):
            self.abort()

    def abort(self) -> None:
        """Cut both sides."""
        cut(self.visitor.transport)
        self.agent.transport.abort()

    def lost(self, side: Side, exc: Exception | None) -> None:
        """One side is over: end the other the same way, cleanly or by a cut."""
        other = side.other.transport
        if exc is None:
            other.close()
        elif side is self.agent:
            cut(other)
        else:
            other.abort()
        self._open -= 1
        if side is self.visitor:
            self._hub.budget.visitors -= 1
            self._hub.on_budget()
        if not self._open:
            self._leave()

    def _leave(self) -> None:
        hub = self._hub
        hub.tunnels.discard(self)
        exchange = self._exchange
        exchange.size_out += self.agent.received
        exchange.close_books(101, "")


class Side(asyncio.Protocol):
    """Protocol of one side: what comes goes out on the other."""

    __slots__ = ("_upgraded", "eof", "other", "received", "transport", "write_paused")

    accepts_views = True
    other: Side

    def __init__(self, upgraded: Upgraded, transport: asyncio.Transport) -> None:
        self._upgraded = upgraded
        self.transport = transport
        self.received = 0
        self.eof = False
        self.write_paused = False

    def data_received(self, data: bytes | memoryview) -> None:
        self.received += len(data)
        self.other.transport.write(data)

    def eof_received(self) -> bool:
        self.eof = True
        other = self.other.transport
        if self.other.eof or not other.can_write_eof():
            other.close()
            return False
        other.write_eof()
        return True

    def pause_writing(self) -> None:
        self.write_paused = True
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.write_paused = False
        self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._upgraded.lost(self, exc)
