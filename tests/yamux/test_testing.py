"""The in-memory transports keep asyncio's contract, and misbehave only when asked to."""

from __future__ import annotations

import asyncio

import pytest

from yamux.testing import CLEAN, COALESCING, TINY, Link, MemoryPair, Recorder, memory_pair


def join(link: Link = CLEAN, *, keep_open: bool = False) -> tuple[Recorder, Recorder, MemoryPair]:
    left, right = Recorder(), Recorder(keep_open=keep_open)
    return left, right, memory_pair(left, right, link)


async def test_clean_hands_over_write_by_write() -> None:
    left, right, _ = join()
    for part in (b"one", bytearray(b"two"), memoryview(b"three")):
        left.transport.write(part)
    assert await right.received(11) == b"onetwothree"
    assert right.chunks == [3, 3, 5]


async def test_a_written_buffer_may_be_reused_at_once() -> None:
    left, right, _ = join()
    buffer = bytearray(b"abc")
    left.transport.write(buffer)
    buffer[:] = b"xyz"
    assert await right.received(3) == b"abc"


async def test_tiny_and_coalesced() -> None:
    left, right, _ = join(TINY)
    left.transport.writelines([b"ab", b"c"])
    await right.received(3)
    assert right.chunks == [1, 1, 1]
    left, right, _ = join(COALESCING)
    for _ in range(5):
        left.transport.write(b"ab")
    await right.received(10)
    assert right.chunks == [10]


async def test_stalled_moves_nothing_until_released() -> None:
    left, right, pair = join(Link(stalled=True))
    left.transport.write(b"x")
    left.transport.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert right.size == 0 and not right.eof and not left.closed
    pair.release()
    assert await right.received(1) == b"x"
    assert await right.lost() is None
    assert await left.lost() is None


async def test_cut_loses_what_is_under_way_at_both_ends() -> None:
    left, right, _ = join(Link(cut_after=5))
    left.transport.write(b"abc")
    left.transport.write(b"defgh")
    assert isinstance(await left.lost(), ConnectionResetError)
    assert isinstance(await right.lost(), ConnectionResetError)
    assert bytes(right.data) == b"abcde" and not right.eof


async def test_marks() -> None:
    left, right, _ = join()
    right.transport.pause_reading()
    left.transport.set_write_buffer_limits(100, 10)
    left.transport.write(bytes(100))
    assert not left.paused
    left.transport.write(b"!")
    assert left.paused and left.transport.get_write_buffer_size() == 101
    right.transport.resume_reading()
    await left.writable()
    assert left.transport.get_write_buffer_size() <= 10
    assert right.size == 101


async def test_half_close_and_close() -> None:
    left, right, _ = join(keep_open=True)
    left.transport.write(b"question")
    left.transport.write_eof()
    with pytest.raises(RuntimeError):
        left.transport.write(b"more")
    await right.until(lambda: right.eof)
    assert bytes(right.data) == b"question"
    right.transport.write(b"answer")
    right.transport.close()
    assert await left.received(6) == b"answer"
    assert await left.lost() is None and await right.lost() is None


async def test_abort() -> None:
    left, right, _ = join()
    left.transport.write(b"never arrives")
    left.transport.abort()
    assert isinstance(await right.lost(), ConnectionResetError)
    assert await left.lost() is None
    assert right.size == 0


async def test_data_for_an_end_that_closed_is_dropped_and_does_not_block() -> None:
    left, right, _ = join()
    right.transport.pause_reading()
    left.transport.write(bytes(200_000))
    assert left.paused
    right.transport.close()
    await left.writable()
    assert await right.lost() is None and right.size == 0


async def test_waiting_has_a_deadline() -> None:
    left, _, _ = join()
    with pytest.raises(TimeoutError):
        await left.received(1, timeout=0.01)
    left.transport.close()
    with pytest.raises(ConnectionError, match="0 of 1 bytes"):
        await left.received(1)
