"""Scenarios 1 to 13: pings, opening, closing and data, after the reference's own tests."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from conformance.peer import GoError, GoPeer, pattern
from conformance.scenarios.support import (
    ACK,
    FIN,
    KIB,
    MIB,
    PING,
    QUIET,
    RST,
    SYN,
    WINDOW,
    WINDOW_UPDATE,
    Seen,
    both_empty,
    data,
    echo_all,
    ended,
    freeze,
    ours,
    pair,
    ping,
    text,
    theirs,
    traced,
    update,
    with_go,
    with_raw,
)
from yamux import Config, Session, SessionClosed, Stream, StreamReset


async def test_s01_both_sides_ping(role: str) -> None:
    async with traced(role) as (session, peer):
        assert await session.ping() > 0
        # The reference starts its watch after sending: the answer can be there before.
        assert (await peer("ping"))["us"] >= 0
        pings = [(frame.flags, frame.stream, frame.length) for frame in session.frames if frame.kind == PING]
        # Each side counts from 0; a pong repeats the value.
        assert pings == [(SYN, 0, 0), (ACK, 0, 0), (SYN, 0, 0), (ACK, 0, 0)]


async def test_s02_an_unanswered_ping(role: str) -> None:
    async with with_raw(role) as (session, raw):
        with pytest.raises(TimeoutError):
            await session.ping(timeout=0.05)
        first = await raw.frame()
        raw.send(ping(first.length, ACK))
        later = asyncio.ensure_future(session.ping())
        second = await raw.frame()
        assert (second.kind, second.flags) == (PING, SYN)
        assert second.length != first.length
        raw.send(ping(second.length, ACK))
        assert await later > 0
        assert not session.is_closed


async def test_s02_a_reference_that_is_stopped(role: str) -> None:
    async with with_go(role, QUIET) as (session, peer):
        await freeze(peer)
        with pytest.raises(TimeoutError):
            await session.ping(timeout=0.05)
        peer.kill(18)
        assert await session.ping() > 0


async def test_s03_both_open_at_once(role: str) -> None:
    async with with_go(role) as (session, peer):
        opening = peer.begin("open")
        stream = await session.open()
        assert {stream.id, (await opening)["id"]} == {1, 2}
        assert (await peer("accept"))["id"] == stream.id
        accepted = await session.accept()
        for one in (stream, accepted):
            one.close()
            await peer(f"close {one.id}")
            await one.wait_closed()
        await both_empty(session, peer)


async def test_s04_opened_and_closed_before_any_accept(role: str) -> None:
    async with with_go(role, Config(max_unacked=8), backlog=8) as (session, peer):
        for _ in range(8):
            (await session.open()).close()
        for _ in range(8):
            await peer(f"close {(await peer('accept'))['id']}")
        async with asyncio.timeout(10):
            stream, number = await pair(session, peer, "ours")
        stream.close()
        await peer(f"close {number}")
        await both_empty(session, peer)


async def test_s04_theirs_opened_and_closed_before_any_accept(role: str) -> None:
    """Our ACK goes out although their FIN came first: it is what frees the reference's places."""
    async with with_go(role, backlog=8) as (session, peer):
        for _ in range(8):
            await peer(f"close {(await peer('open'))['id']}")
        await peer("ping")
        for _ in range(8):
            (await session.accept()).close()
        for _ in range(8):
            await asyncio.wait_for(peer.begin("open"), 10)
        for _ in range(8):
            (await session.accept()).reset()
        await both_empty(session, peer)


async def test_s05_never_accepted_resets_the_stream(role: str) -> None:
    """The reference ends the whole session here; we lose the one stream, and do that only by option."""
    async with with_go(role, Config(stream_open_timeout=0.1)) as (session, peer):
        stream = await session.open()
        with pytest.raises(StreamReset) as reset:
            await stream.read(1)
        assert not reset.value.remote
        await both_empty(session, peer)


