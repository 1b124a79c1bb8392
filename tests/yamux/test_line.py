from __future__ import annotations

import asyncio

from tests.yamux.wire import turns

from yamux.line import Line


async def test_turns_come_in_order() -> None:
    line = Line(asyncio.get_running_loop())
    order: list[int] = []

    async def wait(number: int) -> None:
        await line.wait(lambda: True)
        order.append(number)

    tasks = [asyncio.create_task(wait(number)) for number in range(3)]
    await turns()
    for _ in tasks:
        line.next()
        await turns()
    assert order == [0, 1, 2]
    await asyncio.gather(*tasks)


async def test_a_turn_given_to_a_cancelled_waiter_is_passed_on() -> None:
    line = Line(asyncio.get_running_loop())
    first = asyncio.create_task(line.wait(lambda: True))
    second = asyncio.create_task(line.wait(lambda: True))
    await turns()
    line.next()
    first.cancel()
    await turns()
    assert first.cancelled()
    assert second.done()


async def test_a_worthless_turn_is_not_passed_on() -> None:
    line = Line(asyncio.get_running_loop())
    first = asyncio.create_task(line.wait(lambda: False))
    second = asyncio.create_task(line.wait(lambda: False))
    await turns()
    line.next()
    first.cancel()
    await turns()
    assert not second.done()
    line.release()
    await second


async def test_a_cancelled_waiter_leaves_the_line() -> None:
    line = Line(asyncio.get_running_loop())
    task = asyncio.create_task(line.wait(lambda: True))
    await turns()
    task.cancel()
    await turns()
    assert not line._waiters
