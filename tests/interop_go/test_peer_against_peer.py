"""The scripted peer itself, two of it against each other through a plain relay, so that its answers can be relied on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from conformance.peer import GoError, GoPeer


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def _pair(**options: object) -> AsyncIterator[tuple[GoPeer, GoPeer]]:
    """Give a client and a server joined by a relay, since both of them listen."""
    async with await GoPeer.listen("client", **options) as client, await GoPeer.listen("server", **options) as server:
        to_client = await asyncio.open_connection("127.0.0.1", client.port)
        to_server = await asyncio.open_connection("127.0.0.1", server.port)
        pumps = [
            asyncio.ensure_future(_pump(to_client[0], to_server[1])),
            asyncio.ensure_future(_pump(to_server[0], to_client[1])),
        ]
        try:
            yield client, server
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for _, writer in (to_client, to_server):
                writer.close()
                await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_streams_carry_the_pattern_both_ways() -> None:
    async with _pair() as (client, server):
        assert (await client("open"))["id"] == 1
        assert (await server("accept"))["id"] == 1
        sending = client.begin("write 1 1000000")
        got = await server("readfull 1 1000000")
        assert (got["len"], got["bad"]) == (1000000, -1)
        assert (await sending)["len"] == 1000000
        await server("text 1 hello there")
        assert bytes.fromhex((await client("read 1 64"))["data"]) == b"hello there"
        await client("close 1")
        assert (await server("drain 1"))["len"] == 0
        await server("close 1")
        assert (await server("num"))["num"] == 0


async def test_errors_carry_a_kind() -> None:
    async with _pair() as (client, server):
        stream = (await client("open"))["id"]
        await client(f"rdeadline {stream} 1")
        with pytest.raises(GoError) as timed_out:
            await client(f"read {stream} 1")
        assert timed_out.value.kind == "timeout"
        with pytest.raises(GoError) as unknown:
            await client("read 77 1")
        assert unknown.value.kind == "usage"
        await server("goaway")
        await client("ping")
        with pytest.raises(GoError) as refused:
            await client("open")
        assert refused.value.kind == "goaway"
        await server("sclose")
        await client("closed")
        with pytest.raises(GoError) as ended:
            await client("ping")
        assert ended.value.kind == "shutdown"


async def test_bursts_come_back_whole_from_an_echo() -> None:
    async with _pair(window=512 * 1024) as (client, server):
        await server("serve echo")
        assert (await client("burst 50 100000"))["ok"] == 50
        counts = await server("counts")
        assert counts["accepted"] == 50
