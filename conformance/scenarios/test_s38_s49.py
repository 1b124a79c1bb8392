"""Scenarios 38 to 49: ends, windows, resets, splits, and the session's own frames, by hand."""

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
    MAX_U32,
    PING,
    RST,
    SYN,
    WINDOW,
    WINDOW_UPDATE,
    Raw,
    Seen,
    data,
    eventually,
    fate,
    go_away,
    ours,
    ping,
    raw_to_go,
    theirs,
    update,
    with_raw,
)
from yamux import ProtocolError, RemoteGoAway, Session, SessionClosed, Stream, StreamReset
from yamux.frames import pack

END = Seen(GO_AWAY, 0, 0, 1)


async def inbound(role: str, session: Session, raw: Raw) -> Stream:
    """Let the peer open its first stream."""
    raw.send(update(theirs(role), 0, SYN))
    stream = await session.accept()
    await raw.until(Seen(WINDOW_UPDATE, ACK, theirs(role), 0))
    return stream


@pytest.mark.parametrize("second", ["update", "data"])
async def test_s38_a_second_fin(role: str, second: str) -> None:
    """The reference ends the session here, go-yamux, js and python do not; it does no harm."""
    number = theirs(role)
    async with with_raw(role) as (session, raw):
        stream = await inbound(role, session, raw)
        raw.send(data(number, b"bytes"), update(number, 0, FIN))
        raw.send(update(number, 0, FIN) if second == "update" else data(number, b"", FIN))
        assert await stream.read() == b"bytes"
        stream.write(b"still open")
        assert await raw.passed() == [Seen(DATA, 0, number, 10, b"still open")]
        stream.close()
        assert await raw.passed() == [Seen(WINDOW_UPDATE, FIN, number, 0)]
        assert session.num_streams == 0


async def test_s38_reference_ends_the_session(role: str) -> None:
    async with raw_to_go(role) as (raw, peer):
        raw.send(update(theirs(role), 0, SYN), update(theirs(role), 0, FIN), update(theirs(role), 0, FIN))
        await peer("closed")
        assert any("unexpected flag" in line.lower() or "FIN flag" in line for line in peer.logs)


async def test_s39_data_after_fin(role: str) -> None:
    """The reference hands it over behind the end it has told; here the stream is reset."""
    number = theirs(role)
    async with with_raw(role) as (session, raw):
        stream = await inbound(role, session, raw)
        raw.send(data(number, b"all"), update(number, 0, FIN))
        assert await stream.read() == b"all"
        raw.send(data(number, b"more"))
        assert await raw.passed() == [Seen(WINDOW_UPDATE, RST, number, 0)]
        with pytest.raises(StreamReset):
            stream.write(b"x")
        raw.send(data(number, b"and more"))
        assert await raw.passed() == []
        assert session.num_streams == 0


async def test_s39_reference_hands_it_over(role: str) -> None:
    number = theirs(role)
    async with raw_to_go(role) as (raw, peer):
        raw.send(data(number, b"all", SYN), update(number, 0, FIN), data(number, b"more"))
        await peer("accept")
        assert (await peer(f"drain {number}"))["len"] == 7


async def test_s40_one_byte_over_the_window(role: str) -> None:
    number = theirs(role)
    async with with_raw(role) as (session, raw):
        stream = await inbound(role, session, raw)
        raw.send(data(number, pattern(WINDOW)), data(number, b"x"))
        reason, frames = await fate(session, raw)
        assert isinstance(reason, ProtocolError)
        assert reason.reason == "window_exceeded"
        assert frames == [END]
        assert await stream.readexactly(WINDOW) == pattern(WINDOW)
        with pytest.raises(SessionClosed):
            await stream.read(1)


async def test_s40_exactly_the_window(role: str) -> None:
    number = theirs(role)
    async with with_raw(role) as (session, raw):
        stream = await inbound(role, session, raw)
        raw.send(data(number, pattern(WINDOW)))
        assert await raw.passed() == []
        assert await stream.readexactly(WINDOW) == pattern(WINDOW)
        assert WINDOW // 2 <= sum(seen.length for seen in await raw.passed()) <= WINDOW


async def test_s40_reference_ends_the_session_too(role: str) -> None:
    async with raw_to_go(role) as (raw, peer):
        raw.send(data(theirs(role), bytes(WINDOW), SYN), data(theirs(role), b"x"))
        await peer("closed")
        assert any("receive window exceeded" in line for line in peer.logs)


async def test_s41_the_largest_send_window(role: str) -> None:
    number = theirs(role)
    async with with_raw(role) as (session, raw):
        stream = await inbound(role, session, raw)
        raw.send(update(number, MAX_U32 - WINDOW))
        stream.write(pattern(512 * KIB))
        got = 0
        while got < 512 * KIB:
            seen = await raw.frame()
            assert seen.body == pattern(seen.length, got)
            got += seen.length
        raw.send(update(number, 512 * KIB))
        assert await raw.passed() == []


