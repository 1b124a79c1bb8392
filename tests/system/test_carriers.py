"""The same whole-system tests over each carrier: WebSocket messages, raw behind WebSocket, TCP, TLS, and a foreign one."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest
from tests.system.conftest import Plant
from tests.system.harness import DEADLINE, settle_fds, until
from tests.system.targets import Call, digest_of
from tests.system.visitors import Cut, fetch
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

MIB = 2**20


async def test_all_carriers_side_by_side(crossing: dict[str, Plant]) -> None:
    """One hub, an agent over each carrier, everything at once."""
    size = 4 * MIB
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(2 * DEADLINE))
        targets = {name: await stack.enter_async_context(plant.target()) for name, plant in crossing.items()}

        async def visit(plant: Plant) -> None:
            async with plant.visitor() as visitor:
                answer = await visitor.upload(visitor.url("/upload"), size)
                assert answer.body.decode() == f"{size} {digest_of(size)}"
                visitor.write_head("GET", visitor.url(f"/download?size={size}"))
                assert (await visitor.digest()).digest == digest_of(size)
                for number in range(20):
                    assert (await visitor.get(f"/echo?n={number}")).json["target"] == f"/echo?n={number}"

        await asyncio.gather(*(visit(plant) for plant in crossing.values() for _ in range(2)))
        assert {name: len(target.calls) for name, target in targets.items()} == dict.fromkeys(crossing, 44)


async def test_small_requests_side_by_side(plant: Plant) -> None:
    async with plant.target() as target, asyncio.timeout(DEADLINE):

        async def visit(number: int) -> None:
            async with plant.visitor() as visitor:
                for turn in range(5):
                    answer = await visitor.request("POST", visitor.url(f"/echo?n={number}.{turn}"), b"x" * number)
                    assert (answer.status, answer.json["size"]) == (200, number)
                    assert answer.json["target"] == f"/echo?n={number}.{turn}"

        await asyncio.gather(*(visit(number) for number in range(50)))
        assert len(target.calls) == 250


async def test_bodies_arrive_whole_both_ways(plant: Plant) -> None:
    size = 8 * MIB + 12_345
    expected = digest_of(size)
    async with plant.target(), asyncio.timeout(DEADLINE):

        async def down(query: str) -> None:
            async with plant.visitor() as visitor:
                visitor.write_head("GET", visitor.url(f"/download?size={size}{query}"))
                answer = await visitor.digest()
                assert (answer.size, answer.digest) == (size, expected)

        async def up(chunked: bool) -> None:
            async with plant.visitor() as visitor:
                answer = await visitor.upload(visitor.url("/upload"), size, chunked=chunked)
                assert answer.body.decode() == f"{size} {expected}"

        await asyncio.gather(down(""), down("&chunked=1"), up(False), up(True))


async def test_each_event_arrives_before_the_next_is_written(plant: Plant) -> None:
    """Event N + 1 is written only once the visitor has event N: nothing on the way may wait for more."""
    go = asyncio.Event()

    async def events(call: Call) -> None:
        if call.argument("chunked"):
            await call.head("200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked")
            write = call.chunk
        else:
            await call.head("200 OK", "Content-Type: text/event-stream")
            write = call.send
        for number in range(20):
            await go.wait()
            go.clear()
            await write(b"data: %d\n\n" % number)
        if call.argument("chunked"):
            await call.chunk(b"")
        call.cut()

    async with plant.target() as target:
        target.on("/events", events)
        for query in ("", "?chunked=1"):
            async with asyncio.timeout(DEADLINE), plant.visitor() as visitor:
                visitor.write_head("GET", visitor.url("/events" + query))
                response = await visitor.head()
                assert response.headers["content-type"] == "text/event-stream"
                pieces = visitor.pieces(response)
                for number in range(20):
                    go.set()
                    assert await anext(pieces) == b"data: %d\n\n" % number
                assert [piece async for piece in pieces] == []


async def test_request_chunks_reach_the_target_one_by_one(plant: Plant) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(call: Call) -> None:
        async for piece in call.pieces():
            arrived.put_nowait(piece)
        await call.answer("200 OK", b"done")

    async with plant.target() as target, asyncio.timeout(DEADLINE), plant.visitor() as visitor:
        target.on("/listen", listen)
        visitor.write_head("POST", visitor.url("/listen"), "Transfer-Encoding: chunked")
        for number in range(10):
            piece = b"piece %d" % number
            await visitor.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            assert await arrived.get() == piece
        await visitor.send(b"0\r\n\r\n")
        assert (await visitor.response()).body == b"done"


@pytest.mark.parametrize("mode", ["length", "chunked", "close"])
async def test_a_cut_response_never_looks_complete(plant: Plant, mode: str) -> None:
    """A reset is an error in every framing; FIN ends only a body without one."""
    async with plant.target(), asyncio.timeout(DEADLINE):
        for query in (f"?mode={mode}&reset=1", f"?mode={mode}"):
            async with plant.visitor() as visitor:
                visitor.write_head("GET", visitor.url("/cut" + query))
                if mode == "close" and "reset" not in query:
                    assert len((await visitor.response()).body) == 100_000
                    continue
                try:
                    response = await visitor.response()
                except Cut as cut:
                    response = cut.response
                    assert response.status == 200
                else:
                    # The reset may have overtaken the head on its way to the agent.
                    assert (response.status, response.json["code"]) == (502, response.json["code"])
        assert (await fetch(plant.port, "/hello", agent=plant.agent)).status == 200


async def _ws(plant: Plant, path: str) -> ClientConnection:
    url = f"ws://127.0.0.1:{plant.port}/api/v1/proxy/{plant.agent}{path}"
    url += ("&" if "?" in path else "?") + "x-proxy-host={}:{}".format(*plant.ws.getsockname())
    return await connect(url, compression=None, proxy=None, max_size=4 * MIB, ping_interval=None, open_timeout=DEADLINE)


async def test_websocket_messages_pass_unchanged(plant: Plant) -> None:
    async with plant.websocket(), asyncio.timeout(DEADLINE), await _ws(plant, "/echo") as visitor:
        for message in ("text", "grüße \U0001f980", b"\x00\xff binary", "", b"", "x" * MIB, bytes(range(256)) * 4096):
            await visitor.send(message)
            assert await visitor.recv() == message
        await visitor.send(["in ", "three ", "parts"])
        assert await visitor.recv() == "in three parts"


async def test_websocket_pings_pass_both_ways(plant: Plant) -> None:
    async with plant.websocket(), asyncio.timeout(DEADLINE), await _ws(plant, "/ping") as visitor:
        await (await visitor.ping(b"12345"))
        await visitor.send("ping me")
        assert await visitor.recv() == "pong"


async def test_websocket_close_codes_pass_both_ways(plant: Plant) -> None:
    async with plant.websocket() as target, asyncio.timeout(DEADLINE):
        for code in (1000, 1001, 1011, 4321):
            async with await _ws(plant, f"/close?code={code}") as visitor:
                await visitor.send("go")
                with pytest.raises(ConnectionClosed):
                    await visitor.recv()
                assert (visitor.close_code, visitor.close_reason) == (code, "as asked")
        await until(lambda: len(target.codes) == 4, "the target is through with those")
        target.codes.clear()
        for code in (1000, 1001, 3999):
            visitor = await _ws(plant, "/echo")
            await visitor.close(code, "bye")
        await until(lambda: Counter(target.codes) == Counter([1000, 1001, 3999]), "the target has the codes")


async def test_websocket_ends_are_told_without_a_close_frame(plant: Plant) -> None:
    async with plant.websocket() as target, asyncio.timeout(DEADLINE):
        visitor = await _ws(plant, "/echo")
        await visitor.send("x")
        assert await visitor.recv() == "x"
        visitor.transport.abort()
        await until(lambda: target.codes == [1006], "the target learns of the visitor's end")
        visitor = await _ws(plant, "/echo")
        await visitor.send("x")
        assert await visitor.recv() == "x"
        assert target._server is not None
        for connection in target._server.connections:
            connection.transport.abort()
        with pytest.raises(ConnectionClosed):
            await visitor.recv()
        assert visitor.close_code == 1006


async def test_two_hundred_websockets_at_once(plant: Plant) -> None:
    before = {daemon: daemon.fds for daemon in plant.system.daemons}
    async with plant.websocket() as target, asyncio.timeout(2 * DEADLINE):
        visitors = await asyncio.gather(*(_ws(plant, "/echo") for _ in range(200)))
        assert target.open == 200

        async def talk(number: int, visitor: ClientConnection) -> None:
            for turn in range(3):
                message = f"{number}.{turn}" if number % 2 else b"%d.%d" % (number, turn)
                await visitor.send(message)
                assert await visitor.recv() == message

        await asyncio.gather(*(talk(number, visitor) for number, visitor in enumerate(visitors)))
        await asyncio.gather(*(visitor.close() for visitor in visitors))
        await until(lambda: target.open == 0, "the target's connections are over")
    await settle_fds(before)
