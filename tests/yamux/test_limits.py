from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.yamux.wire import Clock

from yamux import FloodDetected
from yamux.limits import REMEMBERED_GAPS, IdHistory, TokenBucket


def drain(bucket: TokenBucket, most: int = 100_000) -> int:
    for count in range(most):
        try:
            bucket.take()
        except FloodDetected:
            return count
    raise AssertionError("the bucket has no bottom")


def test_a_burst_passes_and_one_more_does_not() -> None:
    assert drain(TokenBucket("things", 10, 50, Clock())) == 50


def test_tokens_come_back_at_the_rate() -> None:
    clock = Clock()
    bucket = TokenBucket("things", 10, 50, clock)
    for _ in range(50):
        bucket.take()
    for _ in range(200):
        clock.advance(0.1)
        bucket.take()
    with pytest.raises(FloodDetected, match="things"):
        for _ in range(2):
            bucket.take()


def test_a_long_rest_gives_no_more_than_another_burst() -> None:
    clock = Clock()
    bucket = TokenBucket("things", 10, 50, clock)
    clock.advance(1_000_000)
    assert drain(bucket) <= 100


def test_ids_in_order_are_used_once() -> None:
    ids = IdHistory(1, reuse=False)
    assert all(ids.use(n) for n in range(1, 1001, 2))
    assert not any(ids.use(n) for n in range(1, 1001, 2))


def test_skipped_ids_stay_usable_once() -> None:
    ids = IdHistory(2, reuse=False)
    assert ids.use(10)
    assert [ids.use(n) for n in (4, 2, 8, 6)] == [True] * 4
    assert not any(ids.use(n) for n in (2, 4, 6, 8, 10))
    assert ids.use(12)


def test_far_jumps_cost_constant_memory() -> None:
    ids = IdHistory(1, reuse=False)
    assert ids.use(0xFFFF_FFFD)
    assert len(ids._gaps) == REMEMBERED_GAPS
    assert ids.use(0xFFFF_FFFB)
    assert not ids.use(3), "forgotten gaps count as used"
    assert ids.use(0xFFFF_FFFF)


def test_reuse_is_an_option() -> None:
    ids = IdHistory(1, reuse=True)
    assert [ids.use(n) for n in (1, 1, 9, 3, 3)] == [True] * 5


@given(st.lists(st.integers(0, 400).map(lambda n: 2 * n + 1), max_size=300))
def test_no_id_is_ever_usable_twice(wanted: list[int]) -> None:
    ids = IdHistory(1, reuse=False)
    used: set[int] = set()
    for stream_id in wanted:
        assert ids.use(stream_id) == (stream_id not in used)
        used.add(stream_id)
