"""The contract of asyncio's transports and protocols, kept by streams: stock protocols, and a peer by hand."""

from __future__ import annotations

import asyncio
import gc
import ssl
import weakref
from collections.abc import Callable
from typing import Any

import aiohttp
import h11
import pytest
import trustme
from aiohttp import web
from tests.yamux.wire import (
    WINDOW,
    RawPeer,
    ack,
    against_raw,
    data,
    fin,
    rst,
    sessions,
    transport_of,
    turns,
    until,
    update,
)

from yamux import Session, SessionClosed, StreamReset, StreamTransport
from yamux.frames import DATA, FIN, RST, SYN, WINDOW_UPDATE, pack
from yamux.testing import Recorder

roles = pytest.mark.parametrize("client", [True, False], ids=["client", "server"])


class Log(asyncio.Protocol):
    """Writes down every callback. ``on`` maps a callback's name to what to do in it."""

    transport: StreamTransport

    def __init__(self, **on: Callable[[Log], Any]) -> None:
        self.calls: list[str] = []
        self.data = bytearray()
        self.error: Exception | None = None
        self.on = on

    def note(self, name: str) -> Any:
        self.calls.append(name)
        action = self.on.get(name)
        return action(self) if action else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, StreamTransport)
        self.transport = transport
        self.note("made")

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.data += data
        self.note("data")

    def eof_received(self) -> bool | None:
        return self.note("eof")  # type: ignore[no-any-return]

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc
        self.note("lost")

    def pause_writing(self) -> None:
        self.note("pause")

    def resume_writing(self) -> None:
        self.note("resume")


def boom(_: Log) -> None:
    raise ValueError("boom")


def cancelled(_: Log) -> None:
    raise asyncio.CancelledError


async def open_log(session: Session, peer: RawPeer, **on: Callable[[Log], Any]) -> Log:
    log = Log(**on)
    session.open_stream(log)
    await turns(5)
    peer.send(ack(log.transport.id))
    await turns(5)
    peer.raw.clear()
    return log


# -- beginnings --------------------------------------------------------------------------------------------------------


@roles
async def test_syn_and_the_first_write_leave_in_one_write(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        pieces: list[int] = []
        feed = peer.data_received
        peer.data_received = lambda raw: (pieces.append(len(raw)), feed(raw))[1]  # type: ignore[method-assign]
        transport = session.open_stream(Log())
        assert transport.get_protocol().calls == ["made"]  # type: ignore[attr-defined]
        transport.write(b"head")
        await turns(5)
        assert pieces == [12 + 12 + 4]


@roles
async def test_an_inbound_stream_gets_its_protocol_and_ack_at_once(client: bool) -> None:
    logs: list[Log] = []

    def factory() -> Log:
        logs.append(Log(made=lambda log: log.transport.write(b"welcome")))
        return logs[-1]

    async with against_raw(client=client, factory=factory) as (_, peer):
        peer.send(data(2 if client else 1, b"hello", SYN))
        await until(lambda: len(peer.raw) >= 24 + 7)
        assert logs[0].calls == ["made", "data"]
        assert [frame.body for frame in peer.frames()] == [b"", b"welcome"]


# -- ends --------------------------------------------------------------------------------------------------------------


@roles
@pytest.mark.parametrize("answer", [None, False])
async def test_eof_received_closes_unless_it_says_otherwise(client: bool, answer: object) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer, eof=lambda _: answer)
        peer.send(data(log.transport.id, b"x"), fin(log.transport.id))
        await until(lambda: "lost" in log.calls)
        assert log.calls == ["made", "data", "eof", "lost"]
        assert log.error is None
        await turns()
        assert [frame.flags for frame in peer.frames()] == [FIN]
        assert session.num_streams == 0


@roles
async def test_eof_received_may_keep_the_write_side(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer, eof=lambda _: True)
        peer.send(fin(log.transport.id))
        await until(lambda: "eof" in log.calls)
        await turns()
        assert not log.transport.is_closing()
        log.transport.write(b"after")
        log.transport.write_eof()
        await until(lambda: "lost" in log.calls)
        assert log.calls == ["made", "eof", "lost"]
        await turns()
        assert [frame.body for frame in peer.frames()] == [b"after", b""]
        assert session.num_streams == 0


