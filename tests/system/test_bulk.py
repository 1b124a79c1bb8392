"""Big bodies: whole, beside each other, in bounded memory, and held back by a visitor that does not keep up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from tests.system.conftest import Plant
from tests.system.harness import DEADLINE, POLL, Peak, settle_fds, until
from tests.system.targets import BLOCK, Call, block, digest_of, upload
from tests.system.visitors import Visitor

MIB = 2**20
SIZE = 64 * MIB
AT_ONCE = 10
BULK_DEADLINE = 120.0


@pytest.mark.timeout(2 * BULK_DEADLINE)
@pytest.mark.parametrize("direction", ["down", "up"])
async def test_ten_big_bodies_at_once(ws_plant: Plant, direction: str) -> None:
    plant = ws_plant
    expected = digest_of(SIZE)
    before = {daemon: daemon.fds for daemon in plant.system.daemons}

    async def down() -> None:
        async with Visitor(plant.port) as visitor:
            visitor.write_head("GET", visitor.url(f"/download?size={SIZE}"))
            answer = await visitor.digest()
            assert (answer.status, answer.size, answer.digest) == (200, SIZE, expected)

    async def up() -> None:
        async with Visitor(plant.port) as visitor:
            answer = await visitor.upload(visitor.url("/upload"), SIZE)
            assert (answer.status, answer.body.decode()) == (200, f"{SIZE} {expected}")

    async with plant.target(), asyncio.timeout(BULK_DEADLINE), Peak(*plant.system.daemons) as peak:
        began = time.monotonic()
        await asyncio.gather(*((down if direction == "down" else up)() for _ in range(AT_ONCE)))
        rate = AT_ONCE * SIZE / MIB / (time.monotonic() - began)
    print(f"\n{direction}: {AT_ONCE} x {SIZE // MIB} MiB at {rate:.0f} MiB/s; peak {peak}")
    for name, size in peak.rss.items():
        assert size < 150 * MIB, (name, str(peak))
    await settle_fds(before)


async def _stands_still(count: Callable[[], int]) -> int:
    """Wait until a count has not moved for a second, and return it."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 1.0:
        if count() != last:
            last, since = count(), time.monotonic()
        await asyncio.sleep(POLL)
    return last


async def test_a_slow_visitor_slows_only_itself(ws_plant: Plant) -> None:
    plant = ws_plant
    size = 256 * MIB
    written = 0

    async def pour(call: Call) -> None:
        nonlocal written
        await call.head("200 OK", f"Content-Length: {size}")
        for index in range(size // BLOCK):
            await call.send(block(index))
            written += BLOCK

    async def crawl(visitor: Visitor) -> int:
        """Read at about 1 KB/s until cancelled."""
        size = 0
        try:
            while True:
                size += len(await visitor.reader.readexactly(100))
                await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            return size

    async with plant.target() as target, asyncio.timeout(2 * DEADLINE), Peak(*plant.system.daemons) as peak:
        target.on("/pour", pour)
        async with Visitor(plant.port, receive_buffer=2048) as slow:
            slow.write_head("GET", slow.url("/pour"))
            await slow.head()
            crawling = asyncio.create_task(crawl(slow))
            stopped_at = await _stands_still(lambda: written)
            # What windows and the kernel's buffers on three hops hold, and far from the whole. The daemons' part is below.
            assert stopped_at < 96 * MIB
            async with Visitor(plant.port) as normal:
                for _ in range(300):
                    assert (await normal.get("/hello")).status == 200
                normal.write_head("GET", normal.url(f"/download?size={32 * MIB}"))
                assert (await normal.digest()).digest == digest_of(32 * MIB)
            assert not crawling.done()
            assert written - stopped_at < MIB
            crawling.cancel()
            assert await crawling > 0
            slow.leave()
        await until(lambda: "/pour" in target.aborted, "the target learns that the visitor has left")
    print(f"\nheld back after {stopped_at / MIB:.1f} MiB; peak {peak}")
    for name, peak_size in peak.rss.items():
        assert peak_size - peak.start[name] < 48 * MIB, (name, str(peak))


async def test_a_target_that_does_not_read_holds_its_visitor_back(ws_plant: Plant) -> None:
    plant = ws_plant
    size = 128 * MIB
    go = asyncio.Event()
    sent = 0

    async def stuck(call: Call) -> None:
        await go.wait()
        await upload(call)

    async def pour(visitor: Visitor) -> None:
        nonlocal sent
        visitor.write_head("POST", visitor.url("/stuck"), f"Content-Length: {size}")
        for index in range(size // BLOCK):
            await visitor.send(block(index))
            sent += BLOCK

    async with plant.target() as target, asyncio.timeout(2 * DEADLINE), Peak(*plant.system.daemons) as peak:
        target.on("/stuck", stuck)
        async with Visitor(plant.port) as visitor, asyncio.TaskGroup() as group:
            group.create_task(pour(visitor))
            stopped_at = await _stands_still(lambda: sent)
            # As on the way down.
            assert stopped_at < 96 * MIB
            async with Visitor(plant.port) as normal:
                for _ in range(100):
                    assert (await normal.get("/hello")).status == 200
                answer = await normal.upload(normal.url("/upload"), 16 * MIB)
                assert answer.body.decode() == f"{16 * MIB} {digest_of(16 * MIB)}"
            assert sent - stopped_at < MIB
            # Held back, not broken: once the target reads, the rest arrives whole.
            go.set()
            answer = await visitor.response()
            assert answer.body.decode() == f"{size} {digest_of(size)}"
    print(f"\nheld back after {stopped_at / MIB:.1f} MiB; peak {peak}")
    for name, peak_size in peak.rss.items():
        assert peak_size - peak.start[name] < 48 * MIB, (name, str(peak))
