"""All buffers together (row D12)."""

from __future__ import annotations

import pytest

from hubd.connection import HIGH_MARK

BIG = 8 * 1024 * 1024
GET = b"GET /api/v1/proxy/demo/big HTTP/1.1\r\nHost: hub\r\n\r\n"


@pytest.fixture
async def full(start):
    """A hub with a visitor that asks for much and reads nothing, and one that sends to an agent that does not read."""
    bench = await start()
    agent = await bench.agent(answer=b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + bytes(BIG))
    visitor = await bench.visitor()
    visitor.writer.transport.pause_reading()
    await visitor.send(GET)
    await bench.wait(lambda: bench.front.write_paused and bench.front.exchange.stream.unread > HIGH_MARK)
    return bench, agent, visitor


async def test_d12_every_byte_that_waits_is_counted(full):
    bench, _, visitor = full
    front = bench.front
    bench.hub.pressure.look()
    waiting = front.transport.get_write_buffer_size() + front.exchange.stream.unread
    assert bench.hub.pressure.buffered >= waiting > HIGH_MARK
    visitor.reset()
    await bench.wait(lambda: not bench.hub.connections)

    def nothing_held() -> bool:
        bench.hub.pressure.look()
        return bench.hub.pressure.buffered == 0

    # The visitor is gone at once, the reset to its agent leaves at the end of a turn of the loop.
    await bench.wait(nothing_held)


async def test_d12_reading_stops_then_requests_are_refused_then_all_goes_on(full):
    bench, agent, visitor = full
    hub = bench.hub
    other = await bench.visitor()
    agent.answer = None
    await other.send(b"POST /api/v1/proxy/demo/up HTTP/1.1\r\nHost: hub\r\nContent-Length: 10\r\n\r\n12345")
    stream = await agent.stream(1)
    (front,) = [front for front in hub.connections if front.exchange is not None and not front.exchange.sent_all]

    def limit(part: float) -> None:
        hub.limits = hub.limits.model_copy(update={"buffered": int(hub.pressure._count() / part)})
        hub.pressure.look()

    limit(0.96)
    assert hub.pressure.holding and not hub.quotas.shedding and hub.stats.buffer_pauses == 1
    assert front.read_paused and not front.exchange.stream.is_reading()
    limit(0.99)
    assert hub.quotas.shedding
    third = await bench.visitor()
    assert (await third.get()).status == 503
    # Below both marks, but not by enough.
    limit(0.93)
    assert hub.pressure.holding and hub.quotas.shedding
    limit(0.5)
    assert not hub.pressure.holding and not hub.quotas.shedding and hub.gate is None
    assert not front.read_paused and front.exchange.stream.is_reading()
    await other.send(b"67890")
    await bench.wait(lambda: stream.complete)
    stream.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert (await other.reply()).body == b"ok"
    visitor.writer.transport.resume_reading()
    assert len((await visitor.reply()).body) == BIG