@roles
async def test_our_eof_first(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer)
        assert log.transport.can_write_eof()
        log.transport.write(b"question")
        log.transport.write_eof()
        log.transport.write_eof()
        with pytest.raises(RuntimeError):
            log.transport.write(b"more")
        await turns()
        peer.send(data(log.transport.id, b"answer"), fin(log.transport.id))
        await until(lambda: "lost" in log.calls)
        assert log.calls == ["made", "data", "eof", "lost"]
        assert log.error is None


@roles
async def test_close_flushes_ends_and_drops_what_still_comes(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer)
        log.transport.write(bytes(WINDOW + 5))
        log.transport.close()
        log.transport.close()
        assert log.transport.is_closing()
        assert transport_of(session)._stream.deaf, "what still comes does not keep it alive"
        log.transport.write(b"ignored")
        peer.send(data(log.transport.id, bytes(WINDOW)))
        await turns(50)
        assert log.calls[-1] != "lost", "the last bytes wait for credit"
        peer.send(update(log.transport.id, 5))
        await until(lambda: "lost" in log.calls)
        await turns(50)
        sent = peer.frames()
        assert sum(frame.length for frame in sent if frame.kind == DATA) == WINDOW + 5
        assert sent[-1].flags == FIN or sent[-2].flags == FIN
        assert "data" not in log.calls
        assert log.error is None
        peer.send(data(log.transport.id, bytes(WINDOW)), fin(log.transport.id))
        await until(lambda: session.num_streams == 0)


@roles
async def test_a_whole_answer_is_a_write_and_a_close(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer)
        log.transport.write_last(b"answer")
        assert log.transport.is_closing()
        log.transport.write_last(b"ignored")
        await until(lambda: "lost" in log.calls)
        await turns(50)
        sent = peer.frames()
        assert [frame.body for frame in sent if frame.kind == DATA] == [b"answer"]
        assert sent[-1].flags == FIN
        assert log.error is None
        peer.send(fin(log.transport.id))
        await until(lambda: session.num_streams == 0)


@roles
async def test_a_whole_answer_behind_other_data_or_while_reading_is_paused(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer)
        log.transport.pause_reading()
        peer.send(data(log.transport.id, b"unread"))
        await until(lambda: log.transport.unread)
        log.transport.write(b"first ")
        log.transport.write_last(b"last")
        await until(lambda: "lost" in log.calls)
        await turns(50)
        assert b"".join(frame.body for frame in peer.frames() if frame.kind == DATA) == b"first last"
        assert "data" not in log.calls
        assert log.error is None
        peer.send(fin(log.transport.id))
        await until(lambda: session.num_streams == 0)


@roles
async def test_a_whole_answer_after_the_end_of_writing_is_a_mistake(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer)
        log.transport.write_eof()
        with pytest.raises(RuntimeError):
            log.transport.write_last(b"more")


@roles
async def test_abort_is_a_reset_and_is_told_later_and_once(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer)
        log.transport.write(bytes(1000))
        log.transport.abort()
        log.transport.abort()
        assert log.calls == ["made"]
        peer.send(data(log.transport.id, b"late"), fin(log.transport.id))
        await turns()
        assert log.calls == ["made", "lost"]
        assert log.error is None
        assert [frame.flags for frame in peer.frames()] == [RST]