async def test_s05_never_accepted_ends_the_session_by_option(role: str) -> None:
    config = Config(stream_open_timeout=0.1, open_timeout_ends_session=True)
    async with with_go(role, config) as (session, peer):
        stream = await session.open()
        with pytest.raises(SessionClosed):
            await stream.read(1)
        assert "answer" in str(await ended(session))
        await peer.closed.wait()


async def test_s05_what_we_never_accept_is_reset_in_time_for_the_reference(role: str) -> None:
    async with with_go(role, Config(accept_timeout=0.1, stream_close_timeout=0.2), open_timeout="5s") as (
        session,
        peer,
    ):
        number = (await peer("open"))["id"]
        with pytest.raises(GoError) as reset:
            await peer(f"read {number} 1")
        assert reset.value.kind == "reset"
        await both_empty(session, peer)


async def test_s06_our_fin_unanswered(role: str) -> None:
    async with with_go(role, Config(stream_close_timeout=0.1)) as (session, peer):
        stream, number = await pair(session, peer, "ours")
        stream.write_eof()
        with pytest.raises(StreamReset):
            await stream.read(1)
        await session.ping()
        with pytest.raises(GoError) as reset:
            await peer(f"write {number} 1")
        assert reset.value.kind == "reset"
        await both_empty(session, peer)


async def test_s06_their_fin_unanswered(role: str) -> None:
    async with with_go(role, close_timeout="2s") as (session, peer):
        stream, number = await pair(session, peer, "theirs")
        await peer(f"close {number}")
        assert await stream.read() == b""
        with pytest.raises(StreamReset):
            while True:
                stream.write(b"more")
                await session.ping()
        await both_empty(session, peer)


async def test_s07_nothing_from_a_dead_session(role: str) -> None:
    async with with_go(role) as (session, peer):
        waiting = asyncio.ensure_future(session.accept())
        await session.ping()
        await peer("sclose")
        await ended(session)
        for attempt in (waiting, session.open(), session.accept(), session.ping()):
            with pytest.raises(SessionClosed):
                await attempt
        assert not session.can_open


async def test_s08_many_small_writes(role: str, opener: str) -> None:
    async with with_go(role) as (session, peer):
        stream, number = await pair(session, peer, opener)
        reading = peer.begin(f"sha {number}")
        for _ in range(1000):
            stream.write(b"test")
            await stream.drain()
        stream.write_eof()
        got = await reading
        assert (got["len"], got["sha256"]) == (4000, hashlib.sha256(b"test" * 1000).hexdigest())
        writes = [peer._send(f"text {number} test") for _ in range(1000)]
        await asyncio.gather(*writes)
        await peer(f"close {number}")
        assert await stream.read() == b"test" * 1000
        await both_empty(session, peer)


async def _send(stream: Stream, size: int) -> str:
    """Send this much of the pattern and return its digest."""
    digest = hashlib.sha256()
    for start in range(0, size, MIB):
        piece = pattern(min(MIB, size - start), start)
        digest.update(piece)
        stream.write(piece)
        await stream.drain()
    stream.write_eof()
    return digest.hexdigest()


async def test_s09_large_to_the_reference(role: str) -> None:
    size = 250 * MIB
    async with with_go(role) as (session, peer):
        stream, number = await pair(session, peer, "ours")
        reading = peer.begin(f"sha {number}")
        digest = await _send(stream, size)
        got = await reading
        assert (got["len"], got["bad"], got["sha256"]) == (size, -1, digest)
        await peer(f"close {number}")
        assert await stream.read() == b""
        await both_empty(session, peer)


async def test_s09_large_from_the_reference(role: str) -> None:
    size = 250 * MIB
    async with with_go(role, Config(max_stream_window=MIB)) as (session, peer):
        stream, number = await pair(session, peer, "theirs")
        writing = peer.begin(f"write {number} {size}")
        left, most = size, 0
        while left:
            core = stream.transport._stream
            most = max(most, core.unread)
            assert core.unread + core.recv_credit <= core.window <= MIB
            piece = await stream.read(MIB)
            assert piece == pattern(len(piece), size - left)
            left -= len(piece)
        assert 0 < most <= MIB
        assert (await writing)["len"] == size
        await peer(f"close {number}")
        assert await stream.read() == b""
        stream.close()
        await both_empty(session, peer)


