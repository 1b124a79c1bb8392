"""What becomes of an exchange after the agent's 101: bytes both ways, until one side ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubd.headers import switching_head
from hubd.joined import Joined

if TYPE_CHECKING:
    from hubd.exchange import Exchange
    from tunnel.http1 import ResponseHead
    from tunnel.splice import Splice


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
        upgraded.left.eof_received()


class Upgraded(Joined):
    """An upgraded connection: both sides, and the books of its exchange.

    Args:
        exchange: that led to it.
        to_visitor: the 101 and what came behind it.
        to_agent: what the visitor sent behind its request.
    """

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange, to_visitor: bytes, to_agent: bytes) -> None:
        front, stream = exchange.front, exchange.stream
        assert stream is not None
        self._exchange = exchange
        super().__init__(
            exchange.hub,
            front.transport,
            stream,
            to_visitor=to_visitor,
            to_agent=to_agent,
            visitor_full=front.write_paused,
        )

    def _leave(self, splice: Splice) -> None:
        super()._leave(splice)
        self._exchange.size_out += self.right.received
        self._exchange.close_books(101, "")
