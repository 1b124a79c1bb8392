from __future__ import annotations

import random

from agentd.backoff import CEILING, FIRST, LONGEST_WISH, STEADY, Backoff


def highest(low: float, high: float) -> float:
    return high


def test_ceilings_double_up_to_the_limit():
    backoff = Backoff(highest)
    assert [backoff.next() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 20, 20]
    for _ in range(5000):
        assert backoff.next() == CEILING


def test_e11_jitter_is_full():
    rng = random.Random(1)
    first = [Backoff(rng.uniform).next() for _ in range(2000)]
    assert min(first) < 0.05 * FIRST
    assert max(first) > 0.95 * FIRST
    late = Backoff(rng.uniform)
    delays = [late.next() for _ in range(2000)][8:]
    assert min(delays) < 1
    assert max(delays) > CEILING - 1


def test_a_session_that_lived_starts_anew():
    backoff = Backoff(highest)
    for _ in range(5):
        backoff.next()
    backoff.lived(STEADY - 1)
    assert backoff.next() == 16
    backoff.lived(STEADY)
    assert backoff.next() == FIRST


def test_a_wish_is_kept_with_jitter_on_top():
    backoff = Backoff(highest)
    assert backoff.next(7) == 7.5
    assert backoff.next(1e9) == LONGEST_WISH + 1
    assert backoff.next(0) == 2
    assert "3 failures" in repr(backoff)
