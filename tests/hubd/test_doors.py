"""All listeners of a hub together (D6)."""

from __future__ import annotations

import asyncio

import pytest

from hubd.listeners import ListenError


def ask(host: str, target: str = "/api/v1/proxy/demo/x") -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


async def test_d6_accepting_stops_and_starts_again(start):
    bench = await start()
    budget = bench.hub.budget
    budget.stop, budget.resume = 2, 1
    first = await bench.visitor()
    second = await bench.visitor()
    await bench.wait(lambda: not bench.app.doors.accepting)
    third = await bench.visitor()  # waits in the kernel's queue
    await third.send(ask("hub", "/healthz"))
    assert len(bench.hub.connections) == 2 and bench.hub.stats.accept_pauses == 1
    await first.close()
    assert (await third.reply()).status == 200
    await second.close()
    await bench.wait(lambda: bench.app.doors.accepting)


async def test_further_carrier_listeners(start):
    bench = await start(carriers=["tcp://127.0.0.1:0"])
    url = bench.app.urls[1]
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ask("hub", "/healthz"))
    assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("url", "text"), [("nope://x", "no carrier for nope://"), ("tcp://192.0.2.1:80", "open to other machines")]
)
async def test_carrier_listeners_that_cannot_be(start, url, text):
    with pytest.raises(ListenError, match=text):
        await start(carriers=[url])


async def test_d6_what_is_idle_makes_room_and_is_counted(start):
    bench = await start()
    await bench.agent()
    hub = bench.hub
    hub.budget.stop, hub.budget.resume = 5, 4
    kept, fresh, busy, late = [await bench.visitor() for _ in range(4)]
    assert (await kept.get()).status == 200
    await busy.send(b"GET /api/v1/proxy/demo/hello HTTP/1.1\r\nHo")
    await bench.wait(lambda: not bench.app.doors.accepting)
    waiting = await bench.visitor()
    await waiting.send(ask("hub", "/healthz"))
    bench.later(0.5)
    assert hub.stats.connections_shed == 0
    bench.later(2.0)
    assert hub.stats.connections_shed == 3
    for visitor in (kept, fresh, late):
        assert await visitor.rest() == b""
    assert (await waiting.reply()).status == 200
    await busy.send(b"st: hub\r\n\r\n")
    assert (await busy.reply()).status == 200


async def test_d6_the_agents_share_is_not_held_by_silent_visitors(start):
    bench = await start()
    hub = bench.hub
    hub.budget.visitors_max = 1
    first, second = await bench.visitor(), await bench.visitor()
    await bench.wait(lambda: len(hub.connections) == 2)
    bench.later(1.5)
    assert await second.rest() == b""
    assert hub.stats.connections_shed == 1
    assert (await first.get("/healthz")).status == 200