async def test_s10_sixteen_large_streams(role: str) -> None:
    size = 8 * MIB

    async def one(session: Session, peer: GoPeer) -> None:
        stream = await session.open()
        back = asyncio.ensure_future(stream.read())
        digest = await _send(stream, size)
        assert hashlib.sha256(await back).hexdigest() == digest

    async with with_go(role) as (session, peer):
        await peer("serve echo")
        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(one(session, peer))
        await both_empty(session, peer)


async def test_s11_many_streams_one_way(role: str) -> None:
    async def one(session: Session) -> None:
        stream = await session.open()
        for number in range(1000):
            stream.write(b"message %03d" % number)
            await stream.drain()
        stream.close()
        await stream.wait_closed()

    async with with_go(role) as (session, peer):
        await peer("serve sink")
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(one(session))
        await both_empty(session, peer)
        assert (await peer("counts"))["accepted"] == 50


async def test_s11_many_streams_ping_pong(role: str) -> None:
    async def one(session: Session) -> None:
        stream = await session.open()
        for number in range(1000):
            message = b"message %03d" % number
            stream.write(message)
            assert await stream.readexactly(len(message)) == message
        stream.write_eof()
        assert await stream.read() == b""

    async with with_go(role) as (session, peer):
        await peer("serve echo")
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(one(session))
        await both_empty(session, peer)


async def test_s11_their_streams_are_echoed(role: str) -> None:
    async with with_go(role) as (session, peer):
        echo = asyncio.ensure_future(echo_all(session))
        for size in (0, 1, 1000, 300_000):
            assert (await peer(f"burst 50 {size}"))["ok"] == 50
        await both_empty(session, peer)
        session.abort()
        await echo
        assert [line for line in peer.logs if "inflight" in line] == []


async def test_s12_half_close(role: str, opener: str) -> None:
    async with with_go(role) as (session, peer):
        stream, number = await pair(session, peer, opener)
        stream.write(b"question")
        stream.write_eof()
        assert await text(peer, number) == b"question"
        with pytest.raises(GoError) as end:
            await peer(f"read {number} 1")
        assert end.value.kind == "eof"
        for word in (b"an", b"answer"):
            await peer(f"text {number} {word.decode()}")
            assert await stream.readexactly(len(word)) == word
        await peer(f"close {number}")
        assert await stream.read() == b""
        await both_empty(session, peer)


async def test_s13_full_window_fin_and_drop(role: str) -> None:
    async with with_go(role) as (session, peer):
        stream, number = await pair(session, peer, "theirs")
        assert (await peer(f"write {number} {WINDOW}"))["len"] == WINDOW
        await peer(f"close {number}")
        await peer("ping")
        await peer("drop")
        assert isinstance(await ended(session), SessionClosed)
        assert await stream.read() == pattern(WINDOW)
        assert stream.at_eof()


async def test_s13_full_window_and_fin_from_hand(role: str) -> None:
    async with with_raw(role) as (session, raw):
        number = theirs(role)
        raw.send(update(number, 0, SYN), *(data(number, pattern(KIB, i * KIB)) for i in range(256)))
        raw.send(update(number, 0, FIN))
        raw.end()
        stream = await session.accept()
        await ended(session)
        assert await stream.read() == pattern(WINDOW)
        with pytest.raises(SessionClosed):
            await session.accept()
        assert RST not in {seen.flags for seen in await raw.rest()}


async def test_s13_without_fin_it_is_an_error(role: str) -> None:
    async with with_raw(role) as (session, raw):
        opening = asyncio.ensure_future(session.open())
        stream = await opening
        await raw.until(Seen(WINDOW_UPDATE, SYN, ours(role), 0))
        raw.send(update(ours(role), 0, ACK), data(ours(role), b"cut"))
        raw.end()
        assert await stream.readexactly(3) == b"cut"
        with pytest.raises(SessionClosed):
            await stream.read()
