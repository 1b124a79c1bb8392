"""Scenarios 58 to 64: floods, order under load, cancellation, odd windows, and a reference that overruns its credit."""

from __future__ import annotations

import asyncio
import itertools
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import cast

import pytest

from conformance.peer import GoPeer, pattern
from conformance.scenarios.support import (
    ACK,
    DATA,
    GO_AWAY,
    KIB,
    MIB,
    OTHER,
    PATIENCE,
    PING,
    QUIET,
    RST,
    SYN,
    WINDOW,
    WINDOW_UPDATE,
    Seen,
    TracedSession,
    both_empty,
    data,
    ended,
    eventually,
    fate,
    pair,
    ping,
    theirs,
    traced,
    update,
    with_go,
    with_raw,
)
from yamux import Config, FloodDetected, ProtocolError, Session, SessionClosed, Stream, WindowExceeded

# A flood may cost this much before it ends the session: far below the gigabytes the reference was brought to.
FLOOD_BYTES = 4 * MIB


def _pings(role: str) -> Iterator[bytes]:
    return (ping(value) for value in itertools.count())


def _syns(role: str) -> Iterator[bytes]:
    return (update(theirs(role, nth), 0, SYN) for nth in itertools.count(1))


def _born_dead(role: str) -> Iterator[bytes]:
    return (update(theirs(role, nth), 0, SYN | RST) for nth in itertools.count(1))


def _open_and_reset(role: str) -> Iterator[bytes]:
    syns = ((update(theirs(role, nth), 0, SYN), update(theirs(role, nth), 0, RST)) for nth in itertools.count(1))
    return itertools.chain.from_iterable(syns)


def _empty_data(role: str) -> Iterator[bytes]:
    return itertools.repeat(data(theirs(role)))


def _tiny_updates(role: str) -> Iterator[bytes]:
    return itertools.repeat(update(theirs(role), 1))


def _unknown_updates(role: str) -> Iterator[bytes]:
    return (update(theirs(role, nth), 1) for nth in itertools.count(1000))


def _unknown_data(role: str) -> Iterator[bytes]:
    return (data(theirs(role, nth), bytes(4 * KIB)) for nth in itertools.count(1000))


def _pongs(role: str) -> Iterator[bytes]:
    return itertools.repeat(ping(9, ACK))


FLOODS = [
    _pings, _syns, _born_dead, _open_and_reset, _empty_data, _tiny_updates, _unknown_updates, _unknown_data, _pongs,
]  # fmt: skip


@pytest.mark.parametrize("reads", [True, False], ids=["reading", "not-reading"])
@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__.strip("_"))
async def test_s58_floods(role: str, flood: Callable[[str], Iterator[bytes]], reads: bool) -> None:
    async with with_raw(role, buffers=None if reads else 8 * KIB) as (session, raw):
        raw.send(update(theirs(role), 0, SYN))
        await session.accept()
        frames = flood(role)
        if not reads:
            cast(asyncio.Transport, raw.writer.transport).pause_reading()
        tracemalloc.start()
        try:
            with suppress(ConnectionError):
                while not session.is_closed:
                    raw.send(*itertools.islice(frames, 100))
                    await asyncio.sleep(0)
                    await raw.writer.drain()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < FLOOD_BYTES
        assert isinstance(session.close_reason, ProtocolError if flood is _unknown_data else FloodDetected)
        if reads:
            _, answers = await fate(session, raw)
            # What was under way to us can cost the end of what we said.
            assert not answers or answers[-1].kind in (GO_AWAY, PING, WINDOW_UPDATE)


async def test_s58_goaway_is_said(role: str) -> None:
    """A flood that stops as soon as it has gone too far hears why."""
    config = Config(keepalive_interval=0, idle_frames_per_second=100)
    async with with_raw(role, config) as (session, raw):
        raw.send(*(ping(value) for value in range(200)))
        reason, frames = await fate(session, raw)
        assert isinstance(reason, FloodDetected)
        assert frames[-1] == Seen(GO_AWAY, 0, 0, 1)


async def test_s58_busy_is_no_flood(role: str) -> None:
    async with with_go(role, keepalive="1ms") as (session, peer):
        for _ in range(300):
            stream, number = await pair(session, peer, "theirs")
            stream.close()
            await peer(f"close {number}")
        assert not session.is_closed
        await both_empty(session, peer)


async def test_s58_ping_after_ping_is_no_flood(role: str) -> None:
    """As fast as the pongs come, and many times the rate at which frames that carry nothing are borne."""
    async with with_go(role, Config(keepalive_interval=0, idle_frames_per_second=10)) as (session, peer):
        for _ in range(1000):
            await session.ping()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(peer._send("ping") for _ in range(1000)))
        assert not session.is_closed


