"""A visitor's connection joined to an agent's stream: its place in the hub's books, and its end when nothing moves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hubd.peers import is_dead
from tunnel.splice import Splice, SpliceSide

if TYPE_CHECKING:
    from hubd.state import Hub
    from yamux import StreamTransport


class Joined(Splice):
    """Both sides of a tunnel: the visitor on the left, the agent on the right.

    Args:
        hub: shared state.
        visitor: the connection.
        stream: to the agent.
        to_visitor: bytes the agent sent before.
        to_agent: bytes the visitor sent before.
        visitor_full: it has called ``pause_writing`` on its former protocol and not resumed since.
    """

    __slots__ = ("_hub", "_moved", "_moved_at")

    def __init__(
        self,
        hub: Hub,
        visitor: asyncio.Transport,
        stream: StreamTransport,
        *,
        to_visitor: bytes,
        to_agent: bytes,
        visitor_full: bool,
    ) -> None:
        self._hub = hub
        hub.tunnels.add(self)
        hub.stats.upgrades += 1
        super().__init__(
            visitor, stream, to_left=to_visitor, to_right=to_agent, left_full=visitor_full, on_end=self._leave
        )
        self._moved = self.moved
        self._moved_at = hub.now

    def check(self, now: float) -> None:
        """End it if nothing has moved for the idle limit, or the visitor is gone unseen. Called by the sweep."""
        moved = self.moved
        if moved != self._moved:
            self._moved, self._moved_at = moved, now
        timeouts, visitor = self._hub.timeouts, self.left
        limit = timeouts.stall if visitor.full else timeouts.stream_idle
        if now - self._moved_at >= limit or (not visitor.lost and is_dead(visitor.transport)):
            self.abort()

    def side_lost(self, side: SpliceSide) -> None:
        if side is self.left:
            self._hub.budget.visitors -= 1
            self._hub.on_budget()
        super().side_lost(side)

    def _leave(self, _: Splice) -> None:
        self._hub.tunnels.discard(self)
