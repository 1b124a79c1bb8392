from __future__ import annotations

import asyncio
import socket

import pytest

from tunnel.splice import Splice
from yamux import Session, StreamReset
from yamux.testing import CLEAN, TINY, MemoryPair, Recorder, memory_pair


class Joined:
    """left peer <-> (pair) <-> splice <-> (pair) <-> right peer."""

    def __init__(self, link=CLEAN, **options):
        self.left, self.right = Recorder(keep_open=True), Recorder(keep_open=True)
        inner_left, inner_right = Recorder(), Recorder()
        self.pairs: list[MemoryPair] = [
            memory_pair(self.left, inner_left, link),
            memory_pair(self.right, inner_right, link),
        ]
        self.ended: list[Splice] = []
        self.splice = Splice(inner_left.transport, inner_right.transport, on_end=self.ended.append, **options)

    async def over(self):
        async with asyncio.timeout(60):
            while not self.ended:
                await asyncio.sleep(0)
        assert self.ended == [self.splice]


@pytest.mark.parametrize("link", [CLEAN, TINY])
async def test_bytes_both_ways(link):
    joined = Joined(link)
    joined.left.transport.write(b"to the right")
    joined.right.transport.write(b"to the left")
    assert await joined.right.received(12) == b"to the right"
    assert await joined.left.received(11) == b"to the left"
    assert joined.splice.moved == (12, 11, 0, 0)
    joined.splice.abort()
    await joined.over()


async def test_what_was_read_before_comes_first():
    joined = Joined(to_left=b"early left", to_right=b"early right")
    joined.left.transport.write(b", late")
    assert await joined.right.received(17) == b"early right, late"
    assert await joined.left.received(10) == b"early left"
    joined.splice.abort()
    await joined.over()


@pytest.mark.parametrize("first", ["left", "right"])
async def test_c20_half_close_is_passed_on_and_the_other_way_stays_open(first):
    joined = Joined()
    one, other = (joined.left, joined.right) if first == "left" else (joined.right, joined.left)
    one.transport.write(b"question")
    one.transport.write_eof()
    await other.until(lambda: other.eof)
    assert bytes(other.data) == b"question"
    assert not one.eof
    other.transport.write(b"answer")
    other.transport.write_eof()
    await one.until(lambda: one.eof)
    assert bytes(one.data) == b"answer"
    await joined.over()


@pytest.mark.parametrize("side", ["left", "right"])
async def test_a_failure_is_an_abort_on_the_other_side(side):
    joined = Joined()
    one, other = (joined.left, joined.right) if side == "left" else (joined.right, joined.left)
    one.transport.write(b"cut")
    await other.received(3)
    one.transport.abort()
    assert isinstance(await other.lost(), ConnectionResetError)
    assert not other.eof
    await joined.over()


async def test_last_words_before_a_failure_arrive_and_the_failure_still_shows():
    """Whoever refuses what is sent to it says why, closes, and so resets the connection."""
    async with asyncio.timeout(60):
        client, server = Session(client=True), Session(client=False)
        memory_pair(client, server)
        recorder = Recorder(keep_open=True)
        stream = client.open_stream(recorder)
        accepted = await server.accept()
        ours, theirs = socket.socketpair()
        with theirs:
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
            splice = Splice(accepted.transport, transport)
            # As the loop tells of it: nothing was read, and writing has failed.
            transport.pause_reading()
            theirs.send(b"1009 too big")
            splice.right.connection_lost(ConnectionResetError())
            assert await recorder.received(12) == b"1009 too big"
            assert isinstance(await recorder.lost(), StreamReset)
            assert not recorder.eof
            assert stream.is_closing()
            transport.abort()
        client.abort()
        await client.wait_closed()
        await server.wait_closed()


async def test_failure_after_the_eof_does_not_take_back_what_was_sent():
    joined = Joined()
    joined.pairs[0].stall()
    joined.right.transport.write(b"the last words")
    joined.right.transport.write_eof()
    side = joined.splice.right
    async with asyncio.timeout(60):
        while not side.eof:
            await asyncio.sleep(0)
    joined.right.transport.abort()
    async with asyncio.timeout(60):
        while not side.lost:
            await asyncio.sleep(0)
    joined.pairs[0].release()
    await joined.left.until(lambda: joined.left.eof)
    assert bytes(joined.left.data) == b"the last words"
    joined.left.transport.close()
    await joined.over()