@roles
@pytest.mark.parametrize("way", ["rst", "data after fin", "session"])
async def test_a_loss_is_never_an_end(client: bool, way: str) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer, eof=lambda _: True)
        if way == "rst":
            peer.send(data(log.transport.id, b"x"), rst(log.transport.id))
        elif way == "session":
            peer.send(data(log.transport.id, b"x"))
            await turns()
            peer.transport.abort()
        else:
            peer.send(data(log.transport.id, b"x"), fin(log.transport.id), data(log.transport.id, b"y"))
        await until(lambda: "lost" in log.calls)
        assert isinstance(log.error, SessionClosed if way == "session" else StreamReset)
        assert log.calls.count("lost") == 1
        assert ("eof" in log.calls) == (way == "data after fin")
        assert log.data == b"x"
        log.transport.write(b"ignored")
        log.transport.write_eof()
        log.transport.close()
        log.transport.abort()
        log.transport.resume_reading()
        await turns()
        assert log.calls[-1] == "lost"


@roles
async def test_a_fault_of_the_peer_is_told_as_the_loss_of_the_session(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer)
        peer.send(data(log.transport.id, bytes(WINDOW + 1)))
        await until(lambda: "lost" in log.calls)
        assert isinstance(log.error, SessionClosed)
        assert log.error.__cause__ is session.close_reason


# -- commands inside callbacks -----------------------------------------------------------------------------------------


@roles
@pytest.mark.parametrize("command", ["close", "abort"])
@pytest.mark.parametrize("place", ["made", "data", "eof", "pause", "resume", "lost"])
async def test_ending_inside_any_callback(client: bool, command: str, place: str) -> None:
    async with against_raw(client=client) as (session, peer):
        log = Log(**{place: lambda log: getattr(log.transport, command)()})
        session.open_stream(log)
        stream_id = log.transport.id
        peer.send(ack(stream_id))
        log.transport.write(bytes(WINDOW + 100_000))
        await turns()
        peer.send(update(stream_id, 200_000), data(stream_id, b"a"), data(stream_id, b"b"), fin(stream_id))
        await until(lambda: "lost" in log.calls)
        await turns()
        assert log.calls.count("lost") == 1
        assert log.calls[-1] == "lost"
        if place == "data":
            assert log.data == b"a"
        assert session.num_streams == 0
        assert not session.is_closed


