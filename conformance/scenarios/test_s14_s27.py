"""Scenarios 14 to 27: deadlines, limits, keepalive, windows and GoAway, after the reference's own tests."""

from __future__ import annotations

import asyncio
import signal

import pytest

from conformance.peer import GoError, pattern
from conformance.scenarios.support import (
    ACK,
    FIN,
    GO_AWAY,
    KIB,
    MAX_U32,
    MIB,
    PATIENCE,
    PING,
    QUIET,
    RST,
    SYN,
    WINDOW,
    WINDOW_UPDATE,
    both_empty,
    data,
    echo_all,
    ended,
    eventually,
    freeze,
    go_away,
    pair,
    ping,
    text,
    theirs,
    traced,
    update,
    with_go,
    with_raw,
)
from yamux import Config, KeepaliveTimeout, RemoteGoAway, SessionClosed
from yamux.frames import HEADER_SIZE, pack, unpack_from


async def test_s14_a_read_given_up_loses_nothing(role: str, opener: str) -> None:
    async with with_go(role) as (session, peer):
        stream, number = await pair(session, peer, opener)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await stream.read(64)
        await peer(f"text {number} later")
        assert await stream.read(64) == b"later"
        await peer(f"rdeadline {number} 20")
        with pytest.raises(GoError) as late:
            await peer(f"read {number} 1")
        assert late.value.kind == "timeout"
        await peer(f"rdeadline {number} 0")
        stream.write(b"now")
        assert await text(peer, number) == b"now"


async def test_s14_a_blocked_read_is_woken(role: str) -> None:
    async with with_go(role) as (session, peer):
        stream, number = await pair(session, peer, "ours")
        reading = asyncio.ensure_future(stream.read(64))
        await session.ping()
        reading.cancel()
        await peer(f"text {number} kept")
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await stream.readexactly(4) == b"kept"


async def test_s15_a_write_into_a_full_window_waits(role: str) -> None:
    async with with_go(role) as (session, peer):
        stream, number = await pair(session, peer, "ours")
        stream.write(pattern(MIB))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await stream.drain()
        assert stream.bytes_out == WINDOW
        assert stream.transport.get_write_buffer_size() == MIB - WINDOW
        assert (await peer(f"readfull {number} {MIB}"))["bad"] == -1
        await stream.drain()
        assert stream.bytes_out == MIB


async def test_s15_their_write_into_a_full_window_waits(role: str) -> None:
    async with with_go(role) as (session, peer):
        stream, number = await pair(session, peer, "ours")
        await peer(f"wdeadline {number} 1000")
        with pytest.raises(GoError) as full:
            await peer(f"write {number} {MIB}")
        assert (full.value.kind, full.value.result["len"]) == ("timeout", WINDOW)
        assert await stream.readexactly(WINDOW) == pattern(WINDOW)
        await peer(f"wdeadline {number} 0")
        assert (await peer(f"write {number} 1000"))["len"] == 1000
        assert await stream.readexactly(1000) == pattern(1000, WINDOW)


