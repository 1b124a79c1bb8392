"""Scenarios 50 to 57: ends of sessions, slow readers and limits."""

from __future__ import annotations

import asyncio

import pytest

from conformance.peer import GoError, pattern
from conformance.scenarios.support import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    KIB,
    MIB,
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
    eventually,
    ours,
    pair,
    text,
    theirs,
    traced,
    update,
    with_go,
    with_raw,
)
from yamux import Config, SessionClosed, Stream, StreamLimit, StreamReset
from yamux.core import LAST_ID
from yamux.frames import pack


async def test_s50_after_our_goaway(role: str) -> None:
    async with with_raw(role) as (session, raw):
        raw.send(update(theirs(role), 0, SYN))
        stream = await session.accept()
        session.go_away()
        await raw.until(Seen(GO_AWAY, 0, 0, 0))
        raw.send(update(theirs(role, 1), 0, SYN), data(theirs(role, 2), b"unheard", SYN), data(theirs(role), b"heard"))
        resets = [Seen(WINDOW_UPDATE, RST, theirs(role, nth), 0) for nth in (1, 2)]
        assert await raw.passed() == resets
        assert await stream.readexactly(5) == b"heard"
        stream.close()
        raw.send(update(theirs(role), 0, FIN))
        assert await raw.passed() == [Seen(WINDOW_UPDATE, FIN, theirs(role), 0)]
        assert session.num_streams == 0


async def test_s50_the_reference_after_our_goaway(role: str) -> None:
    async with with_go(role) as (session, peer):
        stream, number = await pair(session, peer, "ours")
        session.go_away()
        await session.ping()
        with pytest.raises(GoError) as refused:
            await peer("open")
        assert refused.value.kind == "goaway"
        await peer(f"text {number} still")
        assert await stream.read(64) == b"still"
        late, number = await pair(session, peer, "ours")
        late.close()
        await peer(f"close {number}")


async def test_s50_we_after_their_goaway_crossed_our_syn(role: str) -> None:
    async with with_go(role, QUIET) as (session, peer):
        going = peer.begin("goaway")
        crossed = [await session.open() for _ in range(3)]
        await going
        for stream in crossed:
            if stream.transport.answered:
                with pytest.raises(StreamReset):
                    await stream.read(1)
            stream.reset()
        await both_empty(session, peer)


async def test_s51_a_graceful_close_delivers_everything(role: str) -> None:
    for turn in range(200):
        async with with_go(role) as (session, peer):
            stream, number = await pair(session, peer, "ours" if turn % 2 else "theirs")
            size = 1000 * (turn + 1)
            reading = peer.begin(f"sha {number}")
            stream.write(pattern(size))
            stream.close()
            closing = asyncio.ensure_future(session.close(grace=3600))
            got = await reading
            assert (got["len"], got["bad"]) == (size, -1)
            await peer(f"close {number}")
            async with asyncio.timeout(20):
                await closing
                await peer.closed.wait()
            assert [line for line in peer.logs if "ERR" in line] == []


async def test_s51_goaway_comes_last(role: str) -> None:
    async with with_raw(role) as (session, raw):
        raw.send(update(theirs(role), 0, SYN))
        stream = await session.accept()
        stream.write(b"to the end")
        stream.close()
        closing = asyncio.ensure_future(session.close(grace=3600))
        body = Seen(DATA, 0, theirs(role), 10, b"to the end")
        assert await raw.until(body, Seen(WINDOW_UPDATE, FIN, theirs(role), 0)) == [
            Seen(WINDOW_UPDATE, ACK, theirs(role), 0)
        ]
        raw.send(update(theirs(role), 0, FIN))
        assert await raw.rest() == [Seen(GO_AWAY, 0, 0, 0)]
        raw.end()
        await closing


async def test_s52_their_close_in_the_middle(role: str, opener: str) -> None:
    """Told by the reference as a clean end; a truncated stream would then look complete."""
    async with with_go(role) as (session, peer):
        stream, number = await pair(session, peer, opener)
        await peer(f"write {number} 1000")
        assert await stream.readexactly(1000) == pattern(1000)
        reading = asyncio.ensure_future(stream.read())
        await peer("sclose")
        with pytest.raises(SessionClosed):
            await reading
        await ended(session)


async def test_s52_their_close_after_fin(role: str) -> None:
    async with with_go(role) as (session, peer):
        stream, number = await pair(session, peer, "theirs")
        await peer(f"write {number} 1000")
        await peer(f"close {number}")
        # The reference does not flush what it has queued when its session is closed.
        await peer("ping")
        await peer("sclose")
        await ended(session)
        assert await stream.read() == pattern(1000)