async def test_abort_cuts_both():
    joined = Joined()
    joined.splice.abort()
    joined.splice.abort()
    assert isinstance(await joined.left.lost(), ConnectionResetError)
    assert isinstance(await joined.right.lost(), ConnectionResetError)
    await joined.over()
    assert "Splice" in repr(joined.splice)
    assert joined.splice.moved == (0, 0, 0, 0)


async def test_a_slow_side_holds_the_other_up():
    joined = Joined()
    joined.right.transport.pause_reading()
    for _ in range(64):
        joined.left.transport.write(bytes(64 * 1024))
    await joined.left.until(lambda: joined.left.paused)
    async with asyncio.timeout(60):
        while not joined.splice.right.full:
            await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert joined.splice.right.transport.get_write_buffer_size() <= 192 * 1024
    joined.right.transport.resume_reading()
    await joined.right.until(lambda: joined.right.size == 64 * 64 * 1024)
    joined.splice.abort()
    await joined.over()


async def test_a_side_that_was_full_before_is_waited_for():
    joined = Joined(left_full=True)
    assert not joined.splice.right.transport.is_reading()
    joined.splice.left.resume_writing()
    assert joined.splice.right.transport.is_reading()
    joined.splice.abort()
    await joined.over()


async def test_what_was_read_before_may_fill_a_side():
    joined = Joined(to_left=bytes(200_000))
    assert joined.splice.left.full
    assert not joined.splice.right.transport.is_reading()
    await joined.left.received(200_000)
    assert joined.splice.right.transport.is_reading()
    joined.splice.abort()
    await joined.over()


async def test_without_half_close_an_eof_ends_both_ways():
    joined = Joined()
    joined.splice.right.transport.can_write_eof = lambda: False  # type: ignore[method-assign]
    joined.left.transport.write(b"all")
    joined.left.transport.write_eof()
    await joined.right.until(lambda: joined.right.eof)
    assert bytes(joined.right.data) == b"all"
    await joined.left.until(lambda: joined.left.eof)
    await joined.over()


async def test_a_yamux_stream_on_one_side():
    seen = Recorder(keep_open=True)
    visitor, inner = Recorder(keep_open=True), Recorder()
    pair = memory_pair(visitor, inner)
    made: list[Splice] = []

    class Accept(asyncio.Protocol):
        def connection_made(self, transport):
            made.append(Splice(transport, inner.transport))

    agent, hub = Session(client=True, stream_factory=Accept), Session(client=False)
    memory_pair(agent, hub)
    hub.open_stream(seen)
    seen.transport.write(b"x" * 500_000)
    await visitor.received(500_000)
    visitor.transport.write(b"y" * 500_000)
    await seen.received(500_000)
    seen.transport.write_eof()
    await visitor.until(lambda: visitor.eof)
    visitor.transport.close()
    await seen.until(lambda: seen.eof)
    assert made[0].moved[:2] == (500_000, 500_000)
    await seen.lost()
    # A second one, whose stream is reset.
    other = Recorder(keep_open=True)
    visitor, inner = Recorder(keep_open=True), Recorder()
    pair = memory_pair(visitor, inner)
    hub.open_stream(other)
    other.transport.write(b"z")
    await visitor.received(1)
    other.transport.abort()
    assert isinstance(await visitor.lost(), ConnectionResetError)
    assert pair.left.lost
    await agent.close()
    await hub.close()


async def test_real_sockets():
    loop = asyncio.get_running_loop()
    ends = [socket.socketpair() for _ in range(2)]
    peers = [Recorder(keep_open=True) for _ in ends]
    inner = [Recorder() for _ in ends]
    for (outside, inside), peer, one in zip(ends, peers, inner, strict=True):
        await loop.create_connection(lambda peer=peer: peer, sock=outside)
        await loop.create_connection(lambda one=one: one, sock=inside)
    over = asyncio.Event()
    Splice(inner[0].transport, inner[1].transport, on_end=lambda _: over.set())
    peers[0].transport.write(bytes(3_000_000))
    peers[0].transport.write_eof()
    await peers[1].until(lambda: peers[1].eof)
    assert peers[1].size == 3_000_000
    peers[1].transport.write(b"thanks")
    peers[1].transport.close()
    await peers[0].until(lambda: peers[0].eof)
    assert bytes(peers[0].data) == b"thanks"
    peers[0].transport.close()
    async with asyncio.timeout(60):
        await over.wait()