async def test_s16_an_open_beyond_the_limit_waits(role: str) -> None:
    async with with_go(role, Config(max_unacked=4)) as (session, peer):
        for _ in range(4):
            await session.open()
        waiting = [asyncio.ensure_future(session.open()) for _ in range(2)]
        await session.ping()
        assert not any(one.done() for one in waiting)
        await peer("accept")
        done, _ = await asyncio.wait(waiting, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        await peer("drop")
        await ended(session)
        with pytest.raises(SessionClosed):
            await next(one for one in waiting if one not in done)


async def test_s17_five_times_the_backlog(role: str) -> None:
    async with with_go(role, Config(max_unacked=16, accept_backlog=16), backlog=16) as (session, peer):
        echo = asyncio.ensure_future(echo_all(session))
        assert (await peer("burst 80 100"))["ok"] == 80
        await peer("serve echo")

        async def one() -> None:
            stream = await session.open()
            stream.write(b"all of them")
            stream.write_eof()
            assert await stream.read() == b"all of them"

        async with asyncio.TaskGroup() as group:
            for _ in range(80):
                group.create_task(one())
        await both_empty(session, peer)
        session.abort()
        await echo


async def test_s18_keepalive_both_ways(role: str) -> None:
    config = Config(keepalive_interval=0.02, keepalive_timeout=30)
    async with traced(role, config, keepalive="20ms") as (session, peer):
        await eventually(lambda: sum(frame.kind == PING for frame in session.frames) >= 24)
        asked = {frame.direction for frame in session.frames if frame.kind == PING and frame.flags == SYN}
        told = {frame.direction for frame in session.frames if frame.kind == PING and frame.flags == ACK}
        assert len(asked) == len(told) == 2
        assert {frame.kind for frame in session.frames} == {PING}
        assert session.rtt is not None
        assert (await peer("num"))["closed"] is False


async def test_s19_a_silent_peer_ends_the_session(role: str) -> None:
    async with with_go(role, Config(keepalive_interval=0.5, keepalive_timeout=2.0)) as (session, peer):
        stream, _ = await pair(session, peer, "ours")
        await freeze(peer)
        reason = await ended(session)
        assert isinstance(reason, KeepaliveTimeout)
        assert isinstance(reason, TimeoutError)
        assert "keepalive" in str(reason)
        with pytest.raises(SessionClosed):
            await stream.read()
        peer.kill(signal.SIGCONT)


async def test_s20_their_larger_window(role: str, opener: str) -> None:
    async with with_go(role, window=512 * KIB) as (session, peer):
        stream, number = await pair(session, peer, opener)
        await session.ping()
        stream.write(pattern(512 * KIB))
        await eventually(lambda: stream.bytes_out == 512 * KIB)
        assert (await peer(f"readfull {number} {512 * KIB}"))["bad"] == -1


async def test_s20_our_larger_window(role: str, opener: str) -> None:
    async with with_go(role, Config(stream_window=512 * KIB)) as (session, peer):
        stream, number = await pair(session, peer, opener)
        await peer("ping")
        await peer(f"wdeadline {number} 20000")
        assert (await peer(f"write {number} {512 * KIB}"))["len"] == 512 * KIB
        assert await stream.readexactly(512 * KIB) == pattern(512 * KIB)


async def test_s21_a_partial_read_gives_its_credit(role: str) -> None:
    half = WINDOW // 2
    async with traced(role) as (session, peer):
        stream, number = await pair(session, peer, "theirs")
        await peer(f"write {number} {WINDOW}")
        before = len(session.sent)
        assert len(await stream.readexactly(half - 1)) == half - 1
        await session.ping()
        updates = [frame.length for frame in session.sent[before:] if frame.kind == WINDOW_UPDATE]
        assert updates == []
        assert len(await stream.readexactly(2)) == 2
        await session.ping()
        updates = [frame.length for frame in session.sent[before:] if frame.kind == WINDOW_UPDATE]
        assert updates == [half + 1]
        stream.reset()


async def test_s22_a_carrier_that_takes_nothing_does_not_stop_reading(role: str) -> None:
    """The peer reads not a byte, so even our window updates wait; what it sends comes in all the same."""
    async with with_raw(role, buffers=8 * KIB) as (session, raw):
        number = theirs(role)
        raw.send(update(number, 0, SYN), update(number, MAX_U32 - WINDOW))
        stream = await session.accept()
        stream.write(bytes(8 * MIB))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await stream.drain()
        for turn in range(4):
            raw.send(data(number, pattern(64 * KIB, turn * 64 * KIB)))
        assert await stream.readexactly(WINDOW) == pattern(WINDOW)
        # The update waits its turn, then leaves ahead of the data that is left.
        while ((seen := await raw.frame()).kind, seen.flags) != (WINDOW_UPDATE, 0):
            pass
        assert WINDOW // 2 <= seen.length <= WINDOW
        assert stream.bytes_out < 8 * MIB
        stream.reset()


async def test_s23_a_stalled_carrier(role: str) -> None:
    """A write is bounded by its caller's own limit, and the session by keepalive; what never left is not claimed."""
    config = Config(keepalive_interval=0.3, keepalive_timeout=0.3)
    async with with_raw(role, config, buffers=8 * KIB) as (session, raw):
        number = theirs(role)
        raw.send(update(number, MAX_U32 - WINDOW, SYN))
        stream = await session.accept()
        stream.write(bytes(64 * MIB))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await stream.drain()
        late = asyncio.ensure_future(stream.drain())
        other = await session.open()
        other.write(b"never leaves")
        assert isinstance(await ended(session), KeepaliveTimeout)
        with pytest.raises(SessionClosed):
            await late
        assert other.bytes_out == 0
        assert stream.bytes_out < 64 * MIB


async def test_s24_pings_while_we_cannot_write(role: str) -> None:
    async with with_raw(role, buffers=8 * KIB) as (session, raw):
        number = theirs(role)
        raw.send(update(number, 2 * MIB, SYN))
        stream = await session.accept()
        stream.write(bytes(2 * MIB))
        await eventually(lambda: session._write_paused)
        raw.send(*(ping(value) for value in range(100)), data(number, b"read on"))
        assert await stream.readexactly(7) == b"read on"
        pongs: list[tuple[int, int, int]] = []
        while len(pongs) < 100:
            seen = await raw.frame()
            if seen.kind == PING:
                pongs.append((seen.flags, seen.stream, seen.length))
        assert pongs == [(ACK, 0, value) for value in range(100)]
        await raw.passed()
        stream.reset()


async def test_s25_their_goaway(role: str) -> None:
    async with with_go(role) as (session, peer):
        stream, number = await pair(session, peer, "ours")
        await peer("goaway")
        await session.ping()
        assert not session.can_open
        with pytest.raises(RemoteGoAway) as refused:
            await session.open()
        assert refused.value.code == 0
        stream.write(b"still")
        assert await text(peer, number) == b"still"
        late, number = await pair(session, peer, "theirs")
        late.close()
        await peer(f"close {number}")
        assert not session.is_closed


async def test_s25_goaway_wakes_those_who_wait(role: str) -> None:
    async with with_raw(role, Config(keepalive_interval=0, max_unacked=1)) as (session, raw):
        await session.open()
        waiting = asyncio.ensure_future(session.open())
        raw.send(go_away(0))
        with pytest.raises(RemoteGoAway):
            await waiting


async def test_s26_a_cancelled_accept_loses_no_stream(role: str) -> None:
    async with with_go(role) as (session, peer):
        for _ in range(20):
            waiting = [asyncio.ensure_future(session.accept()) for _ in range(2)]
            opening = peer.begin("open")
            # The stream may come before, with or after the cancellation.
            await asyncio.wait(waiting, timeout=0.001)
            waiting[0].cancel()
            number = (await opening)["id"]
            await peer("ping")
            got = await asyncio.gather(waiting[0], return_exceptions=True)
            if isinstance(got[0], BaseException):
                stream = await waiting[1]
            else:
                stream = got[0]
                waiting[1].cancel()
                await asyncio.gather(waiting[1], return_exceptions=True)
            assert stream.id == number
            stream.reset()
        await both_empty(session, peer)


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 0xFFFF])
@pytest.mark.parametrize("flags", [0, SYN | ACK | FIN | RST, 0xFFFF])
@pytest.mark.parametrize("stream", [0, 1, MAX_U32])
@pytest.mark.parametrize("length", [0, WINDOW, MAX_U32])
def test_s27_header_round_trip(kind: int, flags: int, stream: int, length: int) -> None:
    header = pack(kind, flags, stream, length)
    assert len(header) == HEADER_SIZE == 12
    assert unpack_from(b"before" + header, 6) == (kind, flags, stream, length)
    parts = (kind.to_bytes(2, "big"), flags.to_bytes(2, "big"), stream.to_bytes(4, "big"), length.to_bytes(4, "big"))
    assert header == b"".join(parts)


async def test_s27_the_reference_reads_our_header(role: str) -> None:
    """Every type and flag of ours once, against the reference's own reading of them."""
    async with traced(role, QUIET) as (session, peer):
        stream, number = await pair(session, peer, "ours")
        stream.write(b"data")
        assert await text(peer, number) == b"data"
        stream.write_eof()
        accepted, second = await pair(session, peer, "theirs")
        accepted.reset()
        await session.ping()
        with pytest.raises(GoError):
            await peer(f"read {second} 1")
        session.go_away()
        await peer("ping")
        kinds = {(frame.kind, frame.flags) for frame in session.sent}
        assert kinds == {
            *((WINDOW_UPDATE, flags) for flags in (SYN, ACK, FIN, RST)),
            (0, 0),
            (PING, SYN),
            (PING, ACK),
            (GO_AWAY, 0),
        }
        assert peer.logs == []
        stream.reset()
