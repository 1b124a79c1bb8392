"""Our yamux session and hashicorp/yamux, in both roles, on one TCP connection."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from conformance.peer import GoError, GoPeer, pattern
from yamux import Config, RemoteGoAway, Session, SessionClosed, Stream, StreamReset

MIB = 1 << 20


@pytest.fixture(params=["client", "server"])
def role(request: pytest.FixtureRequest) -> str:
    """Return our own yamux role."""
    value: str = request.param
    return value


@asynccontextmanager
async def _joined(role: str, config: Config | None = None, **options: object) -> AsyncIterator[tuple[Session, GoPeer]]:
    """Give a session of ours in this role with a Go peer in the other at its far end."""
    other = "server" if role == "client" else "client"
    async with await GoPeer.listen(other, **options) as peer:
        loop = asyncio.get_running_loop()
        session = Session(client=role == "client", config=config or Config())
        await loop.create_connection(lambda: session, "127.0.0.1", peer.port)
        try:
            await peer.opened.wait()
            yield session, peer
        finally:
            session.abort()
            await session.wait_closed()


async def _pair(session: Session, peer: GoPeer, opener: str) -> tuple[Stream, int]:
    """Open one stream from the side named and give both its ends."""
    if opener == "ours":
        stream = await session.open()
        number: int = (await peer("accept"))["id"]
    else:
        number = (await peer("open"))["id"]
        stream = await session.accept()
    assert stream.id == number
    return stream, number


async def _empty(session: Session, peer: GoPeer) -> None:
    """Assert that both stream tables come to nothing: a ping each way has passed all that was on its way."""
    await session.ping()
    await peer("ping")
    assert session.num_streams == 0
    assert (await peer("num"))["num"] == 0


async def test_e01_both_sides_ping(role: str) -> None:
    async with _joined(role) as (session, peer):
        assert await session.ping() > 0
        assert (await peer("ping"))["us"] >= 0


async def test_e03_both_open_at_once(role: str) -> None:
    async with _joined(role) as (session, peer):
        ours = await session.open()
        theirs = (await peer("open"))["id"]
        assert {ours.id, theirs} == {1, 2}
        assert (await peer("accept"))["id"] == ours.id
        accepted = await session.accept()
        assert accepted.id == theirs
        for stream in (ours, accepted):
            stream.write(b"end")
            stream.close()
            assert bytes.fromhex((await peer(f"read {stream.id} 9"))["data"]) == b"end"
            await peer(f"close {stream.id}")
            await stream.wait_closed()
        await _empty(session, peer)


@pytest.mark.parametrize("opener", ["ours", "theirs"])
async def test_e08_many_small_writes(role: str, opener: str) -> None:
    async with _joined(role) as (session, peer):
        stream, number = await _pair(session, peer, opener)
        reading = peer.begin(f"sha {number}")
        for _ in range(1000):
            stream.write(b"test")
            await stream.drain()
        stream.write_eof()
        got = await reading
        assert got["len"] == 4000
        assert got["sha256"] == hashlib.sha256(b"test" * 1000).hexdigest()
        for _ in range(100):
            await peer(f"text {number} test")
        await peer(f"close {number}")
        assert await stream.read() == b"test" * 100
        stream.close()
        await _empty(session, peer)


@pytest.mark.parametrize("opener", ["ours", "theirs"])
async def test_e09_large_both_ways(role: str, opener: str) -> None:
    size = 64 * MIB
    async with _joined(role) as (session, peer):
        stream, number = await _pair(session, peer, opener)
        sent, reading = hashlib.sha256(), peer.begin(f"sha {number}")
        for start in range(0, size, MIB):
            piece = pattern(MIB, start)
            sent.update(piece)
            stream.write(piece)
            await stream.drain()
        stream.write_eof()
        got = await reading
        assert (got["len"], got["bad"], got["sha256"]) == (size, -1, sent.hexdigest())
        writing = peer.begin(f"write {number} {size}")
        received = hashlib.sha256()
        left = size
        while left:
            piece = await stream.read(MIB)
            assert piece
            received.update(piece)
            left -= len(piece)
        assert (await writing)["len"] == size
        assert received.hexdigest() == sent.hexdigest()
        await peer(f"close {number}")
        assert await stream.read() == b""
        await _empty(session, peer)


async def _echo_one(stream: Stream) -> None:
    while piece := await stream.read(65536):
        stream.write(piece)
        await stream.drain()
    stream.close()
    await stream.wait_closed()


async def _echo_all(session: Session) -> None:
    async with asyncio.TaskGroup() as group:
        async for stream in session:
            group.create_task(_echo_one(stream))


async def test_e11_their_streams_are_echoed(role: str) -> None:
    async with _joined(role) as (session, peer):
        echo = asyncio.ensure_future(_echo_all(session))
        for size in (0, 1, 1000, 300_000):
            assert (await peer(f"burst 50 {size}"))["ok"] == 50
        await _empty(session, peer)
        session.abort()
        await asyncio.gather(echo, return_exceptions=True)
        assert not [line for line in peer.logs if "without inflight SYN" in line]


async def test_e11_our_streams_are_echoed(role: str) -> None:
    async def one(session: Session, number: int) -> None:
        stream = await session.open()
        body = pattern(200_000, number)
        stream.write(body)
        stream.write_eof()
        assert await stream.read() == body

    async with _joined(role) as (session, peer):
        await peer("serve echo")
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(one(session, number))
        await _empty(session, peer)


@pytest.mark.parametrize("opener", ["ours", "theirs"])
async def test_e12_half_close_keeps_the_other_direction(role: str, opener: str) -> None:
    async with _joined(role) as (session, peer):
        stream, number = await _pair(session, peer, opener)
        stream.write(b"question")
        stream.write_eof()
        assert bytes.fromhex((await peer(f"read {number} 64"))["data"]) == b"question"
        with pytest.raises(GoError) as ended:
            await peer(f"read {number} 1")
        assert ended.value.kind == "eof"
        await peer(f"text {number} answer")
        await peer(f"close {number}")
        assert await stream.read() == b"answer"
        await _empty(session, peer)


async def test_e14_a_cancelled_read_loses_nothing(role: str) -> None:
    async with _joined(role) as (session, peer):
        stream, number = await _pair(session, peer, "ours")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await stream.read(64)
        await peer(f"text {number} later")
        assert await stream.read(64) == b"later"
        await peer(f"rdeadline {number} 20")
        with pytest.raises(GoError) as late:
            await peer(f"read {number} 1")
        assert late.value.kind == "timeout"
        await peer(f"rdeadline {number} 0")
        stream.write(b"now")
        assert bytes.fromhex((await peer(f"read {number} 64"))["data"]) == b"now"


async def test_e15_a_write_into_a_full_window_waits(role: str) -> None:
    async with _joined(role) as (session, peer):
        stream, number = await _pair(session, peer, "ours")
        await peer(f"wdeadline {number} 50")
        with pytest.raises(GoError) as full:
            await peer(f"write {number} {MIB}")
        assert full.value.kind == "timeout"
        fitted = full.value.result["len"]
        assert fitted == 256 * 1024
        assert await stream.readexactly(fitted) == pattern(fitted)
        await peer(f"wdeadline {number} 0")
        assert (await peer(f"write {number} 1000"))["len"] == 1000
        assert await stream.readexactly(1000) == pattern(1000, fitted)


async def test_e17_more_streams_than_the_backlog(role: str) -> None:
    async with _joined(role, backlog=16) as (session, peer):
        echo = asyncio.ensure_future(_echo_all(session))
        assert (await peer("burst 80 100"))["ok"] == 80
        session.abort()
        await asyncio.gather(echo, return_exceptions=True)


async def test_e18_keepalive_both_ways(role: str) -> None:
    config = Config(keepalive_interval=0.05, keepalive_timeout=5)
    async with _joined(role, config, keepalive="50ms") as (session, peer):
        before = session.stats.frames_in
        async with asyncio.timeout(20):
            while session.stats.frames_in < before + 10:
                await peer("sleep 20")
        assert session.rtt is not None
        assert (await peer("num"))["closed"] is False


async def test_e19_a_silent_peer_ends_the_session(role: str) -> None:
    config = Config(keepalive_interval=0.05, keepalive_timeout=0.2)
    async with _joined(role, config) as (session, peer):
        peer.kill(19)
        await asyncio.wait_for(session.wait_closed(), 20)
        assert "keepalive" in str(session.close_reason).lower()
        peer.kill(18)


async def test_e20_a_larger_window_of_theirs(role: str) -> None:
    async with _joined(role, window=MIB) as (session, peer):
        for opener in ("ours", "theirs"):
            stream, number = await _pair(session, peer, opener)
            stream.write(pattern(MIB))
            async with asyncio.timeout(20):
                while stream.bytes_out < MIB:
                    await session.ping()
            assert (await peer(f"readfull {number} {MIB}"))["bad"] == -1


async def test_e20_a_larger_window_of_ours(role: str) -> None:
    async with _joined(role, Config(stream_window=MIB)) as (session, peer):
        for opener in ("ours", "theirs"):
            stream, number = await _pair(session, peer, opener)
            await peer(f"wdeadline {number} 20000")
            assert (await peer(f"write {number} {MIB}"))["len"] == MIB
            assert await stream.readexactly(MIB) == pattern(MIB)


async def test_e25_their_goaway(role: str) -> None:
    async with _joined(role) as (session, peer):
        stream, number = await _pair(session, peer, "ours")
        await peer("goaway")
        await session.ping()
        assert not session.can_open
        with pytest.raises(RemoteGoAway):
            await session.open()
        stream.write(b"still")
        assert bytes.fromhex((await peer(f"read {number} 64"))["data"]) == b"still"


async def test_e50_our_goaway(role: str) -> None:
    async with _joined(role) as (session, peer):
        stream, number = await _pair(session, peer, "ours")
        session.go_away()
        await session.ping()
        with pytest.raises(GoError) as refused:
            await peer("open")
        assert refused.value.kind == "goaway"
        await peer(f"text {number} still")
        assert await stream.read(64) == b"still"


async def test_e29_one_ack_each_over_many_streams(role: str) -> None:
    async with _joined(role) as (session, peer):
        echo = asyncio.ensure_future(_echo_all(session))
        for _ in range(20):
            assert (await peer("burst 200 10"))["ok"] == 200
        await _empty(session, peer)
        assert not [line for line in peer.logs if "ERR" in line]
        session.abort()
        await asyncio.gather(echo, return_exceptions=True)


async def test_e30_closed_before_it_was_accepted(role: str) -> None:
    async with _joined(role) as (session, peer):
        number = (await peer("open"))["id"]
        await peer(f"close {number}")
        await peer("ping")
        stream = await session.accept()
        assert await stream.read() == b""
        stream.close()
        await _empty(session, peer)


async def test_e04_open_and_close_before_any_accept(role: str) -> None:
    async with _joined(role, backlog=8) as (session, peer):
        for _ in range(8):
            (await session.open()).close()
        for _ in range(8):
            number = (await peer("accept"))["id"]
            await peer(f"close {number}")
        stream, _ = await _pair(session, peer, "ours")
        stream.close()


async def test_e05_they_never_accept(role: str) -> None:
    async with _joined(role, Config(stream_open_timeout=0.1)) as (session, peer):
        stream = await session.open()
        with pytest.raises(StreamReset):
            await stream.read(1)
        assert not session.is_closed
        await peer("ping")


async def test_e06_our_fin_unanswered(role: str) -> None:
    async with _joined(role, Config(stream_close_timeout=0.1)) as (session, peer):
        stream, number = await _pair(session, peer, "ours")
        stream.close()
        with pytest.raises(GoError) as ended:
            await peer(f"sha {number}")
            while True:
                await peer(f"write {number} 1")
        assert ended.value.kind in ("reset", "closed")
        assert session.num_streams == 0


async def test_e51_graceful_close_delivers_everything(role: str) -> None:
    for _ in range(20):
        async with _joined(role) as (session, peer):
            stream, number = await _pair(session, peer, "ours")
            reading = peer.begin(f"sha {number}")
            stream.write(pattern(200_000))
            stream.write_eof()
            closing = asyncio.ensure_future(session.close(grace=3600))
            got = await reading
            assert (got["len"], got["bad"]) == (200_000, -1)
            await peer(f"close {number}")
            async with asyncio.timeout(15):
                await closing
            await peer.closed.wait()


async def test_e52_their_close_in_the_middle_is_no_clean_end(role: str) -> None:
    async with _joined(role) as (session, peer):
        stream, number = await _pair(session, peer, "ours")
        await peer(f"write {number} 1000")
        await peer("sclose")
        with pytest.raises((SessionClosed, StreamReset)):
            await stream.read()
        await session.wait_closed()


async def test_e53_no_stream_outlives_its_session(role: str) -> None:
    async with _joined(role) as (session, peer):
        await _pair(session, peer, "ours")
        await _pair(session, peer, "theirs")
        await peer("drop")
        await session.wait_closed()
        assert session.num_streams == 0


async def test_e55_no_more_opens_than_their_backlog(role: str) -> None:
    async with _joined(role) as (session, peer):
        opening = [asyncio.ensure_future(session.open()) for _ in range(300)]
        await session.ping()
        await session.ping()
        assert (await peer("num"))["num"] == 256
        for _ in range(300):
            await peer("accept")
        streams = await asyncio.gather(*opening)
        await session.ping()
        assert (await peer("num"))["num"] == 300
        for stream in streams:
            stream.reset()


async def test_e56_acknowledged_at_once(role: str) -> None:
    async with _joined(role, open_timeout="300ms") as (session, peer):
        await peer("open")
        stream = await session.accept()
        await peer("sleep 600")
        assert (await peer("num"))["closed"] is False
        assert not session.is_closed
        stream.reset()


async def test_e59_pongs_overtake_bulk(role: str) -> None:
    async with _joined(role, keepalive="1s", write_timeout="1s") as (session, peer):
        stream, number = await _pair(session, peer, "ours")
        stream.write(pattern(16 * MIB))
        for _ in range(64):
            await peer(f"readfull {number} 131072")
            await peer("sleep 25")
        reading = peer.begin(f"readfull {number} {8 * MIB}")
        assert (await reading)["bad"] == -1
        assert (await peer("num"))["closed"] is False


async def test_e60_fin_never_overtakes_data(role: str) -> None:
    async with _joined(role) as (session, peer):
        for _ in range(200):
            stream, number = await _pair(session, peer, "ours")
            reading = peer.begin(f"sha {number}")
            stream.write(pattern(70_000))
            stream.write_eof()
            assert (await reading)["len"] == 70_000
            await peer(f"close {number}")
            assert await stream.read() == b""
        await _empty(session, peer)


async def test_e54_one_unread_stream_stalls_itself_only(role: str) -> None:
    async with _joined(role) as (session, peer):
        slow, number = await _pair(session, peer, "theirs")
        blocked = peer.begin(f"write {number} {MIB}")
        await peer("ping")
        echo = asyncio.ensure_future(_echo_all(session))
        assert (await peer("burst 20 300000"))["ok"] == 20
        assert not blocked.done()
        assert await slow.readexactly(MIB) == pattern(MIB)
        assert (await blocked)["len"] == MIB
        session.abort()
        await asyncio.gather(echo, return_exceptions=True)