@pytest.mark.parametrize(
    ("frames", "place"),
    [
        (lambda number: pack(DATA, 0, number, 100)[:7], "header"),
        (lambda number: data(number, bytes(100))[:50], "body"),
        (lambda number: data(number, bytes(100)), "between frames"),
    ],
    ids=["header", "body", "between"],
)
async def test_s53_a_cut_names_its_place(role: str, frames: object, place: str) -> None:
    async with with_raw(role) as (session, raw):
        stream = await session.open()
        await raw.answer(ours(role))
        assert callable(frames)
        raw.send(frames(ours(role)))
        raw.end()
        with pytest.raises(SessionClosed):
            await stream.read()
        assert place in str(await ended(session))


async def test_s53_a_cut_under_the_reference(role: str) -> None:
    async with with_go(role) as (session, peer):
        first, _ = await pair(session, peer, "ours")
        second, number = await pair(session, peer, "theirs")
        await peer(f"close {number}")
        assert await second.read() == b""
        second.write(bytes(MIB))
        await peer("drop")
        await ended(session)
        for attempt in (first.read(1), first.drain(), second.drain()):
            with pytest.raises(SessionClosed):
                await attempt


async def test_s54_a_stalled_reader_stops_itself_only(role: str) -> None:
    async with with_go(role, Config(max_stream_window=WINDOW)) as (session, peer):
        slow, number = await pair(session, peer, "theirs")
        blocked = peer.begin(f"write {number} {MIB}")
        await peer("ping")
        echo = asyncio.ensure_future(echo_all(session))
        assert (await peer("burst 20 300000"))["ok"] == 20
        assert not blocked.done()
        held = [stream.unread for stream in session.core.streams.values()]
        assert held == [WINDOW]
        assert await slow.readexactly(MIB) == pattern(MIB)
        assert (await blocked)["len"] == MIB
        session.abort()
        await echo


async def test_s54_a_paused_protocol_holds_no_more_than_its_window(role: str) -> None:
    """The same for a protocol of asyncio's kind that pauses reading: nothing is handed over, no credit is given."""

    class Slow(asyncio.Protocol):
        held = 0
        made: asyncio.Transport

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            Slow.made = transport
            transport.pause_reading()

        def data_received(self, piece: bytes) -> None:
            Slow.held += len(piece)

    async with with_raw(role, factory=Slow) as (session, raw):
        raw.send(update(theirs(role), 0, SYN), *[data(theirs(role), bytes(KIB))] * 256)
        assert await raw.passed() == [Seen(WINDOW_UPDATE, ACK, theirs(role), 0)]
        assert Slow.held == 0
        Slow.made.resume_reading()
        credit = await raw.frame()
        assert (credit.kind, credit.flags, credit.stream) == (WINDOW_UPDATE, 0, theirs(role))
        assert WINDOW // 2 <= credit.length <= WINDOW
        await eventually(lambda: Slow.held == WINDOW)
        assert not session.is_closed


async def test_s55_three_hundred_opens_toward_a_backlog_of_256(role: str) -> None:
    async with traced(role) as (session, peer):
        opening = [asyncio.ensure_future(session.open()) for _ in range(300)]
        await eventually(lambda: sum(one.done() for one in opening) == 256)
        await session.ping()
        assert sum(frame.flags == SYN and bool(frame.stream) for frame in session.sent) == 256
        assert (await peer("num"))["num"] == 256
        for _ in range(300):
            await peer("accept")
        streams = await asyncio.gather(*opening)
        await session.ping()
        assert [frame for frame in session.came if frame.flags == RST] == []
        for stream in streams:
            stream.close()
            await peer(f"close {stream.id}")
        await both_empty(session, peer)


async def test_s56_acknowledged_at_once(role: str) -> None:
    """The reference would end the session after its 300 ms."""
    async with with_go(role, QUIET, open_timeout="300ms") as (session, peer):
        numbers = [(await peer("open"))["id"] for _ in range(3)]
        streams: list[Stream] = [await session.accept() for _ in numbers]
        await peer("sleep 700")
        assert (await peer("num")) | {"n": 0} == {"n": 0, "cmd": "num", "num": 3, "closed": False}
        streams[0].write(b"first word")
        assert await text(peer, numbers[0]) == b"first word"
        for stream in streams:
            stream.reset()


async def test_s57_the_last_id(role: str) -> None:
    last = LAST_ID if role == "client" else LAST_ID - 1
    async with with_go(role, QUIET) as (session, peer):
        session.core._next_id = last
        stream, number = await pair(session, peer, "ours")
        assert number == last
        with pytest.raises(StreamLimit, match="used up"):
            await session.open()
        assert not session.can_open
        stream.write(b"still fine")
        assert await text(peer, number) == b"still fine"
        theirs_still, number = await pair(session, peer, "theirs")
        theirs_still.close()
        await peer(f"close {number}")
        stream.close()
        await peer(f"close {last}")
        await both_empty(session, peer)