@pytest.mark.parametrize("delta", [MAX_U32 - WINDOW + 1, MAX_U32])
async def test_s41_past_the_largest_send_window(role: str, delta: int) -> None:
    """The reference wraps around: its window is then smaller than before."""
    async with with_raw(role) as (session, raw):
        await inbound(role, session, raw)
        raw.send(update(theirs(role), delta))
        reason, frames = await fate(session, raw)
        assert isinstance(reason, ProtocolError)
        assert frames == [END]


async def test_s41_reference_wraps(role: str) -> None:
    number = theirs(role)
    async with raw_to_go(role) as (raw, peer):
        raw.send(update(number, 0, SYN), update(number, MAX_U32))
        await peer("accept")
        await raw.passed()
        await peer(f"wdeadline {number} 100")
        with pytest.raises(GoError) as full:
            await peer(f"write {number} {WINDOW}")
        assert full.value.result["len"] == WINDOW - 1


async def test_s42_empty_and_late_updates(role: str) -> None:
    number = theirs(role)
    async with with_raw(role) as (session, raw):
        stream = await inbound(role, session, raw)
        raw.send(update(number), update(number), data(number))
        assert await raw.passed() == []
        raw.send(update(number, 0, FIN))
        assert await stream.read() == b""
        stream.close()
        assert await raw.passed() == [Seen(WINDOW_UPDATE, FIN, number, 0)]
        raw.send(update(number, 4096), update(number, MAX_U32), update(number))
        assert await raw.passed() == []


async def test_s42_rst_carries_a_code_and_no_credit(role: str) -> None:
    number = ours(role)
    async with with_raw(role) as (session, raw):
        stream = await session.open()
        await raw.answer(number)
        stream.write(bytes(WINDOW + 1000))
        await eventually(lambda: stream.bytes_out == WINDOW)
        raw.send(update(number, 42, RST))
        with pytest.raises(StreamReset) as reset:
            await stream.read(1)
        assert (reset.value.code, reset.value.remote) == (42, True)
        assert sum(seen.length for seen in await raw.passed()) == WINDOW
        assert session.num_streams == 0


@pytest.mark.parametrize("kind", ["update", "data"])
async def test_s43_rst_with_unread_bytes(role: str, kind: str) -> None:
    """As in the reference what was not read is dropped, and the reader gets an error at once."""
    number = theirs(role)
    async with with_raw(role) as (session, raw):
        stream = await inbound(role, session, raw)
        raw.send(data(number, b"taken"))
        assert await stream.readexactly(5) == b"taken"
        raw.send(data(number, b"unread"))
        raw.send(update(number, 0, RST) if kind == "update" else data(number, b"with a body", RST))
        raw.send(data(theirs(role, 1), b"framing holds", SYN))
        following = await session.accept()
        with pytest.raises(StreamReset):
            await stream.read(64)
        assert await following.readexactly(13) == b"framing holds"


def _conversation(role: str) -> bytes:
    """Every kind of frame, on two streams of the peer's."""
    first, second = theirs(role), theirs(role, 1)
    frames = (
        ping(7),
        update(first, 100, SYN),
        data(first, b"one"),
        data(second, b"two", SYN),
        update(second, 50),
        data(first, b"three"),
        ping(9, ACK),
        update(first, 0, FIN),
        data(second, b"four", FIN),
        data(theirs(role, 9), b"nobody's"),
        go_away(0),
    )
    return b"".join(frames)


async def _outcome(role: str, pieces: list[bytes]) -> tuple[object, ...]:
    async with with_raw(role) as (session, raw):
        for piece in pieces:
            before = session.stats.bytes_in
            raw.send(piece)
            # One piece at a time, so that the kernel joins none of them.
            await eventually(lambda: session.stats.bytes_in == before + len(piece))
        streams = [await session.accept(), await session.accept()]
        bodies = [await stream.read() for stream in streams]
        for stream in streams:
            stream.close()
        answers = [repr(seen) for seen in await raw.passed()]
        return [stream.id for stream in streams], bodies, answers, session.core.remote_go_away, session.num_streams


async def test_s44_every_frame_cut_at_every_byte(role: str) -> None:
    whole = _conversation(role)
    expected = await _outcome(role, [whole])
    assert expected[1] == [b"onethree", b"twofour"]
    for cut in range(1, len(whole)):
        assert await _outcome(role, [whole[:cut], whole[cut:]]) == expected
    assert await _outcome(role, [whole[i : i + 1] for i in range(len(whole))]) == expected


