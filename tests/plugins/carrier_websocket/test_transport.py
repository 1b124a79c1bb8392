"""The WebSocket transport against a scripted peer, in memory: what the session sees, and what goes over the wire."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from carrier_websocket import WebSocketError, WebSocketFraming, WebSocketTransport
from carrier_websocket.frames import BINARY, CLOSE, MAX_IDLE_FRAMES, PING, PONG
from carrier_websocket.transport import MAX_PONGS
from yamux.testing import CLEAN, COALESCING, TINY, Link, MemoryPair, Recorder, memory_pair


class Start(asyncio.Protocol):
    def __init__(self, session: asyncio.Protocol, *, client: bool, leftover: bytes = b"") -> None:
        self.session, self.client, self.leftover = session, client, leftover

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        WebSocketFraming(client=self.client).start(transport, self.session, self.leftover)


@dataclass
class Wired:
    """One WebSocketTransport with a session above it, and the wire it sees."""

    session: Recorder
    wire: Recorder
    pair: MemoryPair
    client: bool

    @property
    def transport(self) -> WebSocketTransport:
        assert isinstance(self.session.transport, WebSocketTransport)
        return self.session.transport

    def frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
        """A right frame as the peer would send it."""
        head = bytes([(0x80 if fin else 0) | opcode])
        bit = 0 if self.client else 0x80
        size = len(payload)
        head += bytes([bit | size]) if size < 126 else struct.pack("!BH", bit | 126, size)
        return head + payload if self.client else head + bytes(4) + payload

    def send(self, data: bytes) -> None:
        self.wire.transport.write(data)

    def sent(self) -> list[tuple[int, bytes]]:
        """The frames on the wire so far, read by another implementation."""
        peer = Protocol(Side.SERVER if self.client else Side.CLIENT)
        peer.receive_data(bytes(self.wire.data))
        assert peer.parser_exc is None
        return [(int(event.opcode), bytes(event.data)) for event in peer.events_received() if isinstance(event, Frame)]

    async def frames(self, count: int) -> list[tuple[int, bytes]]:
        await self.wire.until(lambda: len(self.sent()) >= count)
        return self.sent()


def open_side(client: bool, link: Link = CLEAN, leftover: bytes = b"") -> Wired:
    session, wire = Recorder(), Recorder(keep_open=True)
    pair = memory_pair(Start(session, client=client, leftover=leftover), wire, link)
    return Wired(session, wire, pair, client)


BOTH = pytest.mark.parametrize("client", [True, False], ids=["client", "server"])


@BOTH
async def test_messages_are_bytes_of_one_stream(client: bool) -> None:
    side = open_side(client)
    side.send(side.frame(BINARY, b"one ") + side.frame(BINARY, b"", fin=False) + side.frame(0, b"two"))
    assert await side.session.received(7) == b"one two"
    # One read of the socket is one call of the session.
    assert side.session.chunks == [7]
    side.transport.write(b"three")
    side.transport.writelines([b"fo", b"ur"])
    assert await side.frames(2) == [(BINARY, b"three"), (BINARY, b"four")]


@BOTH
async def test_leftover_behind_the_upgrade_is_the_first_data(client: bool) -> None:
    frame = open_side(client).frame(BINARY, b"early")
    side = open_side(client, leftover=frame[:1])
    assert side.session.data == b""
    side.send(frame[1:] + side.frame(BINARY, b" late"))
    assert await side.session.received(10) == b"early late"


@BOTH
@pytest.mark.parametrize("link", [TINY, Link(chunk=3), COALESCING], ids=["1 byte", "3 bytes", "coalesced"])
async def test_e15_any_split_on_the_wire(client: bool, link: Link) -> None:
    side = open_side(client, link)
    for part in (b"a", b"b" * 200, b"", b"c" * 3000):
        side.send(side.frame(BINARY, part) + side.frame(PING, b"?"))
    side.send(side.frame(CLOSE, b"\x03\xe8"))
    assert await side.session.received(3201) == b"a" + b"b" * 200 + b"c" * 3000
    await side.session.until(lambda: side.session.eof)
    await side.wire.until(lambda: CLOSE in dict(side.sent()))
    side.wire.transport.close()
    assert await side.session.lost() is None
    assert {opcode for opcode, _ in side.sent()} == {PONG, CLOSE}


@BOTH
async def test_pings_are_answered_and_pongs_are_not(client: bool) -> None:
    side = open_side(client)
    side.send(side.frame(PONG, b"unasked") + side.frame(PING, b"hello") + side.frame(BINARY, b"x"))
    await side.session.received(1)
    assert await side.frames(1) == [(PONG, b"hello")]
    side.send(side.frame(PING, b"1") + side.frame(PING, b"2"))
    assert (await side.frames(3))[1:] == [(PONG, b"1"), (PONG, b"2")]


@BOTH
async def test_of_many_pings_at_once_the_latest_are_answered(client: bool) -> None:
    side = open_side(client, COALESCING)
    side.send(b"".join(side.frame(PING, b"%d" % number) for number in range(100)) + side.frame(BINARY, b"x"))
    await side.session.received(1)
    side.transport.close()
    await side.wire.until(lambda: CLOSE in dict(side.sent()))
    assert [payload for opcode, payload in side.sent() if opcode == PONG] == [
        b"%d" % number for number in range(100 - MAX_PONGS, 100)
    ]


@BOTH
@pytest.mark.parametrize(
    ("payload", "answer"),
    [(b"", 1000), (b"\x03\xe8bye", 1000), (b"\x03\xe9", 1001), (b"\x03\xf3", 1011), (b"\x0f\xa0", 4000)],
)
async def test_a_close_frame_is_answered_with_its_own_code(client: bool, payload: bytes, answer: int) -> None:
    side = open_side(client)
    side.send(side.frame(CLOSE, payload))
    assert await side.frames(1) == [(CLOSE, answer.to_bytes(2, "big"))]


async def test_pings_do_not_pile_up_answers_for_a_peer_that_does_not_read() -> None:
    side = open_side(False)
    side.wire.transport.pause_reading()
    while not side.session.paused:
        side.transport.write(bytes(60_000))
    before = side.transport.get_write_buffer_size()
    for number in range(50):
        side.send(side.frame(PING, b"%d" % number) + side.frame(BINARY, b"x"))
    await side.session.received(50)
    assert side.transport.get_write_buffer_size() == before
    side.wire.transport.resume_reading()
    await side.wire.until(lambda: (PONG, b"49") in side.sent())
    assert [frame for frame in side.sent() if frame[0] == PONG] == [(PONG, b"49")]


VIOLATIONS = [
    ("text", lambda s: s.frame(1, b"hi"), 1003),
    ("reserved bit", lambda s: bytes([0xC2]) + s.frame(BINARY, b"")[1:], 1002),
    ("wrong mask bit", lambda s: bytes([0x82, 0x80 if s.client else 0x00]) + bytes(4), 1002),
    ("ping in fragments", lambda s: s.frame(PING, fin=False), 1002),
    ("ping of 126 bytes", lambda s: bytes([0x89, 126 if s.client else 254]), 1002),
    ("close code 1005", lambda s: s.frame(CLOSE, struct.pack("!H", 1005)), 1002),
    ("close reason not UTF-8", lambda s: s.frame(CLOSE, b"\x03\xe8\xff"), 1007),
    ("flood", lambda s: s.frame(PING) * (MAX_IDLE_FRAMES + 1), 1008),
]


@BOTH
@pytest.mark.parametrize(("name", "make", "code"), VIOLATIONS, ids=[v[0] for v in VIOLATIONS])
async def test_e12_violations_are_named_to_the_peer_and_lose_the_session(
    client: bool, name: str, make: object, code: int
) -> None:
    assert callable(make)
    side = open_side(client, COALESCING)
    side.send(side.frame(BINARY, b"before"))
    side.send(make(side))
    error = await side.session.lost()
    assert isinstance(error, WebSocketError)
    assert error.code == code
    assert not side.session.eof
    assert bytes(side.session.data) == b"before"
    await side.wire.until(lambda: CLOSE in dict(side.sent()))
    assert side.sent()[-1][1][:2] == struct.pack("!H", code)
    # What still arrives is read and thrown away, so that our close frame is not overtaken by a reset.
    side.send(side.frame(BINARY, b"late"))
    side.wire.transport.close()
    await side.wire.lost()
    assert bytes(side.session.data) == b"before"


@BOTH
async def test_e13_a_message_over_one_mebibyte(client: bool) -> None:
    side = open_side(client)
    bit = 0 if client else 0x80
    side.send(struct.pack("!BBQ", 0x82, bit | 127, 1024 * 1024 + 1))
    error = await side.session.lost()
    assert isinstance(error, WebSocketError) and error.code == 1009
    assert (await side.frames(1))[0][1][:2] == struct.pack("!H", 1009)


async def test_what_follows_a_violation_is_bounded() -> None:
    side = open_side(False)
    side.send(side.frame(1, b"text"))
    await side.session.lost()
    for _ in range(40):
        side.send(bytes(60_000))
    error = await side.wire.lost()
    assert isinstance(error, ConnectionResetError)


@BOTH
async def test_close_sends_what_was_written_and_waits_for_the_answer(client: bool) -> None:
    side = open_side(client)
    side.transport.write(bytes(100_000))
    side.transport.close()
    assert side.transport.is_closing()
    side.transport.write(b"too late")
    side.transport.close()
    side.send(side.frame(BINARY, b"dropped"))
    await side.wire.until(lambda: CLOSE in dict(side.sent()))
    sent = side.sent()
    assert b"".join(payload for opcode, payload in sent if opcode == BINARY) == bytes(100_000)
    assert [frame for frame in sent if frame[0] == CLOSE] == [(CLOSE, b"\x03\xe8")]
    assert not side.session.closed
    side.send(side.frame(CLOSE, b"\x03\xe8"))
    if client:
        # The server is the one to end the TCP connection.
        await asyncio.sleep(0)
        side.wire.transport.close()
    assert await side.session.lost() is None
    assert not side.session.eof and side.session.size == 0


@BOTH
async def test_a_close_frame_from_the_peer_is_an_orderly_end(client: bool) -> None:
    side = open_side(client)
    side.send(side.frame(BINARY, b"last") + side.frame(CLOSE, b"\x03\xe8bye"))
    await side.session.until(lambda: side.session.eof)
    assert bytes(side.session.data) == b"last"
    assert (await side.frames(1))[-1] == (CLOSE, b"\x03\xe8")
    if client:
        side.wire.transport.close()
    else:
        await side.wire.until(lambda: side.wire.eof)
        side.wire.transport.close()
    assert await side.session.lost() is None


async def test_the_session_may_write_its_last_words_when_the_peer_closes() -> None:
    class Polite(Recorder):
        def eof_received(self) -> bool:
            self.transport.write(b"goodbye")
            return super().eof_received()

    session, wire = Polite(), Recorder(keep_open=True)
    side = Wired(session, wire, memory_pair(Start(session, client=False), wire), False)
    side.send(side.frame(CLOSE, b"\x03\xe8"))
    assert await session.lost() is None
    assert await side.frames(2) == [(BINARY, b"goodbye"), (CLOSE, b"\x03\xe8")]


@BOTH
@pytest.mark.parametrize("code", [1001, 1002, 1011, 3000])
async def test_other_close_codes_are_errors(client: bool, code: int) -> None:
    side = open_side(client)
    side.send(side.frame(CLOSE, struct.pack("!H", code)))
    await side.frames(1)
    side.wire.transport.close()
    error = await side.session.lost()
    assert isinstance(error, WebSocketError) and error.code == code
    assert not side.session.eof


@BOTH
async def test_a_close_frame_without_code_is_an_error(client: bool) -> None:
    side = open_side(client)
    side.send(side.frame(CLOSE))
    await side.frames(1)
    side.wire.transport.close()
    error = await side.session.lost()
    assert isinstance(error, WebSocketError) and error.code == 1005


@BOTH
@pytest.mark.parametrize("rest", [b"", b"\x82", b"\x82\x85"])
async def test_an_end_without_close_frame_is_truncation(client: bool, rest: bytes) -> None:
    side = open_side(client)
    side.send(side.frame(BINARY, b"cut") + (rest if not client else rest.replace(b"\x85", b"\x05")))
    side.wire.transport.close()
    error = await side.session.lost()
    assert isinstance(error, WebSocketError) and error.code == 1006
    assert not side.session.eof
    assert bytes(side.session.data) == b"cut"


async def test_a_half_closed_connection_is_truncation_too() -> None:
    side = open_side(True)
    side.send(side.frame(BINARY, b"cut"))
    side.wire.transport.write_eof()
    error = await side.session.lost()
    assert isinstance(error, ConnectionError) and not side.session.eof


@BOTH
async def test_a_lost_connection_keeps_its_reason(client: bool) -> None:
    side = open_side(client)
    side.pair.cut()
    assert isinstance(await side.session.lost(), ConnectionResetError)


@BOTH
async def test_abort_is_an_error_for_the_peer_and_none_here(client: bool) -> None:
    side = open_side(client)
    side.transport.abort()
    assert side.transport.is_closing()
    assert await side.session.lost() is None
    assert isinstance(await side.wire.lost(), ConnectionResetError)


@BOTH
async def test_a_close_handshake_that_is_not_answered_has_a_deadline(client: bool) -> None:
    session, wire = Recorder(), Recorder(keep_open=True)

    class Hasty(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            adapter = WebSocketTransport(transport, session, client=client, close_timeout=0.01)
            transport.set_protocol(adapter)
            session.connection_made(adapter)

    memory_pair(Hasty(), wire)
    session.transport.close()
    error = await session.lost()
    assert isinstance(error, WebSocketError) and "in time" in str(error)
    assert isinstance(await wire.lost(), ConnectionResetError)


async def test_closing_lasts_while_the_peer_still_takes_bytes() -> None:
    session, wire = Recorder(), Recorder(keep_open=True)

    class Slow(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            adapter = WebSocketTransport(transport, session, client=False, close_timeout=3600)
            transport.set_protocol(adapter)
            session.connection_made(adapter)

    memory_pair(Slow(), wire, Link(chunk=1000))
    wire.transport.pause_reading()
    session.transport.write(bytes(1_000_000))
    session.transport.close()
    adapter = session.transport
    assert isinstance(adapter, WebSocketTransport)
    wire.transport.resume_reading()
    await wire.received(1000)
    wire.transport.pause_reading()
    adapter._close_late()
    await asyncio.sleep(0)
    assert not session.closed
    adapter._close_late()
    assert isinstance(await session.lost(), WebSocketError)


@BOTH
async def test_backpressure_passes_in_both_directions(client: bool) -> None:
    side = open_side(client)
    side.wire.transport.pause_reading()
    while not side.session.paused:
        side.transport.write(bytes(10_000))
    low, high = side.transport.get_write_buffer_limits()
    assert high < side.transport.get_write_buffer_size() < high + 11_000
    side.wire.transport.resume_reading()
    await side.session.writable()
    assert side.transport.get_write_buffer_size() <= low
    side.transport.set_write_buffer_limits(1000, 100)
    assert side.transport.get_write_buffer_limits() == (100, 1000)

    side.transport.pause_reading()
    assert not side.transport.is_reading()
    while not side.wire.paused:
        side.send(side.frame(BINARY, bytes(10_000)))
    assert side.session.size == 0
    side.transport.resume_reading()
    await side.wire.writable()
    assert side.session.size > 0


async def test_what_the_transport_says_of_itself() -> None:
    side = open_side(True)
    assert side.transport.get_extra_info("peername") == "memory-left"
    assert side.transport.get_extra_info("nothing", 7) == 7
    assert side.transport.get_protocol() is side.session
    assert "client open" in repr(side.transport)
    assert not side.transport.can_write_eof()
    other = Recorder()
    side.transport.set_protocol(other)
    side.send(side.frame(BINARY, b"x"))
    await other.received(1)
    side.transport.abort()
    await other.lost()
    assert "lost" in repr(side.transport)


async def test_against_another_implementation_end_to_end() -> None:
    """The server of the websockets library, fed by our client, and back."""

    class Library(asyncio.Protocol):
        def __init__(self) -> None:
            self.core = Protocol(Side.SERVER, max_size=1024 * 1024)
            self.messages: list[bytes] = []

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.core.receive_data(data)
            for event in self.core.events_received():
                assert isinstance(event, Frame)
                if event.opcode is Opcode.BINARY:
                    self.core.send_ping(b"are you there")
                    self.core.send_binary(event.data[: len(event.data) // 2], fin=False)
                    self.core.send_continuation(event.data[len(event.data) // 2 :], fin=True)
            self.flush()

        def eof_received(self) -> None:
            self.core.receive_eof()
            self.flush()

        def flush(self) -> None:
            for data in self.core.data_to_send():
                if data:
                    self.transport.write(data)
                else:
                    self.transport.write_eof()

    library, session = Library(), Recorder()
    memory_pair(Start(session, client=True), library, Link(chunk=5000))
    payload = bytes(range(256)) * 1200
    session.transport.write(payload)
    assert await session.received(len(payload)) == payload
    session.transport.close()
    assert await session.lost() is None
    assert library.core.close_code == 1000


async def test_a_session_that_takes_views_gets_them_where_nothing_must_be_unmasked() -> None:
    class Views(Recorder):
        accepts_views = True

        def __init__(self) -> None:
            super().__init__()
            self.types: set[type] = set()

        def data_received(self, data: bytes) -> None:
            self.types.add(type(data))
            super().data_received(data)

    for client, expected in ((True, {memoryview}), (False, {bytes})):
        session, wire = Views(), Recorder(keep_open=True)
        side = Wired(session, wire, memory_pair(Start(session, client=client), wire), client)
        side.send(side.frame(BINARY, b"data"))
        assert await session.received(4) == b"data"
        assert session.types == expected


async def test_small_messages_are_joined_and_large_ones_are_not() -> None:
    side = open_side(True)
    small, large = side.frame(BINARY, b"a") * 50, side.frame(BINARY, bytes(60_000))
    side.transport.data_received(small + large + large + small)
    assert side.session.chunks == [60_050, 60_050]


async def test_nothing_is_delivered_once_the_session_has_aborted() -> None:
    class Abrupt(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.abort()

    session, wire = Abrupt(), Recorder(keep_open=True)
    side = Wired(session, wire, memory_pair(Start(session, client=True), wire, COALESCING), True)
    side.transport.data_received(side.frame(BINARY, bytes(60_000)) * 2)
    await session.lost()
    assert session.size == 60_000
