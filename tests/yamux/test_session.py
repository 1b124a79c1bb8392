"""Sessions for coroutines, in both roles, over a carrier in memory."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from tests.yamux.wire import (
    QUIET,
    WINDOW,
    RawPeer,
    ack,
    against_raw,
    check_clean,
    data,
    fin,
    go_away,
    pack,
    pong,
    rst,
    sessions,
    syn,
    turns,
    until,
    update,
)

from yamux import (
    Config,
    KeepaliveTimeout,
    ProtocolError,
    RemoteGoAway,
    Session,
    SessionClosed,
    Stream,
    StreamClosed,
    StreamLimit,
    StreamReset,
)
from yamux.frames import ACK, DATA, FIN, GO_AWAY, PING, RST, SYN
from yamux.testing import COALESCING, TINY, Link, memory_pair

roles = pytest.mark.parametrize("client", [True, False], ids=["client", "server"])


async def pair_of_streams(opener: Session, acceptor: Session) -> tuple[Stream, Stream]:
    stream = await opener.open()
    return stream, await acceptor.accept()


# -- opening, accepting, ending ----------------------------------------------------------------------------------------


@roles
async def test_both_open_at_once(client: bool) -> None:
    async with sessions() as both:
        end, other = both.ends(client)
        mine, theirs = await end.open(), await other.open()
        assert {mine.id, theirs.id} == {1, 2}
        accepted = await other.accept(), await end.accept()
        await mine.wait_established()
        for stream in (mine, theirs, *accepted):
            stream.write(b"hi")
            stream.write_eof()
        for stream in (mine, theirs, *accepted):
            assert await stream.read(-1) == b"hi"
        await until(lambda: end.num_streams == other.num_streams == 0)


@roles
async def test_open_and_close_before_the_accept_do_not_block_for_ever(client: bool) -> None:
    async with sessions(Config(max_unacked=8, accept_backlog=8, keepalive_interval=0)) as both:
        end, other = both.ends(client)
        for _ in range(8):
            (await end.open()).close()
        ninth = asyncio.create_task(end.open())
        await turns(50)
        assert not ninth.done()
        for _ in range(8):
            assert await (await other.accept()).read() == b""
        stream = await ninth
        stream.write(b"ninth")
        assert await (await other.accept()).read(5) == b"ninth"


@roles
async def test_commands_of_a_dead_session_raise(client: bool) -> None:
    async with sessions() as both:
        end, _ = both.ends(client)
        end.abort()
        await end.wait_closed()
        for command in (end.open, end.accept, end.ping, lambda: end.create_connection(asyncio.Protocol)):
            with pytest.raises(SessionClosed):
                await command()
        with pytest.raises(SessionClosed):
            end.open_stream(asyncio.Protocol())
        assert not end.can_open
        assert [stream async for stream in end] == []
        end.abort()
        end.go_away()
        await end.close()


@roles
async def test_a_session_without_a_carrier_opens_nothing_and_closes(client: bool) -> None:
    gone: list[Session] = []
    session = Session(client=client, on_close=gone.append)
    with pytest.raises(SessionClosed):
        await session.open()
    with pytest.raises(SessionClosed):
        session.open_stream(asyncio.Protocol())
    assert session.num_streams == 0
    await session.close()
    assert gone == [session]
    check_clean(session)


async def test_a_carrier_that_comes_too_late_is_closed() -> None:
    session = Session(client=True)
    await session.close()
    peer = RawPeer()
    memory_pair(session, peer)
    await until(lambda: peer.lost)
    assert peer.frames() == []


@roles
async def test_an_open_beyond_the_limit_waits_for_an_answer(client: bool) -> None:
    async with against_raw(client=client, config=Config(max_unacked=2, keepalive_interval=0)) as (session, peer):
        first, second = await session.open(), await session.open()
        with pytest.raises(StreamLimit):
            session.open_stream(asyncio.Protocol())
        waiting = [asyncio.create_task(session.open()) for _ in range(3)]
        await turns()
        assert not any(task.done() for task in waiting)
        peer.send(ack(first.id))
        await until(lambda: waiting[0].done())
        assert not waiting[1].done()
        peer.send(rst(second.id))
        await until(lambda: waiting[1].done())
        (await waiting[0]).reset()
        await turns()
        assert waiting[2].done(), "at once, not when the next timer fires"
        assert session.core.unacked == 2


@roles
@pytest.mark.parametrize("our_end_comes_last", [False, True])
async def test_an_open_beyond_the_most_open_streams_waits_for_an_end(client: bool, our_end_comes_last: bool) -> None:
    async with against_raw(client=client, config=Config(max_outbound_streams=2, keepalive_interval=0)) as (
        session,
        peer,
    ):
        first, second = await session.open(), await session.open()
        peer.send(ack(first.id), ack(second.id))
        await second.wait_established()
        with pytest.raises(StreamLimit, match="2 streams opened here are open"):
            session.open_stream(asyncio.Protocol())
        waiting = asyncio.create_task(session.open())
        await turns()
        assert not waiting.done()
        if our_end_comes_last:
            peer.send(fin(first.id))
            await first.read()
            assert not waiting.done()
            first.write_eof()
        else:
            first.write_eof()
            await turns()
            peer.send(fin(first.id))
        assert (await waiting).id == second.id + 2
        assert session.num_streams == 2


@roles
@pytest.mark.parametrize("way", ["abort", "cut", "eof", "peer's fault", "go away 1"])
async def test_the_end_wakes_everybody(client: bool, way: str) -> None:
    async with against_raw(client=client, config=Config(max_unacked=1, keepalive_interval=0)) as (session, peer):
        stream = await session.open()
        stream.write(bytes(2 * WINDOW))
        others: list[Any] = [
            session.open(),
            session.create_connection(asyncio.Protocol),
            session.accept(),
            session.ping(),
            stream.read(1),
            stream.drain(),
            stream.wait_established(),
        ]
        tasks = [asyncio.create_task(other) for other in others]
        await turns()
        assert not any(task.done() for task in tasks)
        if way == "abort":
            session.abort()
        elif way == "cut":
            peer.transport.abort()
        elif way == "eof":
            peer.transport.close()
        elif way == "go away 1":
            peer.send(go_away(1))
        else:
            peer.send(pack(0x0100, 0, 0, 0))
        async with asyncio.timeout(30):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, SessionClosed) for result in results), results
        if way == "go away 1":
            assert isinstance(session.close_reason, RemoteGoAway)
            assert session.close_reason.code == 1


@roles
async def test_five_backlogs_pass_while_accepted(client: bool) -> None:
    async with sessions(Config(max_unacked=8, accept_backlog=8, keepalive_interval=0)) as both:
        end, other = both.ends(client)

        async def take() -> int:
            count = 0
            async for stream in other:
                assert await stream.read(2) == b"hi"
                stream.close()
                count += 1
                if count == 40:
                    break
            return count

        taking = asyncio.create_task(take())
        streams = []
        for _ in range(40):
            stream = await end.open()
            stream.write(b"hi")
            streams.append(stream)
        assert await taking == 40
        for stream in streams:
            assert await stream.read() == b""
            stream.close()
        await until(lambda: end.num_streams == 0)


@roles
async def test_an_accepted_stream_is_acknowledged_at_once_though_nothing_reads_or_writes(client: bool) -> None:
    async with against_raw(client=client, factory=asyncio.Protocol) as (_, peer):
        peer.send(syn(2 if client else 1))
        await until(lambda: bool(peer.raw))
        assert [frame.flags for frame in peer.frames()] == [ACK]


@roles
async def test_a_dead_stream_leaves_the_backlog(client: bool) -> None:
    async with against_raw(client=client, config=Config(accept_backlog=1, keepalive_interval=0)) as (session, peer):
        first = 2 if client else 1
        peer.send(syn(first), rst(first), syn(first + 2), data(first + 2, b"second"))
        stream = await session.accept()
        assert stream.id == first + 2
        assert await stream.read(100) == b"second"


@roles
async def test_what_had_come_can_be_accepted_after_the_end(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        peer.send(data(2 if client else 1, b"whole", SYN | FIN), data(4 if client else 3, b"part", SYN))
        peer.transport.close()
        await session.wait_closed()
        assert await (await session.accept()).read() == b"whole"
        cut = await session.accept()
        assert await cut.read(100) == b"part"
        with pytest.raises(SessionClosed):
            await cut.read(100)
        with pytest.raises(SessionClosed):
            await session.accept()


# -- the end of the carrier --------------------------------------------------------------------------------------------


@roles
@pytest.mark.parametrize("rest", [b"", bytes(7), data(99, b"abcdef")[:-1]], ids=["between", "header", "body"])
@pytest.mark.parametrize("cut", [True, False], ids=["reset", "eof"])
async def test_a_cut_is_an_error_unless_fin_had_come(client: bool, rest: bytes, cut: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        whole, part = await session.open(), await session.open()
        peer.send(data(whole.id, b"whole"), fin(whole.id), data(part.id, b"par"), rest)
        await until(lambda: part.bytes_in == 3)
        if cut:
            peer.transport.abort()
        else:
            peer.transport.close()
        await session.wait_closed()
        assert await whole.read() == b"whole"
        assert await part.read(3) == b"par"
        with pytest.raises(SessionClosed) as caught:
            await part.read()
        with pytest.raises(SessionClosed):
            part.write(b"x")
        if not cut:
            assert "carrier ended" in str(caught.value)


@roles
async def test_a_full_window_and_fin_then_the_carrier_goes(client: bool) -> None:
    async with sessions() as both:
        end, other = both.ends(client)
        stream, there = await pair_of_streams(end, other)
        stream.write(bytes(WINDOW))
        stream.write_eof()
        await until(lambda: there.bytes_in == WINDOW)
        await turns()
        end.abort()
        await other.wait_closed()
        assert await there.read() == bytes(WINDOW)


@roles
async def test_a_fault_is_told_to_the_peer_before_the_carrier_closes(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        stream = await session.open()
        peer.send(data(stream.id, b"before"), data(stream.id, bytes(WINDOW)))
        await until(lambda: peer.eof or peer.lost)
        last = peer.frames()[-1]
        assert (last.kind, last.length) == (GO_AWAY, 1)
        await session.wait_closed()
        assert isinstance(session.close_reason, ProtocolError)
        assert await stream.read(6) == b"before"
        with pytest.raises(SessionClosed) as caught:
            await stream.read(1)
        assert caught.value.__cause__ is session.close_reason
        assert caught.value.code == 1


@roles
async def test_a_fault_is_told_even_to_a_peer_that_fills_the_carrier(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        stream = await session.open()
        peer.send(ack(stream.id, 8 * WINDOW))
        peer.transport.pause_reading()
        stream.write(bytes(4 * WINDOW))
        await until(lambda: session._write_paused)
        peer.send(pack(0x0100, 0, 0, 0))
        await until(lambda: session.is_closed)
        await turns()
        peer.transport.resume_reading()
        await until(lambda: peer.eof or peer.lost)
        last = peer.frames()[-1]
        assert (last.kind, last.length) == (GO_AWAY, 1)


# -- graceful ends -----------------------------------------------------------------------------------------------------


@roles
async def test_close_lets_everything_out_and_says_so(client: bool) -> None:
    async with sessions() as both:
        end, other = both.ends(client)
        stream, there = await pair_of_streams(end, other)
        reading = asyncio.create_task(there.read())
        stream.write(bytes(10 * WINDOW))
        stream.close()
        closing = asyncio.create_task(end.close())
        assert len(await reading) == 10 * WINDOW
        assert not end.can_open
        with pytest.raises(SessionClosed):
            await end.open()
        there.close()
        await closing
        await other.wait_closed()
        assert isinstance(other.close_reason, SessionClosed)


@roles
async def test_close_ends_as_soon_as_the_peer_has_ended_the_last_stream(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        stream = await session.open()
        peer.send(ack(stream.id))
        stream.close()
        await stream.wait_closed()
        closing = asyncio.create_task(session.close(grace=50))
        await turns()
        peer.send(fin(stream.id))
        await until(lambda: peer.eof)
        assert peer.frames()[-1].kind == GO_AWAY
        await closing


@roles
async def test_close_resets_what_is_open_after_its_grace(client: bool) -> None:
    async with sessions() as both:
        end, other = both.ends(client)
        stream, there = await pair_of_streams(end, other)
        await end.close(grace=0.01)
        with pytest.raises(StreamReset):
            await there.read()
        with pytest.raises(StreamClosed):
            await stream.read()


@roles
async def test_a_cancelled_close_aborts(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        await session.open()
        for grace in (50, 0):
            closing = asyncio.create_task(session.close(grace=grace))
            await turns(5)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            break
        await session.wait_closed()
        assert peer.lost or peer.transport.is_closing()


@roles
async def test_a_close_cancelled_while_it_waits_for_the_carrier_aborts(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        peer.transport.pause_reading()
        closing = asyncio.create_task(session.close())
        await until(lambda: session.is_closed)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await session.wait_closed()


@roles
async def test_two_closes_are_one(client: bool) -> None:
    async with sessions() as both:
        end, other = both.ends(client)
        await asyncio.gather(end.close(), end.close(), other.close())
        assert end.is_closed
        assert other.is_closed


async def test_as_a_context_manager() -> None:
    async with sessions() as both:
        async with both.client as session:
            assert not session.is_closed
        assert session.is_closed
        with pytest.raises(RuntimeError, match="mine"):
            async with both.server:
                raise RuntimeError("mine")


async def test_on_close_is_called_once() -> None:
    calls: list[Session] = []
    session = Session(client=True, on_close=calls.append)
    memory_pair(session, RawPeer())
    session.abort()
    session.abort()
    await session.wait_closed()
    await turns()
    assert calls == [session]


# -- GoAway ------------------------------------------------------------------------------------------------------------


@roles
async def test_the_peers_go_away_fails_opens_at_once_and_spares_streams(client: bool) -> None:
    async with sessions(Config(max_unacked=1, keepalive_interval=0)) as both:
        end, other = both.ends(client)
        stream, there = await pair_of_streams(end, other)
        await stream.wait_established()
        blocked = [asyncio.create_task(end.open()) for _ in range(2)]
        await turns(3)
        other.go_away()
        results = await asyncio.gather(*blocked, return_exceptions=True)
        assert isinstance(results[1], RemoteGoAway)
        with pytest.raises(RemoteGoAway):
            await end.open()
        with pytest.raises(RemoteGoAway):
            end.open_stream(asyncio.Protocol())
        assert not end.can_open
        stream.write(b"still here")
        assert await there.read(10) == b"still here"


@roles
async def test_e18_streams_opened_before_the_drain_finish(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        first = 2 if client else 1
        peer.send(syn(first))
        stream = await session.accept()
        session.go_away()
        await until(lambda: any(frame.kind == GO_AWAY for frame in peer.frames()))
        peer.send(syn(first + 2), data(first, b"old"), fin(first))
        await until(lambda: bool(peer.raw))
        assert [(frame.flags, frame.stream_id) for frame in peer.frames()] == [(RST, first + 2)]
        assert await stream.read() == b"old"
        stream.close()
        await until(lambda: session.num_streams == 0)
        assert not session.is_closed


# -- pings -------------------------------------------------------------------------------------------------------------


@roles
async def test_ping_both_ways(client: bool) -> None:
    async with sessions() as both:
        end, other = both.ends(client)
        assert await end.ping() > 0
        assert await other.ping() > 0
        assert end.rtt is not None


@roles
async def test_a_ping_without_answer_fails_alone(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        with pytest.raises(TimeoutError):
            await session.ping(timeout=0.01)
        again = asyncio.create_task(session.ping())
        await until(lambda: sum(frame.kind == PING for frame in peer_frames(peer)) == 2)
        peer.send(pong(0), pong(1))
        assert await again > 0
        assert not session.is_closed


def peer_frames(peer: RawPeer) -> list[Any]:
    raw = bytes(peer.raw)
    found = peer.frames()
    peer.raw += raw
    return found


async def test_keepalive_pings_with_nothing_else_to_do() -> None:
    async with sessions(Config(keepalive_interval=0.01, keepalive_timeout=1000)) as both:
        await until(lambda: both.client.stats.frames_in >= 6 and both.server.stats.frames_in >= 6)
        assert both.client.rtt is not None


@roles
async def test_keepalive_ends_a_session_with_a_silent_peer(client: bool) -> None:
    config = Config(keepalive_interval=0.01, keepalive_timeout=0.02)
    async with against_raw(client=client, config=config) as (session, _):
        stream = await session.open()
        with pytest.raises(KeepaliveTimeout):
            await stream.read()
        await session.wait_closed()
        assert isinstance(session.close_reason, KeepaliveTimeout)


# -- flow --------------------------------------------------------------------------------------------------------------


@roles
@pytest.mark.parametrize("link", [TINY, COALESCING, Link(chunk=1000)], ids=["tiny", "coalescing", "pieces"])
async def test_e15_whatever_the_link_does(client: bool, link: Link) -> None:
    async with sessions(link=link) as both:
        end, other = both.ends(client)
        stream, there = await pair_of_streams(end, other)
        body = bytes(range(256)) * 40
        stream.write(body)
        stream.write_eof()
        there.write(body[::-1])
        there.close()
        assert await stream.read() == body[::-1]
        await until(lambda: end.num_streams == other.num_streams == 0)


@roles
async def test_e6_one_stream_unread_and_twenty_that_move(client: bool) -> None:
    async with sessions() as both:
        end, other = both.ends(client)
        stuck, stuck_there = await pair_of_streams(end, other)
        stuck.write(bytes(4 * WINDOW))

        async def one() -> int:
            stream, there = await pair_of_streams(end, other)
            stream.write(bytes(2 * WINDOW))
            stream.close()
            size = len(await there.read())
            there.close()
            return size

        for _ in range(20):
            assert await one() == 2 * WINDOW
        assert stuck_there.bytes_in == stuck_there._size == WINDOW
        assert stuck.transport.get_write_buffer_size() == 3 * WINDOW
        stuck.reset()


@roles
async def test_a_small_echo_beside_a_bulk_stream(client: bool) -> None:
    async with sessions() as both:
        end, other = both.ends(client)
        bulk, bulk_there = await pair_of_streams(end, other)
        echo, echo_there = await pair_of_streams(end, other)
        bulk.write(bytes(64 * WINDOW))
        sink = asyncio.create_task(bulk_there.read())
        for n in range(20):
            before = bulk.bytes_out
            echo.write(b"x" * 100)
            await echo_there.readexactly(100)
            echo_there.write(b"y" * 100)
            await echo.readexactly(100)
            assert bulk.bytes_out - before <= 8 * WINDOW, n
        bulk.close()
        assert len(await sink) == 64 * WINDOW


@roles
async def test_pongs_leave_while_megabytes_wait(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        stream = await session.open()
        peer.send(ack(stream.id, 64 * 1024 * 1024))
        stream.write(bytes(64 * 1024 * 1024))
        await until(lambda: len(peer.raw) > WINDOW)
        at = len(peer.raw)
        peer.send(pack(PING, SYN, 0, 1234))
        await until(lambda: pack(PING, ACK, 0, 1234) in peer.raw[at:])
        assert peer.raw.index(pack(PING, ACK, 0, 1234)) - at <= 4 * WINDOW
        stream.reset()


@roles
async def test_blocked_writes_do_not_stop_reads(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        stream = await session.open()
        peer.send(ack(stream.id, 16 * WINDOW))
        peer.transport.pause_reading()
        stream.write(bytes(8 * WINDOW))
        await until(lambda: session._write_paused)
        for _ in range(100):
            peer.send(data(stream.id, bytes(1024)), pack(PING, SYN, 0, 1))
            assert len(await stream.readexactly(1024)) == 1024
        pinging = asyncio.create_task(session.ping())
        await turns()
        peer.transport.resume_reading()
        await until(lambda: pack(PING, SYN, 0, 0) in peer.raw)
        peer.send(pong(0))
        assert await pinging > 0


# -- cancellation ------------------------------------------------------------------------------------------------------


@roles
async def test_a_cancelled_open_keeps_no_place(client: bool) -> None:
    async with against_raw(client=client, config=Config(max_unacked=1, keepalive_interval=0)) as (session, peer):
        first = await session.open()
        waiting = [asyncio.create_task(session.open()) for _ in range(3)]
        await turns()
        waiting[0].cancel()
        await turns()
        session._openers.next()
        waiting[1].cancel()
        await turns()
        peer.send(ack(first.id))
        stream = await waiting[2]
        assert session.core.unacked == 1
        assert session.num_streams == 2
        assert stream.id == first.id + 2
        await asyncio.gather(*waiting, return_exceptions=True)


@roles
async def test_a_cancelled_accept_loses_no_stream(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        first = 2 if client else 1
        waiting = [asyncio.create_task(session.accept()) for _ in range(2)]
        await turns()
        session.data_received(syn(first))
        waiting[0].cancel()
        assert (await waiting[1]).id == first
        timed = asyncio.wait_for(session.accept(), 0.01)
        with pytest.raises(TimeoutError):
            await timed
        peer.send(syn(first + 2))
        assert (await session.accept()).id == first + 2
        await asyncio.gather(*waiting, return_exceptions=True)


@roles
async def test_a_cancelled_ping_is_forgotten(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        for value in range(100):
            task = asyncio.create_task(session.ping())
            await turns(2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if value == 50:
                peer.send(pong(value))
        assert not session.core.keepalive._pending


@roles
async def test_a_ping_cancelled_as_the_session_ends_leaves_no_stray_error(client: bool) -> None:
    async with against_raw(client=client) as (session, _):
        task = asyncio.create_task(session.ping())
        await turns(2)
        session.abort()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del task
        gc.collect()


@roles
async def test_cancelled_writers_leave_no_half_frame_and_lose_no_credit(client: bool) -> None:
    async with sessions() as both:
        end, other = both.ends(client)
        stream, there = await pair_of_streams(end, other)
        body = bytearray()

        async def writer(mark: int) -> None:
            piece = bytes([mark]) * 30_000
            stream.write(piece)
            body.extend(piece)
            await stream.drain()

        for mark in range(30):
            task = asyncio.create_task(writer(mark))
            await turns(2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        stream.write_eof()
        assert await there.read() == body
        there.close()
        assert await stream.read() == b""
        await until(lambda: end.num_streams == other.num_streams == 0)


@roles
async def test_cancelled_readers_lose_nothing(client: bool) -> None:
    async with sessions() as both:
        end, other = both.ends(client)
        stream, there = await pair_of_streams(end, other)
        total = 40 * WINDOW
        body = b"".join(n.to_bytes(4, "big") for n in range(total // 4))
        stream.write(body)
        stream.write_eof()
        got = bytearray()
        reads = [
            lambda: there.read(7001),
            lambda: there.readexactly(2 * WINDOW),
            lambda: there.read(),
            lambda: there.readuntil(b"\xff\xff"),
        ]
        for round_ in range(60):
            task = asyncio.create_task(reads[round_ % 4]())
            await turns(1 + round_ % 7)
            task.cancel()
            (result,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(result, bytes):
                got += result
        got += await there.read()
        assert len(got) == total
        assert got == body
        assert there._paid == there._size == 0


@roles
async def test_open_connection_gives_asyncios_own_pair(client: bool) -> None:
    async with sessions() as both:
        end, other = both.ends(client)
        reader, writer = await end.open_connection()
        there = await other.accept()
        writer.write(b"line one\nline two\n")
        await writer.drain()
        assert await there.readline() == b"line one\n"
        there.write(b"x" * 300_000)
        there.write_eof()
        assert await reader.read() == b"x" * 300_000
        writer.close()
        await writer.wait_closed()
        assert await there.read() == b"line two\n"


@roles
async def test_numbers_and_names(client: bool) -> None:
    async with sessions() as both:
        end, other = both.ends(client)
        stream, there = await pair_of_streams(end, other)
        stream.write(b"12345")
        await there.readexactly(5)
        stats = end.stats
        assert (stats.streams_opened, stats.streams_accepted, stats.streams_open) == (1, 0, 1)
        assert other.stats.streams_accepted == 1
        assert stats.bytes_out == other.stats.bytes_in == 12 + 12 + 5
        assert stats.frames_out == other.stats.frames_in == 2
        assert f"Session {'client' if client else 'server'} streams=1 open" in repr(end)
        end.abort()
        assert "aborted here" in repr(end)


def test_quiet_sessions_are_quiet() -> None:
    assert QUIET.keepalive_interval == 0
    assert DATA == 0


@roles
async def test_updates_go_out_while_the_application_reads(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        stream = await session.open()
        peer.send(data(stream.id, bytes(WINDOW)))
        await until(lambda: stream.bytes_in == WINDOW)
        await turns()
        assert not any(frame.length for frame in peer.frames())
        await stream.readexactly(WINDOW // 2 + 1)
        await until(lambda: bool(peer.raw))
        assert bytes(peer.raw) == update(stream.id, WINDOW // 2 + 1)