async def test_s44_a_thousand_frames_in_one_piece(role: str) -> None:
    number = theirs(role)
    async with with_raw(role) as (session, raw):
        raw.send(update(number, 0, SYN), *(data(number, pattern(17, i * 17)) for i in range(1000)))
        stream = await session.accept()
        assert await stream.readexactly(17_000) == pattern(17_000)
        raw.send(update(number, 0, FIN))
        assert await stream.read() == b""


async def test_s45_a_body_that_trickles(role: str) -> None:
    number = theirs(role)
    async with with_raw(role) as (session, raw):
        stream = await inbound(role, session, raw)
        raw.send(pack(DATA, 0, number, WINDOW))
        for sent in range(100):
            raw.send(pattern(1, sent))
            assert await stream.read(64) == pattern(1, sent)
        other = await session.open()
        other.write(b"meanwhile")
        await raw.until(Seen(DATA, 0, other.id, 9, b"meanwhile"))
        raw.send(pattern(WINDOW - 100, 100))
        assert await stream.readexactly(WINDOW - 100) == pattern(WINDOW - 100, 100)
        raw.send(update(other.id, 0, ACK))
        await raw.passed()
        assert not session.is_closed


@pytest.mark.parametrize("header", [b"\x01\x00", b"\x00\x04", b"\x00\xff", b"\xff\xff", b"\x01\x04", b"GE"])
async def test_s46_bad_version_or_type(role: str, header: bytes) -> None:
    """The reference closes without a word; we say GoAway(1) first."""
    async with with_raw(role) as (session, raw):
        stream = await inbound(role, session, raw)
        raw.send(header + bytes(10))
        reason, frames = await fate(session, raw)
        assert isinstance(reason, ProtocolError)
        assert frames == [END]
        with pytest.raises(SessionClosed):
            await stream.read()


@pytest.mark.parametrize("bit", range(4, 16))
async def test_s46_unknown_flag_bits(role: str, bit: int) -> None:
    number, flag = theirs(role), 1 << bit
    async with with_raw(role) as (session, raw):
        raw.send(data(number, b"one", SYN | flag), data(number, b"two", flag), update(number, 4096, flag))
        raw.send(ping(77, SYN | flag), update(number, 0, FIN | flag), go_away(0, 0, flag))
        stream = await session.accept()
        assert await stream.read() == b"onetwo"
        assert Seen(PING, ACK, 0, 77) in await raw.passed()
        assert not session.is_closed


async def test_s47_odd_pings(role: str) -> None:
    async with with_raw(role) as (_, raw):
        raw.send(ping(1, SYN, stream=5), ping(2, SYN | ACK), ping(0), ping(MAX_U32), ping(2))
        pongs = [Seen(PING, ACK, 0, value) for value in (1, 2, 0, MAX_U32, 2)]
        assert await raw.passed() == pongs


async def test_s48_pongs_nobody_asked_for(role: str) -> None:
    async with with_raw(role) as (session, raw):
        raw.send(ping(5, ACK), ping(0, ACK), ping(1, 0), ping(MAX_U32, FIN))
        assert await raw.passed() == []
        waiting = [asyncio.ensure_future(session.ping()) for _ in range(3)]
        asked = [await raw.frame() for _ in range(3)]
        assert {seen.flags for seen in asked} == {SYN}
        for seen in (*reversed(asked), asked[0], asked[0]):
            raw.send(ping(seen.length, ACK))
        assert all(rtt > 0 for rtt in await asyncio.gather(*waiting))
        assert await raw.passed() == []


@pytest.mark.parametrize(("stream", "flags"), [(0, 0), (7, 0), (MAX_U32, SYN | ACK | FIN | RST)])
async def test_s49_goaway_zero_drains(role: str, stream: int, flags: int) -> None:
    async with with_raw(role) as (session, raw):
        opened = await session.open()
        await raw.answer(ours(role))
        raw.send(go_away(0, stream, flags), go_away(0))
        await raw.passed()
        with pytest.raises(RemoteGoAway):
            await session.open()
        opened.write(b"goes on")
        assert await raw.frame() == Seen(DATA, 0, ours(role), 7, b"goes on")
        raw.send(data(theirs(role), b"and so may you", SYN))
        assert await (await session.accept()).readexactly(14) == b"and so may you"


@pytest.mark.parametrize("code", [1, 2, 3, 4101, MAX_U32])
async def test_s49_any_other_goaway_ends(role: str, code: int) -> None:
    async with with_raw(role) as (session, raw):
        stream = await inbound(role, session, raw)
        raw.send(data(theirs(role), b"before"), go_away(code, 9, SYN))
        reason, frames = await fate(session, raw)
        assert isinstance(reason, RemoteGoAway)
        assert reason.code == code
        assert frames == []
        assert await stream.readexactly(6) == b"before"
        with pytest.raises(SessionClosed) as end:
            await stream.read(1)
        assert end.value.code == code
        with pytest.raises(SessionClosed):
            await session.open()
