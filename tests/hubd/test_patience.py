"""Verdicts over exchanges that move, or do not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hubd.config import Timeouts
from hubd.patience import EVERY_SWEEP, Patience
from hubd.reasons import BODY_TIMEOUT, RESPONSE_TIMEOUT, TRUNCATED, VISITOR_STALLED


def exchange(**state):
    waiting = state.pop("waiting", 0)
    front = SimpleNamespace(
        write_paused=False, read_paused=False, eof=False,
        transport=SimpleNamespace(get_write_buffer_size=lambda: made.waiting),
    )  # fmt: skip
    for name in ("write_paused", "read_paused", "eof"):
        setattr(front, name, state.pop(name, False))
    made = SimpleNamespace(
        hub=SimpleNamespace(timeouts=Timeouts()), front=front, stream=SimpleNamespace(bytes_out=0), size_out=0, size_in=0,
        sent_all=True, started=False, asked_at=0.0, head=SimpleNamespace(expect_continue=False), waiting=waiting,
    )  # fmt: skip
    vars(made).update(state)
    return made


def test_d9_no_answer():
    one = exchange()
    patience = Patience(one, 50.0)
    assert patience.judge(one, 50.0) == 60.0
    assert patience.judge(one, 60.0) is RESPONSE_TIMEOUT


def test_a_request_without_a_stream_is_judged_too():
    one = exchange(stream=None)
    assert Patience(one, 70.0).judge(one, 70.0) is RESPONSE_TIMEOUT


def test_an_answer_that_stops():
    one = exchange(started=True)
    patience = Patience(one, 100.0)
    assert patience.judge(one, 399.0) == 400.0
    one.size_out = 1
    assert patience.judge(one, 399.5) == 699.5
    assert patience.judge(one, 700.0) is TRUNCATED


def test_d3_a_visitor_that_does_not_read():
    one = exchange(started=True, write_paused=True, waiting=100)
    patience = Patience(one, 0.0)
    assert patience.judge(one, 59.0) == EVERY_SWEEP
    one.waiting = 99
    assert patience.judge(one, 60.0) == EVERY_SWEEP
    assert patience.judge(one, 119.0) == EVERY_SWEEP
    assert patience.judge(one, 120.0) is VISITOR_STALLED


@pytest.mark.parametrize("why", ["read_paused", "eof"])
def test_c19_a_visitor_that_could_leave_unseen_is_looked_at_every_time(why):
    one = exchange(**{why: True})
    assert Patience(one, 1.0).judge(one, 1.0) == EVERY_SWEEP


def test_d2_a_body_without_a_byte():
    one = exchange(sent_all=False)
    patience = Patience(one, 0.0)
    assert patience.judge(one, 29.0) == EVERY_SWEEP
    assert patience.judge(one, 30.0) is BODY_TIMEOUT


@pytest.mark.parametrize(("rate", "fine"), [(239, False), (241, True)])
def test_d2_a_body_below_the_rate(rate, fine):
    one = exchange(sent_all=False)
    patience = Patience(one, 0.0)
    verdicts = []
    for second in range(1, 40):
        one.size_in += rate
        one.stream.bytes_out += rate
        verdicts.append(patience.judge(one, float(second)))
    assert (BODY_TIMEOUT not in verdicts) == fine


def test_d2_what_the_hub_holds_back_is_not_the_visitors_fault():
    one = exchange(sent_all=False, read_paused=True)
    patience = Patience(one, 0.0)
    for second in range(1, 59):
        assert patience.judge(one, float(second)) == EVERY_SWEEP
    # But the agent must take something at some time.
    assert patience.judge(one, 61.0) is RESPONSE_TIMEOUT


def test_c3_waiting_for_a_100_is_not_slowness():
    one = exchange(sent_all=False)
    one.head.expect_continue = True
    patience = Patience(one, 0.0)
    assert patience.judge(one, 45.0) == EVERY_SWEEP
    assert patience.judge(one, 60.0) is RESPONSE_TIMEOUT
