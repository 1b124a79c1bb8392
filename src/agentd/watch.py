"""How long an exchange may take: judged once a second by what has moved since the last look, never by timers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.reasons import HEADER_TIMEOUT, STALLED, TARGET_TIMEOUT, Reason

if TYPE_CHECKING:
    from agentd.config import Timeouts
    from agentd.exchange import Exchange
    from tunnel.splice import Splice


class Watch:
    """What was seen of one exchange or upgraded connection at the last look. Made only for those that live that long.

    Attributes:
        moved: its position then.
        since: monotonic seconds since which it has not moved.
    """

    __slots__ = ("moved", "since")

    def __init__(self, moved: tuple[int, ...], since: float) -> None:
        self.moved = moved
        self.since = since

    def idle(self, moved: tuple[int, ...], now: float) -> float:
        """Take the present position; seconds since the last change."""
        if moved != self.moved:
            self.moved = moved
            self.since = now
        return now - self.since


def judge(exchange: Exchange, now: float, timeouts: Timeouts) -> Reason | None:
    """Why an exchange must end now, or None.

    Args:
        exchange: one that is not over.
        now: monotonic seconds.
        timeouts: the limits.
    """
    if exchange.head is None:
        # In all, not since the last byte: a head that comes byte by byte is no better than none.
        return HEADER_TIMEOUT if now - exchange.began >= timeouts.header else None
    position = _position(exchange)
    watch = exchange.watch
    if watch is None:
        # It has moved since the look before this one, which is when it began at the earliest.
        exchange.watch = Watch(position, exchange.began)
        return None
    idle = watch.idle(position, now)
    if exchange.stream_full:
        return STALLED if idle >= timeouts.stall else None
    if exchange.response is not None:
        return STALLED if idle >= timeouts.idle else None
    if exchange.connection is None:
        # Dialling has a deadline of its own.
        return None
    return TARGET_TIMEOUT if idle >= timeouts.response else None


def has_stalled(splice: Splice, watch: Watch, now: float, timeouts: Timeouts) -> bool:
    """Whether an upgraded connection must end now."""
    idle = watch.idle(splice.moved, now)
    if splice.left.full or splice.right.full:
        return idle >= timeouts.stall
    return idle >= timeouts.upgraded


def _position(exchange: Exchange) -> tuple[int, ...]:
    """Bytes from and to the hub, bytes waiting for the target to read them, and how far the exchange has come."""
    stream, connection = exchange.stream, exchange.connection
    waiting = connection.transport.get_write_buffer_size() if connection is not None else -1
    return stream.bytes_in, stream.bytes_out, waiting, exchange.response is not None
