"""How long an exchange may take: judged once a second by what has moved since the last look, never by timers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubd.reasons import BODY_TIMEOUT, RESPONSE_TIMEOUT, TRUNCATED, VISITOR_STALLED, Reason

if TYPE_CHECKING:
    from hubd.exchange import Exchange

EVERY_SWEEP = 0.0


class Patience:
    """What was seen of one exchange at the last look. Made only for exchanges that live long enough to be looked at.

    Args:
        exchange: to be judged.
        now: monotonic seconds.
    """

    __slots__ = ("_body", "_body_at", "_moved", "_moved_at", "_window", "_window_at")

    def __init__(self, exchange: Exchange, now: float) -> None:
        self._moved = _position(exchange)
        self._moved_at = now if exchange.started else exchange.asked_at
        self._body = self._window = exchange.size_in
        self._body_at = self._window_at = now

    def judge(self, exchange: Exchange, now: float) -> float | Reason:
        """When to look again, or why the exchange must end.

        Args:
            exchange: the one given before.
            now: monotonic seconds.
        """
        timeouts = exchange.hub.timeouts
        position = _position(exchange)
        if position != self._moved:
            self._moved = position
            self._moved_at = now
        front = exchange.front
        if not exchange.sent_all and self._slow_body(exchange, now):
            return BODY_TIMEOUT
        if front.write_paused:
            limit, reason = timeouts.stall, VISITOR_STALLED
        elif exchange.started:
            limit, reason = timeouts.stream_idle, TRUNCATED
        else:
            limit, reason = timeouts.response, RESPONSE_TIMEOUT
        if now - self._moved_at >= limit:
            return reason
        if front.write_paused or front.read_paused or front.eof or not exchange.sent_all:
            return EVERY_SWEEP
        return self._moved_at + limit

    def _slow_body(self, exchange: Exchange, now: float) -> bool:
        """Whether the visitor sends its body too slowly. Time during which we did not read does not count."""
        timeouts = exchange.hub.timeouts
        size = exchange.size_in
        waiting = exchange.head.expect_continue and not size
        if exchange.front.read_paused or waiting:
            self._body = self._window = size
            self._body_at = self._window_at = now
            return False
        if size != self._body:
            self._body = size
            self._body_at = now
        if now - self._body_at >= timeouts.body:
            return True
        if now - self._window_at >= timeouts.body:
            if size - self._window < timeouts.body_rate * timeouts.body:
                return True
            self._window = size
            self._window_at = now
        return False


def _position(exchange: Exchange) -> tuple[int, int, int]:
    """Bytes that have left for the agent, come for the visitor, and still wait for the visitor to read them."""
    stream = exchange.stream
    sent = stream.bytes_out if stream is not None else 0
    return sent, exchange.size_out, exchange.front.transport.get_write_buffer_size()
