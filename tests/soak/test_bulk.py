"""Bodies of a gibibyte, and hundreds of visitors that hardly read."""

from __future__ import annotations

import asyncio
import time

from tests.system.conftest import Plant
from tests.system.harness import Peak, settle_fds, until
from tests.system.targets import BLOCK, Call, block, digest_of
from tests.system.visitors import Visitor, fetch

MIB = 2**20
GIB = 2**30


async def test_ten_gibibytes_each_way_at_once(ws_plant: Plant) -> None:
    plant = ws_plant
    expected = digest_of(GIB)
    before = {daemon: daemon.fds for daemon in plant.system.daemons}

    async def down() -> None:
        async with Visitor(plant.port) as visitor:
            visitor.write_head("GET", visitor.url(f"/download?size={GIB}"))
            answer = await visitor.digest()
            assert (answer.size, answer.digest) == (GIB, expected)

    async def up() -> None:
        async with Visitor(plant.port) as visitor:
            answer = await visitor.upload(visitor.url("/upload"), GIB)
            assert answer.body.decode() == f"{GIB} {expected}"

    async with plant.target(), Peak(*plant.system.daemons) as peak:
        began = time.monotonic()
        await asyncio.gather(*(down() for _ in range(10)), *(up() for _ in range(10)))
        taken = time.monotonic() - began
    print(f"\n10 x 1 GiB each way in {taken:.0f} s, {20 * 1024 / taken:.0f} MiB/s in all; peak {peak}")
    for size in peak.rss.values():
        assert size < 150 * MIB, str(peak)
    await settle_fds(before)


async def test_g10_two_hundred_slow_readers(ws_plant: Plant) -> None:
    """Each reads 1 KB/s of a body of 1 GiB for half a minute; hub and agent stay small, others stay quick."""
    plant = ws_plant

    async def pour(call: Call) -> None:
        await call.head("200 OK", f"Content-Length: {GIB}")
        for index in range(GIB // BLOCK):
            await call.send(block(index))

    async def quick(seconds: float) -> list[float]:
        times = []
        end = time.monotonic() + seconds
        async with Visitor(plant.port) as visitor:
            while time.monotonic() < end:
                began = time.monotonic()
                assert (await visitor.get("/hello")).status == 200
                times.append(time.monotonic() - began)
                await asyncio.sleep(0.005)
        return sorted(times)

    async def crawl() -> None:
        async with Visitor(plant.port, receive_buffer=2048) as visitor:
            visitor.write_head("GET", visitor.url("/pour"))
            await visitor.head()
            while True:
                await visitor.reader.readexactly(100)
                await asyncio.sleep(0.1)

    before = {daemon: daemon.fds for daemon in plant.system.daemons}
    async with plant.target() as target, Peak(*plant.system.daemons) as peak:
        target.on("/pour", pour)
        alone = await quick(5)
        slow = [asyncio.create_task(crawl()) for _ in range(200)]
        await until(lambda: len(target.calls) > 200, "all have begun")
        await quick(10)
        beside = await quick(20)
        assert not any(task.done() for task in slow)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        await until(lambda: target.aborted.count("/pour") == 200, "the target learns", 60)
    p99 = [times[len(times) * 99 // 100] * 1000 for times in (alone, beside)]
    print(f"\n200 slow readers: peak {peak}; p99 of others {p99[0]:.1f} ms alone, {p99[1]:.1f} ms beside them")
    assert sum(peak.rss.values()) - sum(peak.start.values()) < 256 * MIB, str(peak)
    await settle_fds(before, 60)
    async with plant.target():
        assert (await fetch(plant.port, "/hello")).status == 200
