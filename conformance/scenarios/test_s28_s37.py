"""Scenarios 28 to 37: opening and accepting, odd SYNs, and frames on ids that are not open."""

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
    OTHER,
    QUIET,
    RST,
    SYN,
    WINDOW,
    WINDOW_UPDATE,
    Raw,
    Seen,
    both_empty,
    data,
    echo_all,
    eventually,
    fate,
    ours,
    pair,
    raw_to_go,
    text,
    theirs,
    traced,
    update,
    with_go,
    with_raw,
)
from yamux import Config, ProtocolError, Session, SessionClosed, StreamReset

END = Seen(GO_AWAY, 0, 0, 1)


async def refused(session: Session, raw: Raw) -> ProtocolError:
    """The session ends for a fault of the peer: GoAway(1) leaves before the connection ends."""
    reason, frames = await fate(session, raw)
    assert isinstance(reason, ProtocolError)
    assert frames[-1] == END
    return reason


@pytest.mark.parametrize("window", [WINDOW, 512 * KIB])
async def test_s28_the_frames_of_an_opener(role: str, window: int) -> None:
    config = Config(keepalive_interval=0, stream_window=window)
    async with traced(role, config) as (session, peer):
        for nth in range(3):
            stream, number = await pair(session, peer, "ours")
            assert stream.id == ours(role, nth)
            stream.write(b"first")
            assert await text(peer, number) == b"first"
            await peer(f"text {number} answer")
            assert await stream.read(64) == b"answer"
            frames = [(f.kind, f.flags, f.length) for f in session.sent if f.stream == number]
            assert frames == [(WINDOW_UPDATE, SYN, window - WINDOW), (DATA, 0, 5)]
            stream.close()
            await peer(f"close {number}")
        await both_empty(session, peer)
        assert peer.logs == []


async def test_s29_one_ack_each_for_ten_thousand(role: str) -> None:
    count = 10_000
    async with traced(role) as (session, peer):
        echo = asyncio.ensure_future(echo_all(session))
        for _ in range(count // 200):
            assert (await peer("burst 200 3"))["ok"] == 200
        await both_empty(session, peer)
        session.abort()
        await echo
        first: dict[int, int] = {}
        acks = 0
        for frame in session.sent:
            if frame.stream:
                first.setdefault(frame.stream, frame.flags)
                acks += bool(frame.flags & ACK)
        assert len(first) == acks == count
        assert set(first.values()) == {ACK}
        assert peer.logs == []


async def test_s30_fin_before_accept(role: str) -> None:
    """The ACK goes out although the peer's FIN has come: the reference gets its place back at once."""
    async with traced(role, backlog=4) as (session, peer):
        for _ in range(40):
            number = (await peer("open"))["id"]
            await peer(f"text {number} words")
            await peer(f"close {number}")
            await peer("ping")
            stream = await session.accept()
            assert await stream.read() == b"words"
            stream.close()
        await both_empty(session, peer)
        assert sum(frame.flags == ACK for frame in session.sent if frame.stream) == 40
        assert peer.logs == []


async def test_s30_our_fin_before_their_accept(role: str) -> None:
    """The reference sends no ACK then; its FIN is the answer."""
    async with traced(role, Config(keepalive_interval=0, max_unacked=1)) as (session, peer):
        for _ in range(10):
            stream = await session.open()
            stream.write_eof()
            await session.ping()
            number = (await peer("accept"))["id"]
            await peer(f"close {number}")
            assert await stream.read() == b""
        assert [frame for frame in session.came if frame.flags == ACK and frame.stream] == []
        await both_empty(session, peer)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (lambda number: update(number, 0, FIN), b""),
        (lambda number: data(number, b"", FIN), b""),
        (lambda number: update(number, 0, RST), StreamReset),
        (lambda number: data(number, b"", RST), StreamReset),
        (lambda number: update(number, 0, ACK | RST), StreamReset),
        (lambda number: update(number, 0, ACK | FIN), b""),
        (lambda number: data(number, b"hello", ACK), b"hello"),
        (lambda number: data(number, b"hello", ACK | FIN), b"hello"),
        (lambda number: update(number, 1000, ACK), None),
    ],
    ids=["fin", "data-fin", "rst", "data-rst", "ack-rst", "ack-fin", "data-ack", "data-ack-fin", "ack"],
)
async def test_s31_every_answer_frees_the_place(role: str, answer: object, outcome: object) -> None:
    async with with_raw(role, Config(keepalive_interval=0, max_unacked=1)) as (session, raw):
        stream = await session.open()
        assert callable(answer)
        raw.send(answer(ours(role)))
        if outcome is StreamReset:
            with pytest.raises(StreamReset):
                await stream.wait_established()
            with pytest.raises(StreamReset):
                await stream.read(1)
        else:
            await stream.wait_established()
            if outcome is not None:
                assert await stream.read(64) == outcome
        second = await session.open()
        assert second.id == ours(role, 1)
        assert not session.is_closed


