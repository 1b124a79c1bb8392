from __future__ import annotations

import asyncio

import pytest
from tests.yamux.wire import ack, against_raw, data, fin, turns, until

from yamux import StreamTransport
from yamux.streamend import HIGH_MARK

roles = pytest.mark.parametrize("client", [True, False], ids=["client", "server"])


class Keeper(asyncio.Protocol):
    """Keeps its transport and reads nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, StreamTransport)
        self.transport = transport
        transport.pause_reading()


@roles
async def test_what_a_stream_tells_of_itself(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        keeper = Keeper()
        session.open_stream(keeper)
        stream = keeper.transport
        assert not stream.answered
        assert stream.get_extra_info("stream_id") == stream.id
        assert stream.get_extra_info("session") is session
        assert stream.get_extra_info("nonsense", "none") == "none"
        stream.write(bytes(10))
        await turns(5)
        peer.send(ack(stream.id), data(stream.id, b"hello"))
        await until(lambda: stream.unread)
        assert stream.answered
        assert (stream.bytes_in, stream.bytes_out, stream.unread) == (5, 10, 5)
        stream.resume_reading()
        await turns(5)
        assert stream.unread == 0
        peer.send(fin(stream.id))


@roles
async def test_a_writer_above_the_mark_is_full(client: bool) -> None:
    async with against_raw(client=client) as (session, _):
        keeper = Keeper()
        session.open_stream(keeper)
        assert not keeper.transport.is_full
        keeper.transport.write(bytes(HIGH_MARK + 1))
        assert keeper.transport.is_full
        keeper.transport.abort()
