"""Token buckets, by a clock of our own."""

from __future__ import annotations

import pytest

from hubd.rates import Flow, Rate


@pytest.mark.parametrize("per_second", [0.5, 1.0, 3.0, 100.0, 10_000.0])
def test_a_rate_is_kept_over_time(per_second: float):
    rate, now, taken = Rate(per_second), 1000.0, 0
    for _ in range(500_000):
        wait = rate.take(now)
        if wait:
            now += wait
        else:
            taken += 1
        if now > 1020.0:
            break
    # The burst comes on top once.
    assert 20 * per_second - 1 <= taken <= 21 * per_second + 2


def test_a_burst_is_a_second_of_the_rate_and_one_at_least():
    for per_second, burst in ((10.0, 10), (0.1, 1), (1.0, 1)):
        rate = Rate(per_second)
        assert sum(not rate.take(50.0) for _ in range(30)) == burst


def test_the_wait_is_exact():
    rate = Rate(0.5)
    assert rate.take(10.0) == 0.0
    assert rate.take(10.5) == pytest.approx(1.5)
    assert rate.take(12.0) == 0.0


def test_a_flow_is_paid_afterwards():
    flow = Flow(100_000)
    assert flow.spend(25_000, 10.0) == 0.0
    assert flow.spend(50_000, 10.0) == pytest.approx(0.5)
    assert flow.spend(50_000, 10.0) == pytest.approx(1.0)
    assert flow.spend(1, 20.0) == 0.0


def test_a_flow_is_kept_over_time():
    flow, now, moved = Flow(1_000_000), 50.0, 0
    while now < 60.0:
        moved += 65_536
        now += flow.spend(65_536, now)
    assert moved == pytest.approx(10_250_000, rel=0.02)
