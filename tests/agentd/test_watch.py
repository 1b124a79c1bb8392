from __future__ import annotations

from types import SimpleNamespace

from agentd.config import Timeouts
from agentd.reasons import HEADER_TIMEOUT, STALLED, TARGET_TIMEOUT
from agentd.watch import Watch, has_stalled, judge

LIMITS = Timeouts(header=10, response=60, stall=20, idle=300, upgraded=1000)


class Exchange:
    """What of an exchange is looked at."""

    def __init__(self, **parts):
        self.head = object()
        self.response = None
        self.began = 0.0
        self.watch = None
        self.stream_full = False
        self.stream = SimpleNamespace(bytes_in=1, bytes_out=0)
        self.waiting = 0
        self.connection = SimpleNamespace(transport=SimpleNamespace(get_write_buffer_size=lambda: self.waiting))
        vars(self).update(parts)


def first_reason(exchange, until=5000, step=1.0, move=None):
    """The first verdict and when it came."""
    now = 0.0
    while now < until:
        now += step
        if move is not None:
            move(exchange, now)
        reason = judge(exchange, now, LIMITS)
        if reason is not None:
            return reason, now
    return None


def test_d1_a_head_has_a_total_time():
    def trickle(exchange, now):
        exchange.stream.bytes_in += 1

    assert first_reason(Exchange(head=None), move=trickle) == (HEADER_TIMEOUT, 10)


def test_d9_a_target_that_does_not_answer():
    assert first_reason(Exchange()) == (TARGET_TIMEOUT, 60)


def test_an_upload_that_moves_is_no_silence():
    def upload(exchange, now):
        if now <= 100:
            exchange.stream.bytes_in += 1

    assert first_reason(Exchange(), move=upload) == (TARGET_TIMEOUT, 160)


def test_a_target_that_reads_slowly_is_no_silence():
    def read(exchange, now):
        exchange.waiting = max(0, 500 - int(now))

    assert first_reason(Exchange(), move=read) == (TARGET_TIMEOUT, 560)


def test_dialling_has_its_own_deadline():
    assert first_reason(Exchange(connection=None)) is None


def test_an_answer_that_stops():
    assert first_reason(Exchange(response=object())) == (STALLED, 300)


def test_d3_a_visitor_that_does_not_read():
    assert first_reason(Exchange(response=object(), stream_full=True)) == (STALLED, 20)


def test_e17_a_clock_that_jumps_starts_the_limit_not_ends_it():
    exchange = Exchange(began=0.0)
    assert judge(exchange, 10_000.0, LIMITS) is None


def test_upgraded_connections():
    side = SimpleNamespace(full=False)
    splice = SimpleNamespace(moved=(0, 0, 0, 0), left=side, right=SimpleNamespace(full=False))
    watch = Watch((0, 0, 0, 0), 0.0)
    assert not has_stalled(splice, watch, 999, LIMITS)
    assert has_stalled(splice, watch, 1000, LIMITS)
    splice.moved = (1, 0, 0, 0)
    assert not has_stalled(splice, watch, 1000, LIMITS)
    side.full = True
    assert not has_stalled(splice, watch, 1019, LIMITS)
    assert has_stalled(splice, watch, 1020, LIMITS)
