"""What becomes of an exchange after the agent's 101: bytes both ways, until one side ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubd.headers import switching_head
from hubd.peers import is_dead
from tunnel.splice import Splice, SpliceSide

if TYPE_CHECKING:
    from hubd.exchange import Exchange
    from tunnel.http1 import ResponseHead


def switch(exchange: Exchange, response: ResponseHead, kind: type[Upgraded] | None = None) -> None:
    """Pass the agent's 101 on and join the visitor's connection to the stream.

    What the visitor sent behind its request was held until now.

    Args:
        exchange: whose request asked for just this upgrade.
        response: the 101.
        kind: what joins them.
    """
    front, stream = exchange.front, exchange.stream
    assert stream is not None
    exchange.started = exchange.over = True
    early = front.reader.take_rest()
    front.hand_over()
    reader = exchange.reader
    assert reader is not None
    upgraded = (kind or Upgraded)(exchange, switching_head(response) + reader.take_rest(), early)
    if front.eof:
        # It was told before the join, and is not told again.
        upgraded.visitor.eof_received()


class Upgraded(Splice):
    """An upgraded connection: both sides, and its place in the hub's books.

    Args:
        exchange: that led to it.
        to_visitor: the 101 and what came behind it.
        to_agent: what the visitor sent behind its request.
    """

    __slots__ = ("_exchange", "_hub", "_moved", "_moved_at", "agent", "visitor")

    def __init__(self, exchange: Exchange, to_visitor: bytes, to_agent: bytes) -> None:
        front, stream = exchange.front, exchange.stream
        assert stream is not None
        self._exchange = exchange
        self._hub = exchange.hub
        self._hub.tunnels.add(self)
        self._hub.stats.upgrades += 1
        super().__init__(
            front.transport,
            stream,
            to_left=to_visitor,
            to_right=to_agent,
            left_full=front.write_paused,
            on_end=self._leave,
        )
        self.visitor, self.agent = self.left, self.right
        self._moved = self.moved
        self._moved_at = self._hub.now

    def check(self, now: float) -> None:
        """End it if nothing has moved for the idle limit, or the visitor is gone unseen."""
        moved = self.moved
        if moved != self._moved:
            self._moved = moved
            self._moved_at = now
        timeouts = self._hub.timeouts
        limit = timeouts.stall if self.visitor.full else timeouts.stream_idle
        if now - self._moved_at >= limit or (not self.visitor.lost and is_dead(self.visitor.transport)):
            self.abort()

    def side_lost(self, side: SpliceSide) -> None:
        """Called by a side whose connection is gone."""
        if side is self.left:
            self._hub.budget.visitors -= 1
            self._hub.on_budget()
        super().side_lost(side)

    def _leave(self, _: Splice) -> None:
        self._hub.tunnels.discard(self)
        self._exchange.size_out += self.agent.received
        self._exchange.close_books(101, "")
