"""Lag percentiles."""

from __future__ import annotations

from hubd.lags import Lags
from hubd.pulse import BUCKETS


def counts(**by_bucket: int) -> list[int]:
    return [by_bucket.get(f"b{index}", 0) for index in range(len(BUCKETS) + 1)]


def test_the_last_minute_and_no_more():
    now = 0.0
    lags = Lags(lambda: now)
    assert lags.percentile(counts()) == 0.0
    assert lags.percentile(counts(b0=99, b5=1)) == BUCKETS[0]
    now = 10.0
    assert lags.percentile(counts(b0=100, b8=100)) == BUCKETS[8]
    now = 200.0
    lags.percentile(counts(b0=100, b8=100))
    now = 230.0
    assert lags.percentile(counts(b0=600, b8=100)) == BUCKETS[0], "the bad minute is over"
    now = 231.0
    assert lags.percentile(counts(b0=600, b8=100, b9=900)) == BUCKETS[-1]