async def test_s32_syn_on_data_with_a_body(role: str) -> None:
    async with with_raw(role) as (session, raw):
        raw.send(data(theirs(role), b"early", SYN))
        stream = await session.accept()
        assert await stream.readexactly(5) == b"early"
        assert await raw.passed() == [Seen(WINDOW_UPDATE, ACK, theirs(role), 0)]


@pytest.mark.parametrize("body", [b"", b"all of it"])
@pytest.mark.parametrize("kind", [DATA, WINDOW_UPDATE])
async def test_s32_syn_with_fin_is_half_closed(role: str, kind: int, body: bytes) -> None:
    number = theirs(role)
    async with with_raw(role) as (session, raw):
        if kind == DATA:
            raw.send(data(number, body, SYN | FIN))
        else:
            raw.send(update(number, len(body), SYN | FIN))
        stream = await session.accept()
        assert await stream.read() == (body if kind == DATA else b"")
        stream.write(b"answer")
        stream.close()
        frames = [Seen(WINDOW_UPDATE, ACK, number, 0), Seen(DATA, 0, number, 6, b"answer")]
        assert await raw.passed() == [*frames, Seen(WINDOW_UPDATE, FIN, number, 0)]
        assert session.num_streams == 0


async def test_s32_syn_with_rst_is_nothing(role: str) -> None:
    """The reference leaves a dead stream in its accept queue; here it never appears."""
    async with with_raw(role) as (session, raw):
        raw.send(update(theirs(role), 0, SYN | RST), data(theirs(role, 1), b"dead", SYN | RST))
        raw.send(data(theirs(role, 2), b"alive", SYN))
        stream = await session.accept()
        assert stream.id == theirs(role, 2)
        assert await stream.readexactly(5) == b"alive"
        assert session.num_streams == 1


async def test_s32_reference_accepts_what_is_reset(role: str) -> None:
    async with raw_to_go(role) as (raw, peer):
        raw.send(update(theirs(role), 0, SYN | RST))
        assert (await peer("accept"))["id"] == theirs(role)
        with pytest.raises(GoError) as dead:
            await peer(f"read {theirs(role)} 1")
        assert dead.value.kind == "reset"


async def test_s33_syn_with_a_full_window(role: str) -> None:
    async with with_raw(role) as (session, raw):
        raw.send(data(theirs(role), pattern(WINDOW), SYN))
        stream = await session.accept()
        assert await stream.readexactly(WINDOW) == pattern(WINDOW)
        await raw.passed()


async def test_s33_syn_with_more_than_the_window(role: str) -> None:
    async with with_raw(role) as (session, raw):
        raw.send(data(theirs(role), bytes(WINDOW + 1), SYN))
        reason = await refused(session, raw)
        assert str(WINDOW + 1) in str(reason)
        assert session.stats.streams_accepted == 0


@pytest.mark.parametrize("which", ["parity", "zero"])
async def test_s34_syn_that_is_not_the_peers_to_send(role: str, which: str) -> None:
    """The reference checks neither: an even id from a client is overwritten by its own next open."""
    async with with_raw(role) as (session, raw):
        raw.send(update(ours(role) if which == "parity" else 0, 0, SYN))
        await refused(session, raw)
        with pytest.raises(SessionClosed):
            await session.accept()


async def test_s34_reference_takes_any_id(role: str) -> None:
    async with raw_to_go(role) as (raw, peer):
        for number in (ours(role), 0):
            raw.send(update(number, 0, SYN))
            assert (await peer("accept"))["id"] == number


async def test_s35_duplicate_syn(role: str) -> None:
    async with with_raw(role) as (session, raw):
        raw.send(update(theirs(role), 0, SYN))
        stream = await session.accept()
        raw.send(update(theirs(role), 0, SYN))
        await refused(session, raw)
        with pytest.raises(SessionClosed):
            await stream.read()


