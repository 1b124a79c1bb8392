"""Bandwidth: bytes wait for their turn, all of them arrive, and both ways have their own pace."""

from __future__ import annotations

import asyncio

import pytest

from hubd.metered import MeteredExchange, MeteredUpgraded
from hubd.quotas import AgentLimits

BODY = bytes(range(256)) * 400  # 100 KiB
RATE = 400_000
"""Bytes a second: with the burst of a quarter of it the body takes some milliseconds."""


@pytest.fixture
def spent(monkeypatch):
    """Waits that were asked for."""
    found = []
    original = MeteredExchange.data_received

    def note(self, data):
        original(self, data)
        if self._down is not None:
            found.append(self._down.when() - self.hub.loop.time())

    monkeypatch.setattr(MeteredExchange, "data_received", note)
    return found


async def test_a_download_keeps_its_pace_and_is_whole(start, spent):
    bench = await start(limits={"bandwidth": RATE})
    await bench.agent(answer=b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * len(BODY)) + BODY * 2)
    visitor = await bench.visitor()
    began = bench.hub.loop.time()
    reply = await visitor.get()
    assert reply.body == BODY * 2
    assert spent and max(spent) <= 1.0
    # 205 KB less the burst of 100 KB at 400 KB/s.
    assert bench.hub.loop.time() - began >= 0.2
    assert (await visitor.get("/healthz")).status == 200


async def test_an_upload_keeps_its_pace_and_is_whole(start):
    bench = await start(limits={"visitor_bandwidth": RATE})
    agent = await bench.agent()
    visitor = await bench.visitor()
    began = bench.hub.loop.time()
    head = f"POST /api/v1/proxy/demo/up HTTP/1.1\r\nHost: hub\r\nContent-Length: {3 * len(BODY)}\r\n\r\n".encode()
    await visitor.send(head)
    stream = await agent.stream()
    sending = asyncio.ensure_future(visitor.send(BODY * 3))
    reply = await visitor.reply()
    await sending
    assert reply.status == 200 and bytes(stream.body) == BODY * 3
    # The last read is not waited for.
    assert bench.hub.loop.time() - began >= 0.05


async def test_an_upgraded_connection_keeps_its_pace_both_ways(start, monkeypatch):
    waits = []
    original = MeteredUpgraded.pay

    def pay(self, side, size):
        wait = original(self, side, size)
        waits.append((side is self.left, wait))
        return wait

    monkeypatch.setattr(MeteredUpgraded, "pay", pay)
    bench = await start()
    bench.hub.apply_limits("demo", AgentLimits(bandwidth=RATE))
    agent = await bench.agent()
    agent.raw = True
    visitor = await bench.visitor()
    await visitor.send(
        b"GET /api/v1/proxy/demo/ws HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    stream = await agent.stream()
    await bench.wait(lambda: b"\r\n\r\n" in stream.raw)
    stream.raw.clear()
    stream.transport.write(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    assert (await visitor.head()).status == 101
    stream.transport.write(BODY * 2)
    async with asyncio.timeout(60):
        assert await visitor.reader.readexactly(2 * len(BODY)) == BODY * 2
        await visitor.send(BODY * 2)
        await bench.wait(lambda: len(stream.raw) == 2 * len(BODY))
    assert bytes(stream.raw) == BODY * 2
    assert max(wait for up, wait in waits if up) > 0 and max(wait for up, wait in waits if not up) > 0
    visitor.writer.close()
    await stream.gone()


async def test_a_visitor_that_leaves_while_its_bytes_wait(start, spent):
    bench = await start(limits={"bandwidth": 5000})
    await bench.agent(answer=b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
    visitor = await bench.visitor()
    await visitor.send(b"GET /api/v1/proxy/demo/x HTTP/1.1\r\nHost: hub\r\n\r\n")
    await bench.wait(lambda: spent)
    visitor.reset()
    await bench.wait(lambda: not bench.hub.active)
