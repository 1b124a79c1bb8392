from __future__ import annotations

import asyncio
import sys
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yamux import handover
from yamux.corestream import Buffer
from yamux.handover import fill, frozen, hold, traits


def test_frozen_copies_only_what_can_change() -> None:
    raw = b"abcdef"
    view = memoryview(raw)[1:3]
    changing = bytearray(b"abc")
    copy = frozen(changing)
    changing[0] = 0
    assert frozen(raw) is raw
    assert frozen(view) == b"bc"
    assert isinstance(frozen(view), memoryview)
    assert copy == b"abc"
    assert frozen(memoryview(changing)) == b"\0bc"
    assert type(frozen(memoryview(changing))) is bytes
    assert frozen(memoryview(raw)[::2]) == b"ace"


def test_frozen_measures_in_bytes() -> None:
    wide = memoryview(bytes(16)).cast("I")
    assert len(frozen(wide)) == 16


@pytest.mark.parametrize("wrong", [5, "text", [1, 2], None])
def test_frozen_refuses_what_is_not_bytes(wrong: object) -> None:
    with pytest.raises(TypeError):
        frozen(wrong)  # type: ignore[arg-type]


def test_small_pieces_do_not_cost_many_times_their_size() -> None:
    pieces: deque[Buffer] = deque()
    for _ in range(64 * 1024):
        hold(pieces, bytes(2))
    cost = sum(sys.getsizeof(piece) for piece in pieces) + sys.getsizeof(pieces)
    assert cost < 2 * 2 * 64 * 1024


def test_what_waits_keeps_no_buffer_alive_that_others_parts_came_in() -> None:
    pieces: deque[Buffer] = deque()
    received = bytes(256 * 1024)
    for start in range(4):
        hold(pieces, memoryview(received)[start * 65_536 : (start + 1) * 65_536])
    assert [type(piece) for piece in pieces] == [bytes] * 4
    hold(pieces, received)
    assert pieces[-1] is received


@given(st.lists(st.binary(max_size=1200)))
def test_joining_keeps_the_bytes(parts: list[bytes]) -> None:
    pieces: deque[Buffer] = deque()
    for part in parts:
        hold(pieces, memoryview(part))
    assert b"".join(pieces) == b"".join(parts)


class Buffered(asyncio.BufferedProtocol):
    def __init__(self, size: int) -> None:
        self.buffer = bytearray(size)
        self.got = bytearray()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.got += self.buffer[:nbytes]


def test_fill_works_through_small_buffers() -> None:
    protocol = Buffered(3)
    fill(protocol, b"abcdefgh")
    assert protocol.got == b"abcdefgh"


def test_fill_refuses_an_empty_buffer() -> None:
    with pytest.raises(RuntimeError, match="empty buffer"):
        fill(Buffered(0), b"a")


def test_traits_come_from_the_class() -> None:
    class Views(asyncio.Protocol):
        accepts_views = True
        gives_credit = True

    assert traits(asyncio.Protocol) == (False, False, False)
    assert traits(Views) == (True, True, False)
    assert traits(Buffered) == (True, False, True)


def test_classes_made_at_run_time_are_not_remembered_for_ever() -> None:
    for index in range(2 * handover.REMEMBERED_CLASSES):
        traits(type(f"Made{index}", (asyncio.Protocol,), {}))
    assert len(handover.TRAITS) <= handover.REMEMBERED_CLASSES