@roles
async def test_one_stream_may_end_another_in_a_callback(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        second = await open_log(session, peer)
        first = await open_log(session, peer, data=lambda _: second.transport.abort())
        peer.send(data(first.transport.id, b"x"), data(second.transport.id, b"y"), fin(second.transport.id))
        await turns()
        assert second.calls == ["made", "lost"]
        assert first.calls == ["made", "data"]


@roles
async def test_ending_the_session_in_a_callback(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        other = await open_log(session, peer)
        log = await open_log(session, peer, data=lambda _: session.abort())
        peer.send(data(log.transport.id, b"x"), data(other.transport.id, b"y"))
        await until(lambda: "lost" in other.calls and "lost" in log.calls)
        assert isinstance(log.error, SessionClosed)
        assert log.calls == ["made", "data", "lost"]


@roles
async def test_a_stream_opened_behind_the_end_of_the_session_has_no_protocol(client: bool) -> None:
    logs: list[Log] = []

    def factory() -> Log:
        logs.append(Log(data=lambda log: log.transport.session.abort()))
        return logs[-1]

    first = 2 if client else 1
    async with against_raw(client=client, factory=factory) as (session, peer):
        peer.send(data(first, b"x", SYN), data(first + 2, b"y", SYN))
        await until(lambda: session.is_closed)
        await turns()
        assert [log.calls for log in logs] == [["made", "data", "lost"]]


@roles
async def test_what_came_before_a_fault_in_the_same_piece_is_handed_over(client: bool) -> None:
    logs: list[Log] = []

    def factory() -> Log:
        logs.append(Log())
        return logs[-1]

    async with against_raw(client=client, factory=factory) as (session, peer):
        peer.send(data(2 if client else 1, b"x", SYN | FIN), pack(0x0100, 0, 0, 0))
        await until(lambda: session.is_closed)
        await turns()
        assert logs[0].calls == ["made", "data", "eof", "lost"]


@roles
@pytest.mark.parametrize("action", [boom, cancelled])
@pytest.mark.parametrize("place", ["data", "eof", "pause", "resume", "lost"])
async def test_an_exception_costs_its_own_stream_only(client: bool, action: Callable[[Log], None], place: str) -> None:
    async with against_raw(client=client, complains=True) as (session, peer):
        bad = await open_log(session, peer, **{place: action})
        good = await open_log(session, peer, eof=lambda _: True)
        for log in (bad, good):
            log.transport.write(bytes(WINDOW + 100_000))
        await turns()
        for log in (bad, good):
            peer.send(update(log.transport.id, 200_000))
        await turns()
        peer.send(data(bad.transport.id, b"x"), fin(bad.transport.id), data(good.transport.id, b"y"))
        await until(lambda: "lost" in bad.calls and good.data == b"y")
        await turns()
        assert bad.calls.count("lost") == 1
        assert (bad.error is None) == (place == "lost")
        assert "lost" not in good.calls
        good.transport.write(b"alive")
        assert not session.is_closed
        assert list(session.core.streams) == [good.transport.id]


@roles
async def test_exceptions_of_a_factory_and_of_connection_made(client: bool) -> None:
    made: list[Log] = []

    def factory() -> Log:
        made.append(Log(**({"made": boom} if len(made) == 1 else {})))
        if len(made) == 1:
            raise ValueError("no protocol")
        return made[-1]

    first = 2 if client else 1
    async with against_raw(client=client, factory=factory, complains=True) as (session, peer):
        peer.send(data(first, b"a", SYN), data(first + 2, b"b", SYN), data(first + 4, b"c", SYN))
        await until(lambda: len(made) == 3 and made[2].data == b"c")
        await turns()
        assert list(session.core.streams) == [first + 4]
        assert [frame.stream_id for frame in peer.frames() if frame.flags == RST] == [first, first + 2]
        with pytest.raises(ValueError, match="boom"):
            session.open_stream(Log(made=boom))
        await turns()
        assert session.num_streams == 1


# -- reading -----------------------------------------------------------------------------------------------------------


@roles
async def test_pausing_inside_data_received_holds_the_rest_and_its_credit(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer, data=lambda log: log.transport.pause_reading(), eof=lambda _: True)
        transport = log.transport
        quarter = WINDOW // 4
        peer.send(*(data(transport.id, bytes([n]) * quarter) for n in range(4)), fin(transport.id))
        await turns(50)
        assert log.calls == ["made", "data"]
        assert not transport.is_reading()
        assert peer.frames() == [], "no credit while paused"
        for _ in range(40):
            if "eof" in log.calls:
                break
            transport.resume_reading()
            await turns(3)
        assert log.data == b"".join(bytes([n]) * quarter for n in range(4))
        assert log.calls[-1] == "eof"
        assert log.calls.count("eof") == 1


@roles
async def test_credit_follows_resuming(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer)
        transport = log.transport
        transport.pause_reading()
        transport.pause_reading()
        peer.send(data(transport.id, bytes(WINDOW)))
        await turns(50)
        assert (log.calls, peer.frames()) == (["made"], [])
        transport.resume_reading()
        assert log.calls == ["made"], "never from inside resume_reading"
        await until(lambda: len(peer.raw) > 0)
        assert len(log.data) == WINDOW
        assert sum(frame.length for frame in peer.frames()) >= WINDOW // 2
        assert transport.is_reading()


@roles
async def test_what_came_before_the_session_ended_is_handed_over_after_resuming(client: bool) -> None:
    for end in (True, False):
        async with against_raw(client=client) as (session, peer):
            log = await open_log(session, peer, eof=lambda _: True)
            log.transport.pause_reading()
            peer.send(data(log.transport.id, b"before"), fin(log.transport.id) if end else b"")
            await turns()
            peer.transport.abort()
            await session.wait_closed()
            assert log.calls == ["made"]
            log.transport.resume_reading()
            await until(lambda: "lost" in log.calls)
            assert log.calls == ["made", "data", *(["eof"] if end else []), "lost"]
            assert isinstance(log.error, SessionClosed)


@roles
@pytest.mark.parametrize("command", ["close", "abort"])
async def test_a_paused_stream_of_a_dead_session_can_be_ended(client: bool, command: str) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer)
        log.transport.pause_reading()
        peer.send(data(log.transport.id, b"before"))
        await turns()
        session.abort()
        await session.wait_closed()
        getattr(log.transport, command)()
        await until(lambda: "lost" in log.calls)
        assert log.calls == ["made", "lost"]


@roles
async def test_pausing_a_closing_stream_does_not_stop_its_end(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer)
        log.transport.write(bytes(WINDOW + 5))
        log.transport.close()
        log.transport.pause_reading()
        peer.send(data(log.transport.id, bytes(WINDOW)))
        await turns(50)
        assert sum(frame.length for frame in peer.frames() if frame.kind == WINDOW_UPDATE) >= WINDOW // 2
        peer.send(update(log.transport.id, 5), fin(log.transport.id))
        await until(lambda: session.num_streams == 0)
        assert log.calls == ["made", "pause", "resume", "lost"]


@roles
async def test_a_protocol_may_be_exchanged(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        second = Log()
        log = await open_log(session, peer, data=lambda log: log.transport.set_protocol(second))
        peer.send(data(log.transport.id, b"one"), data(log.transport.id, b"two"), fin(log.transport.id))
        await until(lambda: "lost" in second.calls)
        assert log.calls == ["made", "data"]
        assert second.calls == ["data", "eof", "lost"]


@roles
async def test_views_are_given_to_those_who_take_them(client: bool) -> None:
    class Views(asyncio.Protocol):
        accepts_views = True

        def __init__(self) -> None:
            self.kinds: set[type] = set()

        def data_received(self, data: Any) -> None:
            self.kinds.add(type(data))

    async with against_raw(client=client) as (session, peer):
        views = Views()
        transport = session.open_stream(views)
        peer.send(data(transport.id, bytes(10_000)))
        await until(lambda: bool(views.kinds))
        assert views.kinds == {memoryview}


class Buffered(asyncio.BufferedProtocol):
    def __init__(self, size: int) -> None:
        self.buffer = bytearray(size)
        self.data = bytearray()
        self.lost: list[Exception | None] = []
        self.eof = False

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]

    def eof_received(self) -> bool:
        self.eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


@roles
async def test_a_buffered_protocol(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        protocol = Buffered(1000)
        transport = session.open_stream(protocol)
        body = bytes(range(256)) * 1024
        peer.send(data(transport.id, body), fin(transport.id))
        await until(lambda: bool(protocol.lost))
        assert protocol.data == body
        assert protocol.eof
        assert protocol.lost == [None]
        await turns()
        assert peer.frames()[-1].flags in (FIN, 0)


@roles
async def test_a_buffered_protocol_without_room_costs_its_stream(client: bool) -> None:
    async with against_raw(client=client, complains=True) as (session, peer):
        protocol = Buffered(0)
        transport = session.open_stream(protocol)
        peer.send(data(transport.id, b"x"))
        await until(lambda: bool(protocol.lost))
        assert isinstance(protocol.lost[0], RuntimeError)
        assert not session.is_closed


# -- writing -----------------------------------------------------------------------------------------------------------


@roles
async def test_the_writer_is_paused_above_high_and_resumed_at_low(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer)
        transport = log.transport
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        transport.write(bytes(WINDOW))
        await turns()
        assert log.calls == ["made", "pause", "resume"]
        log.calls.clear()
        transport.write(bytes(64 * 1024))
        assert log.calls == []
        transport.write(b"x")
        transport.write(b"x")
        assert log.calls == ["pause"]
        peer.send(update(transport.id, 48 * 1024))
        await turns()
        assert log.calls == ["pause"], "two bytes above the mark"
        peer.send(update(transport.id, 2))
        await turns()
        assert log.calls == ["pause", "resume"]
        assert transport.get_write_buffer_size() == 16 * 1024


@roles
async def test_marks_can_be_set(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer)
        transport = log.transport
        transport.set_write_buffer_limits(high=1000)
        assert transport.get_write_buffer_limits() == (250, 1000)
        transport.set_write_buffer_limits(low=100)
        assert transport.get_write_buffer_limits() == (100, 400)
        with pytest.raises(ValueError, match="must be >="):
            transport.set_write_buffer_limits(high=1, low=2)
        transport.set_write_buffer_limits(high=0)
        transport.write(b"x")
        assert log.calls == ["made", "pause"]
        await turns()
        assert log.calls == ["made", "pause", "resume"]


@roles
async def test_resuming_may_write_at_once_and_order_holds(client: bool) -> None:
    chunks = [bytes([n]) * 80_000 for n in range(20)]
    left = list(chunks)

    def more(log: Log) -> None:
        if left:
            log.transport.write(left.pop(0))
        else:
            log.transport.close()

    async with sessions() as both:
        end, other = both.ends(client)
        log = Log(made=more, resume=more)
        end.open_stream(log)
        there = await other.accept()
        body = await there.read()
        assert body == b"".join(chunks)
        assert log.calls.count("pause") == log.calls.count("resume") == 20
        there.close()


@roles
async def test_what_may_be_written(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer)
        changing = bytearray(b"cde")
        log.transport.writelines([b"ab", changing, memoryview(b"xfgx")[1:3], b""])
        changing[0] = 0
        for wrong in (5, "text", None, [1]):
            with pytest.raises(TypeError):
                log.transport.write(wrong)  # type: ignore[arg-type]
        await turns()
        assert [frame.body for frame in peer.frames()] == [b"abcdefg"]


# -- the rest of the contract ------------------------------------------------------------------------------------------


@roles
async def test_it_is_an_asyncio_transport(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer)
        assert isinstance(log.transport, asyncio.Transport)
        assert weakref.ref(log.transport)() is log.transport
        assert f"StreamTransport {log.transport.id} ESTABLISHED" in repr(log.transport)
        assert log.transport.get_protocol() is log
        assert transport_of(session) is log.transport


@roles
async def test_a_stream_that_is_over_holds_nothing(client: bool) -> None:
    async with against_raw(client=client) as (session, peer):
        log = await open_log(session, peer)
        seen = weakref.ref(log), weakref.ref(log.transport)
        log.transport.abort()
        await turns()
        del log
        await turns()
        gc.collect()
        assert [ref() for ref in seen] == [None, None]


@roles
async def test_stream_readers_and_writers(client: bool) -> None:
    served: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(await reader.readline())
        writer.write(b"y" * 1_000_000)
        await writer.drain()
        writer.write_eof()
        served.append(await reader.read())
        writer.close()
        await writer.wait_closed()

    def factory() -> asyncio.StreamReaderProtocol:
        loop = asyncio.get_running_loop()
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), serve, loop=loop)

    factories = {"server_factory" if client else "client_factory": factory}
    async with sessions(**factories) as both:
        end, _ = both.ends(client)
        reader, writer = await end.open_connection()
        writer.write(b"line\n")
        assert await reader.read() == b"y" * 1_000_000
        writer.write(b"x" * 1_000_000)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await until(lambda: len(served) == 2)
        assert served == [b"line\n", b"x" * 1_000_000]


