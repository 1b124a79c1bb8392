from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yamux import ProtocolError
from yamux.window import BYTES_PER_ROUND_TRIP_SECOND, Credit

WINDOW = 256 * 1024
MAX = 16 * 1024 * 1024


def credit(window: int = WINDOW) -> Credit:
    return Credit(window, window)


def test_the_sum_may_reach_but_not_pass_2_to_the_32_minus_1() -> None:
    flow = credit()
    flow.add_send_credit(0xFFFF_FFFF - WINDOW)
    assert flow.send_credit == 0xFFFF_FFFF
    flow.add_send_credit(0)
    with pytest.raises(ProtocolError):
        flow.add_send_credit(1)
    assert flow.send_credit == 0xFFFF_FFFF


def test_nothing_is_due_below_half_a_window() -> None:
    flow = credit()
    flow.recv_credit -= WINDOW // 2 - 1
    assert flow.due() == 0
    flow.recv_credit -= 1
    assert flow.due() == WINDOW // 2


def test_unread_bytes_bring_no_credit() -> None:
    flow = credit()
    flow.recv_credit -= WINDOW
    flow.unread += WINDOW
    assert flow.due() == 0
    flow.unread -= WINDOW // 2 + 1
    assert flow.due() == WINDOW // 2 + 1


@given(st.lists(st.tuples(st.integers(1, WINDOW), st.integers(1, WINDOW)), max_size=50))
def test_credit_and_unread_never_exceed_the_window(steps: list[tuple[int, int]]) -> None:
    flow = credit()
    for arrives, taken in steps:
        count = min(arrives, flow.recv_credit)
        flow.recv_credit -= count
        flow.unread += count
        flow.unread -= min(taken, flow.unread)
        flow.recv_credit += flow.due()
        assert 0 <= flow.recv_credit + flow.unread <= flow.window
        assert flow.recv_credit + flow.unread > flow.window / 2


def test_a_window_grows_only_when_updates_follow_within_round_trips() -> None:
    flow = credit()
    assert flow.growth(10.0, 0.1, MAX) == 0, "the first update has none before it"
    assert flow.growth(10.3, 0.1, MAX) == WINDOW
    assert flow.growth(10.9, 0.1, MAX) == 0, "the consumer set the pace"
    assert flow.growth(11.0, None, MAX) == 0, "no round trip known"


def test_growth_stops_at_the_maximum() -> None:
    flow = Credit(MAX - 1000, 0)
    flow.growth(10.0, 0.1, MAX)
    assert flow.growth(10.1, 0.1, MAX) == 1000
    flow.window = MAX
    assert flow.growth(10.2, 0.1, MAX) == 0


def test_no_window_outgrows_what_a_fast_pipe_holds() -> None:
    grown = credit()
    near, far = 0.0002, 0.1
    for now in (1.0, 1.0001, 1.0002, 1.0003):
        grown.window += grown.growth(now, near, MAX)
    assert grown.window == int(near * BYTES_PER_ROUND_TRIP_SECOND) < MAX
    for step in range(12):
        grown.window += grown.growth(2.0 + step * far, far, MAX)
    assert grown.window == MAX
    assert grown.growth(3.3, near, MAX) == 0
