"""A cut is seen as one at the other end."""

from __future__ import annotations

import asyncio

import pytest
from tests.yamux.wire import QUIET

from tunnel.cutting import cut
from tunnel.splice import Splice
from yamux import Session, StreamReset
from yamux.testing import Recorder, memory_pair


async def connected() -> tuple[asyncio.Server, Recorder, Recorder]:
    """A listener, what it accepted, and the other end of it."""
    loop = asyncio.get_running_loop()
    accepted, dialled = Recorder(), Recorder()
    server = await loop.create_server(lambda: accepted, "127.0.0.1", 0)
    await loop.create_connection(lambda: dialled, *server.sockets[0].getsockname())
    await accepted.until(lambda: accepted.connected)
    return server, accepted, dialled


async def test_a_socket_sends_a_reset() -> None:
    server, accepted, dialled = await connected()
    accepted.transport.write(b"words")
    assert await dialled.received(5) == b"words"
    cut(accepted.transport)
    await dialled.until(lambda: dialled.closed)
    assert isinstance(dialled.error, ConnectionResetError) and not dialled.eof
    server.close()


@pytest.mark.parametrize("how", ["lost", "abort"])
async def test_the_target_of_a_tunnel_that_is_cut_sees_no_end(how: str) -> None:
    server, target, inner = await connected()
    peer, stream = Recorder(keep_open=True), Recorder()
    memory_pair(peer, stream)
    splice = Splice(stream.transport, inner.transport)
    peer.transport.write(b"half of it")
    assert await target.received(10) == b"half of it"
    if how == "lost":
        peer.transport.abort()
    else:
        splice.abort()
    await target.until(lambda: target.closed)
    assert isinstance(target.error, ConnectionResetError) and not target.eof
    server.close()


async def test_a_stream_is_reset_and_its_carrier_goes_on() -> None:
    seen: list[Recorder] = []

    def accept() -> Recorder:
        seen.append(Recorder())
        return seen[-1]

    client = Session(client=True, config=QUIET)
    server = Session(client=False, config=QUIET, stream_factory=accept)
    memory_pair(client, server)
    one, two = Recorder(), Recorder()
    client.open_stream(one)
    client.open_stream(two)
    one.transport.write(b"a")
    await asyncio.sleep(0)
    cut(one.transport)
    two.transport.write(b"b")
    while len(seen) < 2 or not seen[0].closed:
        await asyncio.sleep(0)
    assert isinstance(seen[0].error, StreamReset)
    assert await seen[1].received(1) == b"b"
    client.abort()
    await client.wait_closed()