@asynccontextmanager
async def slow_link(role: str, **options: object) -> AsyncIterator[tuple[TracedSession, GoPeer, asyncio.Event]]:
    """A traced session and the reference with a link between that takes some 8 MB/s from us, or nothing while the event
    is not set."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    carrier = socket.socket()
    for one, option in ((listener, socket.SO_RCVBUF), (carrier, socket.SO_SNDBUF)):
        one.setsockopt(socket.SOL_SOCKET, option, 16 * KIB)
    for one in (listener, carrier):
        one.setblocking(False)
    flows = asyncio.Event()
    flows.set()
    session = TracedSession(client=role == "client", config=QUIET)
    async with await GoPeer.listen(OTHER[role], **options) as peer:
        await loop.sock_connect(carrier, listener.getsockname())
        near, _ = await loop.sock_accept(listener)
        far = await asyncio.open_connection("127.0.0.1", peer.port)
        us = await asyncio.open_connection(sock=near, limit=16 * KIB)

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pause: float) -> None:
            with suppress(ConnectionError):
                while piece := await reader.read(16 * KIB):
                    await flows.wait()
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(pause)
            writer.close()

        pumps = [asyncio.ensure_future(pump(us[0], far[1], 0.002)), asyncio.ensure_future(pump(far[0], us[1], 0))]
        await loop.create_connection(lambda: session, sock=carrier)
        try:
            await peer.opened.wait()
            yield session, peer, flows
        finally:
            session.abort()
            await session.wait_closed()
            for running in pumps:
                running.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for writer in (us[1], far[1]):
                writer.close()
            await asyncio.gather(us[1].wait_closed(), far[1].wait_closed(), return_exceptions=True)
            listener.close()


async def test_s59_pongs_and_updates_overtake_bulk(role: str) -> None:
    async with slow_link(role, window=128 * MIB, keepalive="400ms", write_timeout="1s") as (session, peer, _):
        bulk, number = await pair(session, peer, "ours")
        await session.ping()
        reading = peer.begin(f"sha {number}")
        bulk.write(bytes(64 * MIB))
        other, second = await pair(session, peer, "theirs")
        writing = peer.begin(f"write {second} {2 * MIB}")
        assert await other.readexactly(2 * MIB) == pattern(2 * MIB)
        await writing
        await eventually(lambda: sum(frame.kind == PING and frame.flags == SYN for frame in session.came) >= 5)
        assert bulk.transport.get_write_buffer_size() > 0
        assert (await peer("num"))["closed"] is False
        assert not session.is_closed
        bulk.reset()
        await asyncio.gather(reading, return_exceptions=True)


async def test_s60_fin_never_overtakes_data(role: str) -> None:
    size = 5000
    async with with_go(role, QUIET) as (session, peer):
        for _ in range(50):
            streams = [await session.open() for _ in range(20)]
            for _ in streams:
                await peer("accept")
            reading = [peer.begin(f"sha {stream.id}") for stream in streams]
            for stream in streams:
                stream.write(pattern(size))
                stream.write_eof()
            assert {(got["len"], got["bad"]) for got in await asyncio.gather(*reading)} == {(size, -1)}
            for stream in streams:
                await peer(f"close {stream.id}")
                assert await stream.read() == b""
        await both_empty(session, peer)


async def test_s61_an_echo_beside_bulk(role: str) -> None:
    async with traced(role, window=16 * MIB) as (session, peer):
        await peer("serve echo")
        bulk = await session.open()
        small = await session.open()
        await session.ping()
        body = pattern(100)
        taking = asyncio.ensure_future(bulk.read())
        sending = asyncio.ensure_future(_keep_sending(bulk))
        await eventually(lambda: bulk.bytes_out > MIB)
        for _ in range(50):
            before = len(session.sent)
            small.write(body)
            assert await small.readexactly(100) == body
            order = [frame.stream for frame in session.sent[before:] if frame.kind == DATA]
            assert order.index(small.id) <= 4
        sending.cancel()
        bulk.reset()
        small.reset()
        await asyncio.gather(sending, taking, return_exceptions=True)


async def _keep_sending(bulk: Stream) -> None:
    while True:
        bulk.write(bytes(256 * KIB))
        await bulk.drain()


async def _exchange(session: Session) -> None:
    body = pattern(300 * KIB)
    async with await session.open() as stream:
        await stream.wait_established()
        stream.write(body)
        await stream.drain()
        stream.write_eof()
        assert await stream.read() == body


async def test_s62_cancelled_at_every_await(role: str) -> None:
    """Cut after each number of turns of the loop in turn; afterwards everything works as if nothing had been."""
    async with traced(role, Config(keepalive_interval=0, max_unacked=4)) as (session, peer):
        await peer("serve echo")
        for turns in range(80):
            task = asyncio.ensure_future(_exchange(session))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(*(_exchange(session) for _ in range(8)))
        await both_empty(session, peer)
        assert session.core.unacked == 0


async def test_s62_cancelled_accepts_pings_and_closes(role: str) -> None:
    async with with_go(role, QUIET) as (session, peer):
        for waiting in (session.accept(), session.ping()):
            task = asyncio.ensure_future(waiting)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        stream, number = await pair(session, peer, "theirs")
        stream.write(b"whole")
        stream.close()
        waiter = asyncio.ensure_future(stream.wait_closed())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        assert (await peer(f"drain {number}"))["len"] == 5
        await peer(f"close {number}")
        await both_empty(session, peer)
        await pair(session, peer, "ours")
        closing = asyncio.ensure_future(session.close(grace=3600))
        await asyncio.sleep(0.01)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await ended(session)
        await peer.closed.wait()


@pytest.mark.parametrize("larger", ["ours", "theirs"])
async def test_s63_a_larger_window_on_one_side(role: str, opener: str, larger: str) -> None:
    config = Config(stream_window=4 * MIB) if larger == "ours" else QUIET
    async with with_go(role, config, window=4 * MIB if larger == "theirs" else WINDOW) as (session, peer):
        stream, number = await pair(session, peer, opener)
        size = 24 * MIB
        reading, writing = peer.begin(f"readfull {number} {size}"), peer.begin(f"write {number} {size}")
        sending = asyncio.ensure_future(_send(stream, size))
        left = size
        while left:
            piece = await stream.read(MIB)
            assert piece == pattern(len(piece), size - left)
            left -= len(piece)
        await sending
        assert (await reading)["bad"] == -1
        assert (await writing)["len"] == size
        stream.close()
        await peer(f"close {number}")
        await both_empty(session, peer)


async def _send(stream: Stream, size: int) -> None:
    for start in range(0, size, MIB):
        stream.write(pattern(MIB, start))
        await stream.drain()


async def test_s63_a_peer_that_grows_its_window(role: str) -> None:
    """As go-yamux does: each update brings back what was read and as much again, up to 16 MiB."""
    number = theirs(role)
    async with with_raw(role) as (session, raw):
        raw.send(update(number, 0, SYN))
        stream = await session.accept()
        window, got, total = WINDOW, 0, 40 * MIB
        sending = asyncio.ensure_future(_send(stream, total))
        credit = WINDOW
        while got < total:
            seen = await raw.frame()
            if seen.kind == DATA:
                got += seen.length
                credit -= seen.length
                assert credit >= 0
            if window - credit >= window // 2 and got < total:
                window = min(window * 2, 16 * MIB)
                raw.send(update(number, window - credit))
                credit = window
        await sending
        assert window == 16 * MIB


async def test_s63_our_window_grows(role: str) -> None:
    async with with_go(role, QUIET) as (session, peer):
        stream, number = await pair(session, peer, "theirs")
        # As measured on a long way, where 256 KiB a round trip would be the limit.
        session.core.keepalive.rtt = 0.2
        writing = peer.begin(f"write {number} {64 * MIB}")
        left = 64 * MIB
        while left:
            left -= len(await stream.read(MIB))
        await writing
        assert stream.transport._stream.window == 16 * MIB


async def test_s64_a_reference_that_overruns_its_credit(role: str) -> None:
    """After its write timeout the reference may still send what it told its caller it had not."""
    async with slow_link(role, write_timeout="100ms") as (session, peer, flows):
        pairs = [await pair(session, peer, "theirs") for _ in range(50)]
        await peer("ping")
        flows.clear()
        for _ in range(2):
            # Those whose first write got through wait for credit that never comes.
            for _, number in pairs:
                await peer(f"wdeadline {number} 300")
            writes = [peer.begin(f"write {number} {WINDOW}") for _, number in pairs]
            await asyncio.gather(*writes, return_exceptions=True)
        flows.set()
        reason = await ended(session)
        assert isinstance(reason, WindowExceeded)
        for stream, _ in pairs:
            with pytest.raises(SessionClosed):
                await stream.readexactly(2 * WINDOW)
        await peer.closed.wait()
