from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from yamux.frames import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    HEADER_SIZE,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    describe,
    pack,
    unpack_from,
)

U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFF_FFFF)


def test_the_constants_are_the_wire_format() -> None:
    assert (DATA, WINDOW_UPDATE, PING, GO_AWAY) == (0, 1, 2, 3)
    assert (SYN, ACK, FIN, RST) == (1, 2, 4, 8)
    assert HEADER_SIZE == 12


def test_fields_are_big_endian_in_their_places() -> None:
    assert pack(WINDOW_UPDATE, SYN | FIN, 0x01020304, 0xA0B0C0D0) == bytes.fromhex("0001 0005 01020304 a0b0c0d0")


@given(U16, U16, U32, U32)
def test_round_trip_of_every_field(kind: int, flags: int, stream_id: int, length: int) -> None:
    header = pack(kind, flags, stream_id, length)
    assert len(header) == HEADER_SIZE
    assert unpack_from(b"xx" + header, 2) == (kind, flags, stream_id, length)


def test_extremes() -> None:
    for fields in ((0, 0, 0, 0), (0xFFFF, 0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF)):
        assert unpack_from(pack(*fields)) == fields


def test_describe_names_what_it_knows_and_shows_the_rest() -> None:
    assert describe(pack(DATA, FIN, 3, 120)) == "DATA FIN stream=3 length=120"
    assert describe(pack(WINDOW_UPDATE, SYN | ACK | RST, 1, 0)) == "WINDOW_UPDATE SYN ACK RST stream=1 length=0"
    assert describe(pack(0x0107, 0x8010, 9, 1)) == "type=0x107 flags=0x8010 stream=9 length=1"
