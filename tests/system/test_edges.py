"""What the hub lets in, the agent takes; what the target may say, the visitor gets: limits agree along the way."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.system.conftest import Plant, address
from tests.system.harness import DEADLINE, System, settle_fds, until
from tests.system.targets import Call, Target
from tests.system.visitors import Visitor, fetch

KIB = 1024


async def test_the_largest_heads_the_hub_takes_arrive(ws_plant: Plant) -> None:
    """Step by step up to what the hub refuses itself: there is no size in between that the agent refuses."""
    plant = ws_plant
    sizes = [30 * KIB, *range(31 * KIB, 33 * KIB, 97)]
    async with plant.target(), asyncio.timeout(2 * DEADLINE):
        statuses = []
        for size in sizes:
            async with Visitor(plant.port) as visitor:
                bulk = [f"X-Bulk-{number}: {'b' * 2000}" for number in range(size // 2013 - 1)]
                used = sum(len(line) + 2 for line in bulk)
                last = f"X-Last: {'l' * max(1, size - used - 80)}"
                statuses.append((await visitor.request("GET", visitor.url("/hello"), b"", *bulk, last)).status)
        assert statuses[0] == 200
        assert statuses[-1] == 431
        assert set(statuses) == {200, 431}, list(zip(sizes, statuses, strict=True))


async def test_as_many_fields_as_the_hub_takes_arrive(ws_plant: Plant) -> None:
    plant = ws_plant
    async with plant.target(), asyncio.timeout(DEADLINE):
        statuses = []
        for count in range(80, 103):
            async with Visitor(plant.port) as visitor:
                fields = [f"X-Field-{number}: x" for number in range(count)]
                statuses.append((await visitor.request("GET", visitor.url("/hello"), b"", *fields)).status)
        assert statuses[0] == 200
        assert statuses[-1] == 431
        assert set(statuses) == {200, 431}, statuses


async def test_the_largest_heads_that_can_be_allowed_arrive(
    system: System, sockets: list[socket.socket], tmp_path: Path
) -> None:
    """All three settings at their most, and all three used up in one request."""
    settings = tmp_path / "hub.toml"
    settings.write_text('[limits]\nhead = "128 KiB"\nline = "64 KiB"\nfields = 500\n')
    system.start_hub("--config", str(settings))
    system.start_agent("a", f"http://{address(sockets[0])}")
    async with Target(sockets[0]) as target, asyncio.timeout(DEADLINE):
        for more, status in ((0, 200), (2 * KIB, 431)):
            async with Visitor(system.port) as visitor:
                path = visitor.url("/hello?") + "x" * (63 * KIB)
                bulk = [f"X-Bulk-{number}: {'b' * 100}" for number in range(490)]
                used = sum(len(line) + 2 for line in bulk) + len(path)
                last = f"X-Last: {'l' * (127 * KIB + more - used)}"
                assert (await visitor.request("GET", path, b"", *bulk, last)).status == status
        assert len(target.calls) == 1


@pytest.mark.parametrize("where", ["path", "query", "escapes"])
async def test_the_longest_targets_the_hub_takes_arrive(ws_plant: Plant, where: str) -> None:
    plant = ws_plant
    async with plant.target() as target, asyncio.timeout(DEADLINE):
        statuses = []
        for size in range(7 * KIB, 8 * KIB + 200, 53):
            async with Visitor(plant.port) as visitor:
                fill = "%41" * (size // 3) if where == "escapes" else "x" * size
                path = f"/hello?{fill}" if where == "query" else f"/{fill}"
                statuses.append((await visitor.request("GET", visitor.url(path))).status)
        good = 200 if where == "query" else 404
        assert statuses[0] == good
        assert statuses[-1] == 414
        assert set(statuses) == {good, 414}, statuses
        assert len(target.calls) == statuses.count(good)


async def test_the_largest_response_heads_the_agent_takes_arrive(ws_plant: Plant) -> None:
    """A head that is too large is the target's fault and becomes 502, whoever notices."""
    plant = ws_plant

    async def large(call: Call) -> None:
        size = int(call.argument("size"))
        fields = [f"X-Bulk-{number}: {'b' * 4000}" for number in range(size // 4013)]
        rest = size - sum(len(field) + 2 for field in fields)
        await call.answer("200 OK", b"body", *fields, f"X-Last: {'l' * max(1, rest)}")

    async with plant.target() as target, asyncio.timeout(DEADLINE):
        target.on("/large", large)
        statuses = []
        for size in (32 * KIB, *range(63 * KIB, 66 * KIB, 101)):
            async with Visitor(plant.port) as visitor:
                answer = await visitor.get(f"/large?size={size}")
                statuses.append(answer.status)
                if answer.status == 502:
                    assert answer.json["code"], answer.body
        assert statuses[0] == 200
        assert statuses[-1] == 502
        assert statuses == sorted(statuses)


async def test_nine_hundred_requests_wait_in_one_target(ws_plant: Plant) -> None:
    """A crowd that comes in one instant, below the number of streams an agent takes: each gets its answer."""
    plant = ws_plant
    go = asyncio.Event()
    waiting = 0

    async def hold(call: Call) -> None:
        nonlocal waiting
        waiting += 1
        await go.wait()
        await call.answer("200 OK", call.argument("n").encode())

    before = {daemon: daemon.fds for daemon in plant.system.daemons}
    async with plant.target() as target, AsyncExitStack() as stack, asyncio.timeout(3 * DEADLINE):
        target.on("/hold", hold)
        visitors = [await stack.enter_async_context(Visitor(plant.port)) for _ in range(900)]
        for number, visitor in enumerate(visitors):
            visitor.write_head("GET", visitor.url(f"/hold?n={number}"))
        answers = [asyncio.create_task(visitor.response()) for visitor in visitors]
        await until(lambda: waiting == 900 or any(task.done() for task in answers), "all wait in the target")
        go.set()
        got = [(answer.status, answer.body) for answer in await asyncio.gather(*answers)]
        assert got == [(200, str(number).encode()) for number in range(900)]
    await settle_fds(before)


async def test_more_requests_than_streams_are_told_to_come_back(ws_plant: Plant) -> None:
    plant = ws_plant
    go = asyncio.Event()

    async def hold(call: Call) -> None:
        await go.wait()
        await call.answer("200 OK", b"held")

    async with plant.target() as target, AsyncExitStack() as stack, asyncio.timeout(3 * DEADLINE):
        target.on("/hold", hold)
        visitors = [await stack.enter_async_context(Visitor(plant.port)) for _ in range(1100)]
        for visitor in visitors:
            visitor.write_head("GET", visitor.url("/hold"))
        answers = [asyncio.create_task(visitor.response()) for visitor in visitors]
        await until(lambda: sum(task.done() for task in answers) >= 100, "those beyond the limit are refused")
        refused = [task.result() for task in answers if task.done()]
        assert {answer.status for answer in refused} == {503}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        go.set()
        statuses = [answer.status for answer in await asyncio.gather(*answers)]
        assert statuses.count(200) == 1000
        assert (await fetch(plant.port, "/hello")).status == 200
