"""A stream for coroutines, against a peer that writes frames by hand, in both roles."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.yamux.wire import WINDOW, RawPeer, ack, against_raw, data, fin, pack, rst, turns, until, update

from yamux import SessionClosed, Stream, StreamClosed, StreamReset
from yamux.frames import DATA, FIN, RST, SYN, WINDOW_UPDATE
from yamux.stream import SEARCH_LIMIT

roles = pytest.mark.parametrize("client", [True, False], ids=["client", "server"])


@asynccontextmanager
async def opened(client: bool) -> AsyncIterator[tuple[Stream, RawPeer]]:
    """A stream and its raw peer: opened here for a client, by the peer for a server."""
    async with against_raw(client=client) as (session, peer):
        if client:
            stream = await session.open()
            peer.send(ack(stream.id))
            await stream.wait_established()
        else:
            peer.send(update(1, 0, SYN))
            stream = await session.accept()
        await turns()
        peer.raw.clear()
        yield stream, peer


@roles
async def test_read_gives_what_is_there_and_then_the_end(client: bool) -> None:
    async with opened(client) as (stream, peer):
        peer.send(data(stream.id, b"abcdef"), data(stream.id, b"ghi"), fin(stream.id))
        assert await stream.read(0) == b""
        assert await stream.read(4) == b"abcd"
        assert await stream.read(100) == b"efghi"
        assert stream.at_eof() or await stream.read(1) == b""
        assert await stream.read() == b""
        assert stream.at_eof()


@roles
async def test_readexactly(client: bool) -> None:
    async with opened(client) as (stream, peer):
        for _ in range(10):
            peer.send(data(stream.id, b"0123456789"))
        assert await stream.readexactly(0) == b""
        assert await stream.readexactly(95) == (b"0123456789" * 10)[:95]
        peer.send(fin(stream.id))
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await stream.readexactly(6)
        assert (caught.value.partial, caught.value.expected) == (b"56789", 6)
        with pytest.raises(ValueError, match="less than zero"):
            await stream.readexactly(-1)


@roles
async def test_readexactly_of_more_than_a_window(client: bool) -> None:
    async with opened(client) as (stream, peer):
        reading = asyncio.create_task(stream.readexactly(4 * WINDOW))
        left, credit, sent = 4 * WINDOW, WINDOW, bytearray()
        while left:
            count = min(left, credit, 50_000)
            if count:
                body = bytes([left % 251]) * count
                peer.send(data(stream.id, body))
                sent += body
                left -= count
                credit -= count
            await turns(3)
            credit += sum(frame.length for frame in peer.frames())
        assert await reading == sent


@roles
async def test_readuntil_and_readline(client: bool) -> None:
    async with opened(client) as (stream, peer):
        for piece in (b"on", b"e\r", b"\ntwo\r\nlast"):
            peer.send(data(stream.id, piece))
            await turns(3)
        assert await stream.readuntil(b"\r\n") == b"one\r\n"
        assert await stream.readline() == b"two\r\n"
        reading = asyncio.create_task(stream.readline())
        await turns()
        peer.send(fin(stream.id))
        assert await reading == b"last"
        with pytest.raises(asyncio.IncompleteReadError):
            await stream.readuntil(b"\n")
        with pytest.raises(ValueError, match="Separator"):
            await stream.readuntil(b"")


@roles
async def test_readuntil_gives_up_and_leaves_the_data(client: bool) -> None:
    async with opened(client) as (stream, peer):
        peer.send(data(stream.id, bytes(SEARCH_LIMIT + 1)))
        with pytest.raises(asyncio.LimitOverrunError):
            await stream.readuntil(b"\n")
        assert len(await stream.readexactly(SEARCH_LIMIT + 1)) == SEARCH_LIMIT + 1


@roles
async def test_iteration_ends_with_the_peers_fin(client: bool) -> None:
    async with opened(client) as (stream, peer):
        peer.send(data(stream.id, bytes(100_000)), fin(stream.id))
        assert sum([len(part) async for part in stream]) == 100_000


@roles
async def test_one_reader_at_a_time(client: bool) -> None:
    async with opened(client) as (stream, peer):
        first = asyncio.create_task(stream.read(1))
        await turns(2)
        with pytest.raises(RuntimeError, match="another task"):
            await stream.read(1)
        peer.send(data(stream.id, b"x"))
        assert await first == b"x"


@roles
async def test_a_timed_read_loses_nothing(client: bool) -> None:
    async with opened(client) as (stream, peer):
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.005):
                    await stream.read(10)
        peer.send(data(stream.id, b"late"))
        assert await stream.read(10) == b"late"


@roles
async def test_a_cancelled_readexactly_puts_back_what_it_had_and_credits_it_once(client: bool) -> None:
    async with opened(client) as (stream, peer):
        reading = asyncio.create_task(stream.readexactly(2 * WINDOW))
        await turns(2)
        for _ in range(4):
            peer.send(data(stream.id, b"a" * (WINDOW // 4)))
            await turns(4)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        core = stream.transport._stream
        assert core.unread + core.recv_credit <= core.window
        assert await stream.readexactly(WINDOW) == b"a" * WINDOW
        assert core.unread == 0
        await turns()
        granted = sum(frame.length for frame in peer.frames())
        assert granted == WINDOW
        assert core.recv_credit == WINDOW


@roles
async def test_a_timed_out_write_keeps_count_of_what_left(client: bool) -> None:
    async with opened(client) as (stream, peer):
        stream.write(bytes(WINDOW + 100_000))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await stream.drain()
        assert stream.bytes_out == WINDOW
        assert stream.transport.get_write_buffer_size() == 100_000
        peer.send(update(stream.id, 200_000))
        await stream.drain()
        await until(lambda: stream.bytes_out == WINDOW + 100_000)
        await turns()
        bodies = sum(frame.length for frame in peer.frames() if frame.kind == DATA)
        assert bodies == WINDOW + 100_000


@roles
async def test_reading_goes_on_after_our_end(client: bool) -> None:
    async with opened(client) as (stream, peer):
        stream.write_eof()
        stream.write_eof()
        with pytest.raises(StreamClosed):
            stream.write(b"x")
        peer.send(data(stream.id, b"answer"))
        assert await stream.read(6) == b"answer"
        peer.send(fin(stream.id))
        assert await stream.read(6) == b""
        await stream.wait_closed()
        assert [frame.flags for frame in peer.frames()] == [FIN]


@roles
async def test_close_drops_what_was_not_read_and_lets_the_peer_finish(client: bool) -> None:
    async with opened(client) as (stream, peer):
        peer.send(data(stream.id, bytes(WINDOW)))
        await until(lambda: stream.bytes_in == WINDOW)
        stream.close()
        await stream.wait_closed()
        with pytest.raises(StreamClosed):
            await stream.read(1)
        await turns()
        assert [(f.flags, f.length) for f in peer.frames() if f.length] == [(0, WINDOW)], "its credit came back"
        session = stream.transport.session
        for _ in range(4):
            peer.send(data(stream.id, bytes(WINDOW // 2)))
            await turns()
        assert sum(frame.length for frame in peer.frames()) == 2 * WINDOW
        peer.send(fin(stream.id))
        await until(lambda: session.num_streams == 0)


@roles
async def test_a_reset_by_the_peer_drops_what_was_not_read(client: bool) -> None:
    async with opened(client) as (stream, peer):
        peer.send(data(stream.id, b"unread"), rst(stream.id, 42))
        await until(lambda: stream._over)
        with pytest.raises(StreamReset) as caught:
            await stream.read(10)
        assert (caught.value.code, caught.value.remote) == (42, True)
        with pytest.raises(StreamReset):
            stream.write(b"x")
        with pytest.raises(StreamReset):
            await stream.drain()
        await stream.wait_closed()


@roles
async def test_a_reset_after_fin_does_not_pass_for_an_end(client: bool) -> None:
    async with opened(client) as (stream, peer):
        peer.send(data(stream.id, b"unread"), fin(stream.id), rst(stream.id))
        await until(lambda: stream._over)
        with pytest.raises(StreamReset):
            await stream.read()


@roles
async def test_data_after_fin_is_an_error_of_that_stream(client: bool) -> None:
    async with opened(client) as (stream, peer):
        peer.send(fin(stream.id))
        assert await stream.read() == b""
        peer.send(data(stream.id, b"x"))
        await until(lambda: stream._over)
        with pytest.raises(StreamReset) as caught:
            stream.write(b"x")
        assert not caught.value.remote
        assert not stream.transport.session.is_closed


@roles
async def test_a_reset_here_is_seen_at_once_on_both_sides(client: bool) -> None:
    async with opened(client) as (stream, peer):
        peer.send(data(stream.id, b"unread"))
        await until(lambda: stream.bytes_in == 6)
        stream.write(bytes(2 * WINDOW))
        waiting = asyncio.create_task(stream.drain())
        await turns(1)
        stream.reset()
        stream.reset()
        for read in (stream.read(1), stream.drain(), waiting):
            with pytest.raises(StreamReset) as caught:
                await read
            assert not caught.value.remote
        await turns()
        assert [frame.flags for frame in peer.frames() if frame.kind == WINDOW_UPDATE] == [RST]


@roles
async def test_closing_wakes_a_writer_and_a_reader(client: bool) -> None:
    async with opened(client) as (stream, _):
        reading = asyncio.create_task(stream.read(1))
        await turns(2)
        stream.close()
        with pytest.raises(StreamClosed):
            await reading
    async with opened(client) as (stream, _):
        stream.write(bytes(2 * WINDOW))
        writing = asyncio.create_task(stream.drain())
        await turns(2)
        stream.transport.abort()
        with pytest.raises(StreamClosed):
            await writing


@roles
async def test_an_error_raised_often_does_not_grow(client: bool) -> None:
    async with opened(client) as (stream, peer):
        peer.send(rst(stream.id))
        await until(lambda: stream._over)
        depth = 0
        for _ in range(50):
            with pytest.raises(StreamReset) as caught:
                await stream.read(1)
            depth = len(traceback.extract_tb(caught.value.__traceback__))
        assert depth < 10


@roles
async def test_as_a_context_manager(client: bool) -> None:
    async with opened(client) as (stream, peer):
        async with stream:
            stream.write(b"bye")
        await turns()
        assert [(frame.kind, frame.flags) for frame in peer.frames()] == [(DATA, 0), (WINDOW_UPDATE, FIN)]
    async with opened(client) as (stream, peer):
        with pytest.raises(KeyError):
            async with stream:
                stream.write(b"never")
                raise KeyError
        await turns()
        assert [(frame.kind, frame.flags) for frame in peer.frames()] == [(WINDOW_UPDATE, RST)]


async def test_wait_established_sees_every_answer() -> None:
    async with against_raw(client=True) as (session, peer):
        acked, ended, refused, dropped = [await session.open() for _ in range(4)]
        tasks = [asyncio.create_task(stream.wait_established()) for stream in (acked, ended, refused, dropped)]
        await turns()
        assert not any(task.done() for task in tasks)
        peer.send(ack(acked.id), fin(ended.id), rst(refused.id))
        await until(lambda: sum(task.done() for task in tasks) == 3)
        dropped.reset()
        await turns()
        assert tasks[3].done()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[:2] == [None, None]
        assert isinstance(results[2], StreamReset)
        assert isinstance(results[3], StreamReset)


@roles
async def test_a_flood_of_small_pieces_stays_near_the_window(client: bool) -> None:
    async with opened(client) as (stream, peer):
        peer.send(data(stream.id, b"ab") * 20_000)
        await until(lambda: stream.bytes_in == 40_000)
        assert len(stream._chunks) < 100
        assert await stream.readexactly(40_000) == b"ab" * 20_000


@roles
async def test_what_it_says_of_itself(client: bool) -> None:
    async with opened(client) as (stream, peer):
        peer.send(data(stream.id, b"abc"))
        await until(lambda: stream.bytes_in == 3)
        assert "unread=3" in repr(stream)
        assert stream.get_extra_info("stream_id") == stream.id
        assert stream.get_extra_info("session") is stream.transport.session
        assert stream.get_extra_info("peername") == "memory-left"
        assert stream.get_extra_info("nothing", 7) == 7
        stream.transport.session.abort()
        with pytest.raises(SessionClosed):
            stream.write(b"x")


def test_a_body_may_be_cut_by_hand() -> None:
    assert pack(DATA, 0, 1, 2) + b"ab" == data(1, b"ab")
