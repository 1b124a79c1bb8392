"""The table of RFC 6455 section 5, on bytes alone, and the same inputs through another implementation."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from carrier_websocket.frames import (
    CLOSE,
    MAX_IDLE_FRAMES,
    MAX_INBOUND,
    MAX_OUTBOUND,
    PING,
    PONG,
    FrameReader,
    FrameWriter,
    parse_close,
)

LENGTHS = [0, 1, 125, 126, 127, 65535, 65536, 65537]


def frame(opcode: int, payload: bytes = b"", *, masked: bool, fin: bool = True, rsv: int = 0) -> bytes:
    """A frame as the RFC draws it, right or wrong."""
    size = len(payload)
    head = bytes([(0x80 if fin else 0) | rsv | opcode])
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += struct.pack("!BH", bit | 126, size)
    else:
        head += struct.pack("!BQ", bit | 127, size)
    if not masked:
        return head + payload
    key = b"\x5a\x01\xff\x80"
    return head + key + bytes(b ^ key[i & 3] for i, b in enumerate(payload))


def read(reader: FrameReader, data: bytes, step: int | None = None) -> bytes:
    """Feed in pieces of `step` bytes until the end or a violation."""
    got = bytearray()
    step = step or max(len(data), 1)
    for start in range(0, len(data), step):
        for piece in reader.feed(data[start : start + step]):
            got += piece
        if reader.violation is not None:
            break
    return bytes(got)


def code_of(data: bytes, *, masked: bool) -> int | None:
    """Close code a stream of bytes deserves, the same however it is split."""
    codes = set()
    for step in (None, 1, 3):
        reader = FrameReader(masked=masked)
        read(reader, data, step)
        codes.add(reader.violation.code if reader.violation else None)
    (code,) = codes
    return code


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("length", LENGTHS)
def test_every_length_form_is_read(length: int, masked: bool) -> None:
    payload = bytes(i % 253 for i in range(length))
    wire = frame(2, payload, masked=masked) + frame(2, b"next", masked=masked)
    for step in (None, 7, 4096) if length > 200 else (None, 1, 2, 3, 5):
        assert read(FrameReader(masked=masked), wire, step) == payload + b"next"


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("length", LENGTHS)
def test_what_is_written_is_what_another_implementation_reads(length: int, masked: bool) -> None:
    payload = bytes(i % 253 for i in range(length))
    wire = b"".join(FrameWriter(masked=masked).binary([payload[:10], payload[10:]]))
    peer = Protocol(Side.SERVER if masked else Side.CLIENT, max_size=2**20)
    peer.receive_data(wire)
    events = [event for event in peer.events_received() if isinstance(event, Frame)]
    assert peer.parser_exc is None
    assert b"".join(bytes(event.data) for event in events) == payload
    assert all(event.opcode is Opcode.BINARY and event.fin and len(event.data) <= MAX_OUTBOUND for event in events)


@pytest.mark.parametrize("masked", [True, False])
def test_lengths_are_written_in_their_shortest_form(masked: bool) -> None:
    for length in LENGTHS[1:-1]:
        wire = b"".join(FrameWriter(masked=masked).binary([bytes(length)]))
        assert len(wire) == length + 2 + (0 if length < 126 else 2 if length < 65536 else 8) + (4 if masked else 0)


def test_keys_differ_from_frame_to_frame() -> None:
    writer = FrameWriter(masked=True)
    keys = {b"".join(writer.binary([b"x"]))[2:6] for _ in range(600)}
    assert len(keys) > 590


def test_long_writes_become_several_messages_without_copies_below() -> None:
    block = bytes(range(256)) * 1024
    buffers = FrameWriter(masked=False).binary([b"head", block, b"tail"])
    assert read(FrameReader(masked=False), b"".join(buffers)) == b"head" + block + b"tail"
    assert any(isinstance(buffer, memoryview) and buffer.obj is block for buffer in buffers)


def test_nothing_written_makes_no_frame() -> None:
    assert FrameWriter(masked=True).binary([]) == [] == FrameWriter(masked=False).binary([b"", b""])


@pytest.mark.parametrize("masked", [True, False])
def test_fragments_with_control_frames_between_them(masked: bool) -> None:
    wire = (
        frame(2, b"one", masked=masked, fin=False)
        + frame(PING, b"p", masked=masked)
        + frame(0, b"", masked=masked, fin=False)
        + frame(PONG, masked=masked)
        + frame(0, b"two", masked=masked)
        + frame(2, b"three", masked=masked)
    )
    for step in (None, 1):
        reader = FrameReader(masked=masked)
        assert read(reader, wire, step) == b"onetwothree"
        assert reader.violation is None
        assert reader.controls == [(PING, b"p"), (PONG, b"")]
        assert not reader.mid_message


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(
    ("name", "make", "code"),
    [
        ("mask bit", lambda m: frame(2, b"abc", masked=not m), 1002),
        ("mask bit on control", lambda m: frame(PING, b"abc", masked=not m), 1002),
        ("rsv1", lambda m: frame(2, b"abc", masked=m, rsv=0x40), 1002),
        ("rsv2", lambda m: frame(2, b"abc", masked=m, rsv=0x20), 1002),
        ("rsv3", lambda m: frame(PING, b"abc", masked=m, rsv=0x10), 1002),
        ("rsv on continuation", lambda m: frame(2, b"a", masked=m, fin=False) + frame(0, masked=m, rsv=0x40), 1002),
        ("text", lambda m: frame(1, b"abc", masked=m), 1003),
        ("text in fragments", lambda m: frame(1, b"\xff", masked=m, fin=False), 1003),
        *((f"opcode {op}", lambda m, op=op: frame(op, masked=m), 1002) for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        ("ping in fragments", lambda m: frame(PING, masked=m, fin=False), 1002),
        ("close in fragments", lambda m: frame(CLOSE, masked=m, fin=False), 1002),
        ("ping of 126", lambda m: frame(PING, bytes(126), masked=m), 1002),
        ("close of 65536", lambda m: frame(CLOSE, bytes(65536), masked=m), 1002),
        ("continuation of nothing", lambda m: frame(0, b"abc", masked=m), 1002),
        ("continuation after the end", lambda m: frame(2, b"a", masked=m) + frame(0, b"b", masked=m), 1002),
        ("message in a message", lambda m: frame(2, b"a", masked=m, fin=False) + frame(2, b"b", masked=m), 1002),
        ("close in a message", lambda m: frame(2, b"a", masked=m, fin=False) + frame(CLOSE, masked=m), 1002),
        ("16-bit length below 126", lambda m: bytes([0x82, (0x80 if m else 0) | 126, 0, 125]), 1002),
        ("64-bit length below 65536", lambda m: struct.pack("!BBQ", 0x82, (0x80 if m else 0) | 127, 65535), 1002),
        (
            "64-bit length with its top bit",
            lambda m: struct.pack("!BBQ", 0x82, (0x80 if m else 0) | 127, 1 << 63),
            1009,
        ),
        ("message of 1 MiB + 1", lambda m: struct.pack("!BBQ", 0x82, (0x80 if m else 0) | 127, MAX_INBOUND + 1), 1009),
    ],
)
def test_e12_bad_frames(name: str, make: object, code: int, masked: bool) -> None:
    assert callable(make)
    assert code_of(make(masked), masked=masked) == code
    # What came before is delivered all the same.
    reader = FrameReader(masked=masked)
    assert read(reader, frame(2, b"good", masked=masked) + make(masked)).startswith(b"good")


@pytest.mark.parametrize("bad", [b"\xc2", b"\x92\x85", b"\x89\xfe", b"\x09\x80", b"\x81\x85", b"\x82\x05"])
def test_e12_two_bytes_are_enough_to_refuse(bad: bytes) -> None:
    reader = FrameReader(masked=True)
    reader.feed(bad.ljust(2, b"\x85"))
    assert reader.violation is not None


@pytest.mark.parametrize("masked", [True, False])
def test_e13_message_size_counts_all_fragments(masked: bool) -> None:
    part = frame(0, bytes(65536), masked=masked, fin=False)
    start = frame(2, bytes(65536), masked=masked, fin=False)
    reader = FrameReader(masked=masked)
    assert len(read(reader, start + part * 15)) == MAX_INBOUND
    assert reader.violation is None
    read(reader, frame(PING, b"still fine", masked=masked))
    assert reader.violation is None
    reader.feed(frame(0, b"x", masked=masked))
    assert reader.violation is not None and reader.violation.code == 1009


def test_e13_message_of_exactly_one_mebibyte() -> None:
    reader = FrameReader(masked=False)
    assert len(read(reader, frame(2, bytes(MAX_INBOUND), masked=False))) == MAX_INBOUND
    assert reader.violation is None


def test_frames_without_payload_are_bounded() -> None:
    for empty in (frame(2, masked=True), frame(PING, b"x", masked=True)):
        reader = FrameReader(masked=True)
        reader.feed(empty * MAX_IDLE_FRAMES)
        assert reader.violation is None
        reader.feed(empty * (MAX_IDLE_FRAMES + 1))
        assert reader.violation is not None and reader.violation.code == 1008


VALID_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
INVALID_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", VALID_CODES)
def test_valid_close_codes(code: int) -> None:
    payload = struct.pack("!H", code) + "grüß".encode()
    assert parse_close(payload) == code
    assert code_of(frame(CLOSE, payload, masked=True), masked=True) is None


@pytest.mark.parametrize("code", INVALID_CODES)
def test_invalid_close_codes(code: int) -> None:
    assert code_of(frame(CLOSE, struct.pack("!H", code), masked=True), masked=True) == 1002


def test_close_payloads() -> None:
    assert parse_close(b"") == 1005
    assert code_of(frame(CLOSE, b"\x03", masked=False), masked=False) == 1002
    assert code_of(frame(CLOSE, b"\x03\xe8\xff", masked=False), masked=False) == 1007
    assert code_of(frame(CLOSE, b"\x03\xe8" + b"x" * 123, masked=False), masked=False) is None


def test_nothing_is_read_behind_a_close_frame() -> None:
    reader = FrameReader(masked=True)
    wire = frame(2, b"data", masked=True) + frame(CLOSE, b"\x03\xe8", masked=True) + frame(2, b"late", masked=True)
    assert read(reader, wire) == b"data"
    assert reader.controls == [(CLOSE, b"\x03\xe8")]
    assert read(reader, b"\xff\xff\xff") == b""
    assert reader.violation is None


def test_close_reasons_are_cut_to_fit() -> None:
    assert len(FrameWriter(masked=False).close(1002, "x" * 200)) == 127


OPCODES = st.sampled_from([0, 0, 2, 2, 2, 1, 3, CLOSE, PING, PONG, 11])
FRAMES = st.builds(
    frame,
    OPCODES,
    st.binary(max_size=140),
    masked=st.sampled_from([True] * 9 + [False]),
    fin=st.booleans(),
    rsv=st.sampled_from([0] * 12 + [0x10, 0x40]),
)


@given(st.lists(FRAMES, max_size=8), st.integers(1, 40))
def test_e15_any_split_gives_what_another_implementation_gives(frames: list[bytes], step: int) -> None:
    wire = b"".join(frames)
    reader = FrameReader(masked=True)
    payload = read(reader, wire, step)
    oracle = Protocol(Side.SERVER, max_size=MAX_INBOUND)
    oracle.receive_data(wire)
    data, text = bytearray(), False
    for event in oracle.events_received():
        assert isinstance(event, Frame)
        # Text is not ours to read; everything before it must be equal.
        text = text or event.opcode is Opcode.TEXT
        if not text and event.opcode in (Opcode.BINARY, Opcode.CONT):
            data += event.data
    if text:
        assert reader.violation is not None and reader.violation.code == 1003
        assert payload == data
        return
    # Ours hands over the payload of a frame as it comes, the other one whole frames, so ours may be ahead.
    assert payload.startswith(data)
    sent = oracle.close_sent.code if oracle.parser_exc is not None and oracle.close_sent else None
    if reader.violation is None:
        assert sent is None
    elif sent is not None:
        assert reader.violation.code == sent or reader.violation.code == 1003
