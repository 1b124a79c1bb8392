"""Exchanges whose bytes are paid for: the same as any, but each side is not read for a while when it was too fast.

Only where a bandwidth is limited are these used instead of their bases, which know nothing of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hubd.exchange import Exchange
from hubd.upgraded import Upgraded, switch
from tunnel.splice import SpliceSide

if TYPE_CHECKING:
    from hubd.quotas import Meter
    from tunnel.http1 import Piece, ResponseHead
    from tunnel.splice import Splice


class MeteredExchange(Exchange):
    """One request and its response, at the pace its meter allows."""

    __slots__ = ("_down", "_stream_full", "_up", "meter")

    meter: Meter

    def set_meter(self, meter: Meter) -> None:
        """Say who pays; called once, before it starts."""
        self.meter = meter
        self._stream_full = False
        self._down: asyncio.TimerHandle | None = None
        self._up: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes | memoryview) -> None:
        size = len(data)
        super().data_received(data)
        meter = self.meter
        if self.over or self.stream is None or not meter.down:
            return
        loop = self.hub.loop
        wait = meter.spend(meter.down, size, loop.time())
        if wait and self._down is None:
            self.stream.pause_reading()
            self._down = loop.call_later(wait, self._down_paid)

    def _down_paid(self) -> None:
        self._down = None
        if not self.over and self.stream is not None and not self.front.write_paused:
            self.stream.resume_reading()

    def visitor_drained(self) -> None:
        if self._down is None:
            super().visitor_drained()

    def send_body(self, pieces: Sequence[Piece], done: bool) -> None:
        super().send_body(pieces, done)
        meter = self.meter
        if self.over or done or not meter.up:
            return
        loop = self.hub.loop
        wait = meter.spend(meter.up, sum(map(len, pieces)), loop.time())
        if wait and self._up is None:
            self.front.pause_reading()
            self._up = loop.call_later(wait, self._up_paid)

    def _up_paid(self) -> None:
        self._up = None
        if not self._stream_full:
            super().resume_writing()

    def pause_writing(self) -> None:
        self._stream_full = True
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stream_full = False
        if self._up is None:
            super().resume_writing()

    def _switch(self, response: ResponseHead) -> None:
        switch(self, response, MeteredUpgraded)

    def close_books(self, status: int, reason: str) -> None:
        for timer in (self._down, self._up):
            if timer is not None:
                timer.cancel()
        super().close_books(status, reason)


class MeteredSide(SpliceSide):
    """One side of an upgraded connection, at the pace its meter allows."""

    __slots__ = ("_timer",)

    def __init__(self, splice: Splice, transport: asyncio.Transport) -> None:
        super().__init__(splice, transport)
        self._timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes | memoryview) -> None:
        size = len(data)
        super().data_received(data)
        splice = self._splice
        assert isinstance(splice, MeteredUpgraded)
        wait = splice.pay(self, size)
        if wait and self._timer is None and not self.lost:
            self.transport.pause_reading()
            self._timer = asyncio.get_running_loop().call_later(wait, self._paid)

    def _paid(self) -> None:
        self._timer = None
        if not self.lost and not self.other.full:
            self.transport.resume_reading()

    def resume_writing(self) -> None:
        self.full = False
        other = self.other
        if not isinstance(other, MeteredSide) or other._timer is None:
            other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().connection_lost(exc)


class MeteredUpgraded(Upgraded):
    """An upgraded connection, at the pace its meter allows."""

    __slots__ = ()

    side = MeteredSide

    def pay(self, side: SpliceSide, size: int) -> float:
        """Count bytes that came from a side; returns the seconds to wait before the next."""
        exchange = self._exchange
        assert isinstance(exchange, MeteredExchange)
        meter = exchange.meter
        return meter.spend(meter.down if side is self.right else meter.up, size, self._hub.loop.time())