# -- TLS inside a stream -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(client's, server's)"""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("inside.test").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return client, server


async def wrap(
    transport: StreamTransport, protocol: asyncio.Protocol, context: ssl.SSLContext, *, server_side: bool
) -> asyncio.Transport:
    """What loop.start_tls does; uvloop's takes none but its own transports, so there asyncio's TLS is put in by hand."""
    loop = asyncio.get_running_loop()
    name = None if server_side else "inside.test"
    if isinstance(loop, asyncio.BaseEventLoop):
        wrapped = await loop.start_tls(transport, protocol, context, server_side=server_side, server_hostname=name)
        assert wrapped is not None
        return wrapped  # type: ignore[return-value]
    waiter = loop.create_future()
    tls = asyncio.sslproto.SSLProtocol(  # type: ignore[attr-defined]
        loop, protocol, context, waiter, server_side, name, call_connection_made=False
    )
    transport.pause_reading()
    transport.set_protocol(tls)
    loop.call_soon(tls.connection_made, transport)
    loop.call_soon(transport.resume_reading)
    await waiter
    return tls._app_transport  # type: ignore[no-any-return]


@roles
async def test_tls_inside_a_stream(client: bool, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    inner: list[Recorder] = []

    def factory() -> Recorder:
        inner.append(Recorder())
        return inner[-1]

    factories = {"server_factory" if client else "client_factory": factory}
    async with sessions(**factories) as both:
        end, other = both.ends(client)
        near = Recorder()
        plain = end.open_stream(near)
        await until(lambda: bool(inner) and inner[0].connected)
        far = inner[0]
        near_tls, far_tls = await asyncio.gather(
            wrap(plain, near, contexts[0], server_side=False),
            wrap(far.transport, far, contexts[1], server_side=True),  # type: ignore[arg-type]
        )
        body = bytes(range(256)) * 8000
        near_tls.write(body)
        far_tls.write(body[::-1])
        await far.received(len(body))
        await near.received(len(body))
        assert (bytes(far.data), bytes(near.data)) == (body, body[::-1])
        near_tls.close()
        assert await far.lost() is None
        assert await near.lost() is None
        await until(lambda: end.num_streams == other.num_streams == 0)


@roles
async def test_a_failed_handshake_costs_its_stream_only(
    client: bool, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    async with against_raw(client=client) as (session, peer):
        near = Recorder()
        plain = session.open_stream(near)
        shaking = asyncio.create_task(wrap(plain, near, contexts[0], server_side=False))
        await until(lambda: len(peer.raw) > 24)
        peer.send(data(plain.id, b"this is not TLS at all, sorry"))
        with pytest.raises(ssl.SSLError):
            await shaking
        await until(lambda: session.num_streams == 0)
        assert not session.is_closed
        assert peer.frames()[-1].kind == WINDOW_UPDATE


# -- HTTP on streams ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("default")
async def test_aiohttps_server_and_client_on_streams() -> None:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=await request.read() * 2, headers={"X-Path": request.path})

    server = web.Server(handle)
    async with sessions(server_factory=server) as both:

        class Connector(aiohttp.BaseConnector):
            async def _create_connection(self, *_: Any) -> Any:
                loop = asyncio.get_running_loop()
                protocol = aiohttp.client_proto.ResponseHandler(loop)
                both.client.open_stream(protocol)
                return protocol

        async with aiohttp.ClientSession(connector=Connector()) as http:
            for n in range(3):
                body = bytes([n]) * 300_000
                async with http.post(f"http://inside.test/path/{n}", data=body) as response:
                    assert response.status == 200
                    assert response.headers["X-Path"] == f"/path/{n}"
                    assert await response.read() == body * 2
            assert both.server.stats.streams_accepted == 1, "one kept-alive stream"
        await until(lambda: both.client.num_streams == both.server.num_streams == 0)
    await server.shutdown()


class H11Server(asyncio.Protocol):
    """The smallest server on h11."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.conn = h11.Connection(h11.SERVER)

    def data_received(self, data: bytes) -> None:
        self.conn.receive_data(data)
        while (event := self.conn.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.EndOfMessage):
                head = h11.Response(status_code=200, headers=[("Content-Length", "5"), ("Connection", "close")])
                for part in (head, h11.Data(data=b"hello"), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(part))  # type: ignore[attr-defined]
                self.transport.close()
                return


@roles
async def test_h11_on_a_stream(client: bool) -> None:
    async with sessions(**{"server_factory" if client else "client_factory": H11Server}) as both:
        end, other = both.ends(client)
        stream = await end.open()
        stream.write(b"GET / HTTP/1.1\r\nHost: inside.test\r\n\r\n")
        answer = await stream.read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"hello")
        stream.close()
        await until(lambda: end.num_streams == other.num_streams == 0)
