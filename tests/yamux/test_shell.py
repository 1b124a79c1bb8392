"""How a session meets its carrier: one write a turn, pauses, ends; real sockets and TLS on both loops."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
import trustme
from tests.yamux.wire import QUIET, WINDOW, ack, against_raw, check_clean, data, fin, pack, turns, until

from yamux import Config, KeepaliveTimeout, Session, SessionClosed, StreamTransport, YamuxError
from yamux.frames import GO_AWAY, PING, SYN
from yamux.shell import JOIN_BYTES

roles = pytest.mark.parametrize("client", [True, False], ids=["client", "server"])


class Carrier(asyncio.Transport):
    """A carrier that writes down its calls, and does nothing by itself. ``half`` says whether it can half-close."""

    def __init__(self, *, half: bool = True) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.writes: list[bytes] = []
        self.half = half
        self.waiting = 0
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.calls.append("write")
        self.writes.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.calls.append("writelines")
        self.writes.append(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return self.half

    def write_eof(self) -> None:
        self.calls.append("write_eof")

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True
        self.calls.append("close")

    def abort(self) -> None:
        self.closing = True
        self.calls.append("abort")

    def get_write_buffer_size(self) -> int:
        return self.waiting


@asynccontextmanager
async def on_carrier(*, half: bool = True, config: Config = QUIET) -> AsyncIterator[tuple[Session, Carrier]]:
    session = Session(client=True, config=config)
    carrier = Carrier(half=half)
    session.connection_made(carrier)
    try:
        yield session, carrier
    finally:
        session.abort()
        session.connection_lost(None)
        await turns()
        check_clean(session)


async def test_everything_of_one_turn_leaves_in_one_write() -> None:
    async with on_carrier() as (session, carrier):
        streams = [session.open_stream(asyncio.Protocol()) for _ in range(5)]
        for stream in streams:
            stream.write(b"x" * 100)
            stream.write(b"y" * 100)
            stream.write_eof()
        session.core.ping()
        await turns()
        assert carrier.calls == ["write"]
        assert session.bytes_out == len(carrier.writes[0]) == 12 + 5 * (12 + 12 + 200 + 12)


async def test_large_writes_are_not_joined_and_yield_between_turns() -> None:
    async with on_carrier() as (session, carrier):
        stream = session.open_stream(asyncio.Protocol())
        session.data_received(ack(stream.id, 16 * WINDOW))
        await turns()
        carrier.calls.clear()
        stream.write(bytes(JOIN_BYTES + 1))
        await turns()
        assert carrier.calls == ["writelines"]
        carrier.calls.clear()
        stream.write(bytes(4 * WINDOW))
        await asyncio.sleep(0)
        assert len(carrier.calls) <= 1
        await turns()
        assert len(carrier.calls) >= 4
        assert session.bytes_out == sum(map(len, carrier.writes))


async def test_a_full_carrier_gets_nothing_until_it_has_room() -> None:
    async with on_carrier() as (session, carrier):
        stream = session.open_stream(asyncio.Protocol())
        await turns()
        session.pause_writing()
        stream.write(b"later")
        session.data_received(pack(PING, SYN, 0, 1))
        await turns()
        assert len(carrier.writes) == 1
        session.resume_writing()
        await turns()
        assert len(carrier.writes) == 2
        assert carrier.writes[1].startswith(pack(PING, 2, 0, 1)), "the pong goes first"


async def test_e7_a_full_carrier_that_gets_room_counts_as_life_though_nothing_comes_in() -> None:
    async with on_carrier(config=Config(keepalive_interval=30, keepalive_timeout=10)) as (session, _):
        await turns()
        for _ in range(10):
            session.pause_writing()
            session.resume_writing()
            deadline = session.core.keepalive.deadline
            assert deadline is not None
            session.core.keepalive.handle(deadline, session.core.outbox.control)
        deadline = session.core.keepalive.deadline
        assert deadline is not None
        with pytest.raises(KeepaliveTimeout):
            session.core.keepalive.handle(deadline, session.core.outbox.control)


@pytest.mark.parametrize("half", [True, False], ids=["half-close", "tls-like"])
async def test_a_fault_flushes_its_go_away_then_ends(half: bool) -> None:
    async with on_carrier(half=half) as (session, carrier):
        session.data_received(pack(0x0100, 0, 0, 0))
        await turns()
        assert carrier.calls == ["write", "write_eof" if half else "close"]
        assert carrier.writes == [pack(GO_AWAY, 0, 0, 1)]
        session.data_received(b"more" * 100)
        await turns()
        assert len(carrier.calls) == 2


async def test_a_peer_that_does_not_close_is_cut_once_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yamux.shell.LINGER", 0.001)
    async with on_carrier() as (session, carrier):
        # How much each look finds: the peer reads on for two of them, then no more.
        left = iter([3, 2, 1, 1])
        cut: list[int] = []

        def look() -> int:
            cut.append("abort" in carrier.calls)
            return next(left)

        monkeypatch.setattr(carrier, "get_write_buffer_size", look)
        session.data_received(pack(0x0100, 0, 0, 0))
        await until(lambda: "abort" in carrier.calls)
        assert cut == [False] * 4
        assert list(left) == []


async def test_the_timer_follows_the_core() -> None:
    async with on_carrier(config=Config(keepalive_interval=0.005, keepalive_timeout=1000)) as (session, carrier):
        for value in range(3):
            await until(lambda value=value: pack(PING, SYN, 0, value) in b"".join(carrier.writes))
            session.data_received(pack(PING, 2, 0, value))
        assert session.rtt is not None


@roles
async def test_streams_that_end_in_one_batch_release_a_close(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        streams = [await session.open() for _ in range(3)]
        for stream in streams:
            stream.close()
            await stream.wait_closed()
        closing = asyncio.create_task(session.close(grace=50))
        await turns()
        peer.send(*(fin(stream.id) for stream in streams))
        await until(lambda: peer.eof)
        await closing


@roles
async def test_data_of_a_stream_without_owner_is_credited(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        stream = await session.open()
        stream.close()
        await stream.wait_closed()
        await turns()
        peer.raw.clear()
        peer.send(data(stream.id, bytes(WINDOW)))
        await turns(50)
        assert sum(frame.length for frame in peer.frames()) >= WINDOW // 2


@roles
async def test_the_given_error_reaches_everybody(client: bool) -> None:
    async with against_raw(client=client) as (session, _):
        stream = await session.open()
        session.abort(YamuxError("shutting down"))
        with pytest.raises(SessionClosed, match="shutting down"):
            await stream.read()
        assert str(session.close_reason) == "shutting down"


# -- real carriers -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return client, server


@asynccontextmanager
async def over_sockets(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None,
) -> AsyncIterator[tuple[Session, Session]]:
    loop = asyncio.get_running_loop()
    accepted: list[Session] = []

    def factory() -> Session:
        accepted.append(Session(client=False, config=Config(keepalive_interval=0.05)))
        return accepted[-1]

    client_tls, server_tls = contexts or (None, None)
    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=server_tls)
    _, session = await loop.create_connection(
        lambda: Session(client=True, config=Config(keepalive_interval=0.05)),
        "127.0.0.1",
        server.sockets[0].getsockname()[1],
        ssl=client_tls,
        server_hostname="localhost" if contexts else None,
    )
    await until(lambda: bool(accepted) and accepted[0].transport is not None)
    try:
        yield session, accepted[0]
    finally:
        server.close()
        for one in (session, accepted[0]):
            one.abort()
            await one.wait_closed()
            await turns()
            check_clean(one)


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_megabytes_both_ways_and_a_graceful_end(
    tls: bool, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    async with over_sockets(contexts if tls else None) as (near, far):

        async def echo() -> None:
            async for stream in far:
                while part := await stream.read(65536):
                    stream.write(part)
                    await stream.drain()
                stream.close()

        echoing = asyncio.create_task(echo())
        body = bytes(range(256)) * 8000

        async def one() -> None:
            stream = await near.open()
            reading = asyncio.create_task(stream.read())
            for at in range(0, len(body), 100_000):
                stream.write(body[at : at + 100_000])
                await stream.drain()
            stream.write_eof()
            assert await reading == body
            stream.close()

        await asyncio.gather(*(one() for _ in range(4)))
        assert near.rtt is not None
        streams = [await near.open() for _ in range(2)]
        for stream in streams:
            stream.write(b"last words")
            stream.close()
        await near.close()
        await far.wait_closed()
        await echoing
        assert isinstance(far.close_reason, SessionClosed)
        assert near.stats.bytes_out == far.stats.bytes_in


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_a_fault_reaches_the_peer_over_sockets(
    tls: bool, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    async with over_sockets(contexts if tls else None) as (near, far):
        stream = await near.open()
        assert near.transport is not None
        near.transport.write(pack(0x0100, 0, 0, 0))
        with pytest.raises(SessionClosed):
            await stream.read()
        await near.wait_closed()
        await far.wait_closed()
        assert near.close_reason is not None
        assert near.close_reason.code == 1


async def test_what_the_carrier_knows_is_known_of_its_streams() -> None:
    async with over_sockets(None) as (near, _):
        transport: StreamTransport = near.open_stream(asyncio.Protocol())
        assert transport.get_extra_info("peername")[0] == "127.0.0.1"
        assert transport.get_extra_info("socket") is not None
        transport.abort()
