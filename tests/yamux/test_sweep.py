"""Which streams are overdue, sweep by sweep."""

from __future__ import annotations

import pytest

from yamux.config import Config
from yamux.corestream import CoreStream
from yamux.streamstate import State
from yamux.sweep import overdue

CONFIG = Config()
EVERY = 5.0
FIRST = 7


def last_patient(stream: CoreStream, config: Config = CONFIG, most: int = 200) -> float | None:
    """Return how many seconds after the first sweep it is overdue; None if it never is."""
    for sweep in range(FIRST, FIRST + most):
        if overdue(stream, config, sweep, EVERY) is not None:
            return (sweep - FIRST) * EVERY
    return None


def stream_in(state: State, *, local: bool = True) -> CoreStream:
    stream = CoreStream(1, CONFIG.stream_window, FIRST, local=local)
    stream.state = state
    return stream


@pytest.mark.parametrize(
    ("state", "limit"),
    [
        (State.SYN_SENT, CONFIG.stream_open_timeout),
        (State.SYN_SENT_ENDED, CONFIG.stream_open_timeout),
        (State.SYN_RECEIVED, CONFIG.accept_timeout),
        (State.SYN_RECEIVED_ENDED, CONFIG.accept_timeout),
        (State.LOCAL_ENDED, CONFIG.stream_close_timeout),
    ],
)
def test_a_wait_ends_at_its_limit_and_at_most_a_sweep_late(state: State, limit: float) -> None:
    took = last_patient(stream_in(state))
    assert took is not None
    assert limit <= took <= limit + EVERY


@pytest.mark.parametrize("state", [State.ESTABLISHED, State.REMOTE_ENDED])
def test_an_open_stream_waits_for_nothing(state: State) -> None:
    assert last_patient(stream_in(state)) is None


def test_an_end_that_waits_for_credit_is_a_wait() -> None:
    stream = stream_in(State.ESTABLISHED)
    stream.ending = True
    assert last_patient(stream) is not None


def test_what_moves_is_not_overdue() -> None:
    stream = stream_in(State.LOCAL_ENDED)
    for sweep in range(FIRST, FIRST + 200):
        stream.bytes_in += 1
        assert overdue(stream, CONFIG, sweep, EVERY) is None


def test_what_nobody_takes_does_not_move_it() -> None:
    stream = stream_in(State.LOCAL_ENDED)
    stream.deaf = True
    reasons = []
    for sweep in range(FIRST, FIRST + 200):
        stream.bytes_in += 1
        reasons.append(overdue(stream, CONFIG, sweep, EVERY))
    assert any(reasons)


def test_an_unanswered_open_that_carried_data_waits_for_its_answer() -> None:
    stream = stream_in(State.SYN_SENT)
    stream.bytes_out = 100
    assert last_patient(stream) is None
    assert last_patient(stream, Config(open_timeout_ends_session=True)) is not None


def test_once_ended_it_waits_as_long_as_any_ended_stream() -> None:
    stream = stream_in(State.SYN_SENT_ENDED)
    stream.bytes_out = 100
    took = last_patient(stream)
    assert took is not None
    assert CONFIG.stream_close_timeout <= took <= CONFIG.stream_close_timeout + 2 * EVERY