async def test_s35_reference_ends_on_a_duplicate_too(role: str) -> None:
    async with raw_to_go(role) as (raw, peer):
        raw.send(update(theirs(role), 0, SYN), update(theirs(role), 0, SYN))
        await peer("closed")
        assert any("duplicate stream" in line for line in peer.logs)


async def test_s35_a_used_id_is_not_used_again(role: str) -> None:
    """The reference takes it as a new stream; late frames of the old one could then not be told apart."""
    number = theirs(role)
    async with with_raw(role) as (session, raw):
        raw.send(update(number, 0, SYN), update(number, 0, FIN))
        (await session.accept()).close()
        await raw.passed()
        assert session.num_streams == 0
        raw.send(update(number, 0, SYN))
        await refused(session, raw)


async def test_s35_a_used_id_by_option(role: str) -> None:
    number = theirs(role)
    async with with_raw(role, Config(keepalive_interval=0, reuse_ids=True)) as (session, raw):
        for word in (b"first", b"second"):
            raw.send(data(number, word, SYN | FIN))
            stream = await session.accept()
            assert await stream.read() == word
            stream.close()
            await raw.passed()


async def test_s35_ids_out_of_order(role: str) -> None:
    """Concurrent openers of the reference send their SYNs in any order."""
    order = [4, 1, 3, 0, 2]
    async with with_raw(role) as (session, raw):
        raw.send(*(data(theirs(role, nth), b"%d" % nth, SYN) for nth in order))
        for nth in order:
            stream = await session.accept()
            assert (stream.id, await stream.read(1)) == (theirs(role, nth), b"%d" % nth)


@pytest.mark.parametrize("state", ["unknown", "closed", "reset"])
async def test_s36_late_frames(role: str, state: str) -> None:
    number = theirs(role)
    async with with_raw(role) as (session, raw):
        if state != "unknown":
            raw.send(update(number, 0, SYN))
            stream = await session.accept()
            if state == "closed":
                raw.send(update(number, 0, FIN))
                assert await stream.read() == b""
                stream.close()
            else:
                stream.reset()
            await raw.passed()
        raw.send(data(number, b"late"), update(number, 1000), update(number, 0, FIN), data(number, b"", FIN))
        raw.send(update(number, 0, ACK), update(number, 0, RST), data(number, b"late", RST))
        assert await raw.passed() == []
        raw.send(data(theirs(role, 1), b"next", SYN))
        following = await session.accept()
        assert await following.readexactly(4) == b"next"
        assert session.num_streams == 1


async def test_s36_late_frames_at_the_reference(role: str) -> None:
    """Two closes that cross, and a reset under data: what each side sends late is ignored by the other."""
    async with with_go(role, QUIET) as (session, peer):
        for _ in range(20):
            stream, number = await pair(session, peer, "theirs")
            writing = peer.begin(f"write {number} {WINDOW}")
            stream.reset()
            await asyncio.gather(writing, return_exceptions=True)
            await session.ping()
        await both_empty(session, peer)


async def test_s37_a_mebibyte_on_an_unknown_id(role: str) -> None:
    async with with_raw(role) as (session, raw):
        raw.send(data(theirs(role, 5), bytes(MIB)), data(theirs(role), b"framing holds", SYN))
        stream = await session.accept()
        assert await stream.readexactly(13) == b"framing holds"
        assert await raw.passed() == [Seen(WINDOW_UPDATE, ACK, theirs(role), 0)]


async def test_s37_more_than_the_budget(role: str) -> None:
    """The reference throws away 4 GiB and more."""
    async with with_raw(role, Config(keepalive_interval=0, drain_budget=MIB)) as (session, raw):
        raw.send(data(theirs(role), bytes(MIB)), data(theirs(role), b"x"))
        await refused(session, raw)
        assert session.num_streams == 0


async def test_s37_reference_throws_it_away(role: str) -> None:
    async with raw_to_go(OTHER[role]) as (raw, peer):
        raw.send(data(1001, bytes(8 * MIB)))
        assert await raw.passed() == []
        await eventually(lambda: any("discarding data" in line.lower() for line in peer.logs))
        assert (await peer("num")) | {"n": 0} == {"n": 0, "cmd": "num", "num": 0, "closed": False}
