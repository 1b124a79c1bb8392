from __future__ import annotations

import pytest

from yamux.streamstate import (
    ACCEPTS,
    ANSWERS,
    ENDS,
    MOVES,
    OVER,
    READABLE,
    RECV_ACK_FIN,
    TRANSITIONS,
    UNACCEPTED,
    UNANSWERED,
    WRITABLE,
    Input,
    Outcome,
    State,
)

LIVE = [state for state in State if state not in OVER]
FROM_PEER = [Input.RECV_ACK, Input.RECV_FIN, Input.RECV_RST, Input.RECV_DATA]
PAIRS = [(state, what) for state in State for what in Input]
PEER_HAS_ENDED = {State.SYN_RECEIVED_ENDED, State.REMOTE_ENDED, State.CLOSED}


@pytest.mark.parametrize("state", LIVE)
@pytest.mark.parametrize("what", FROM_PEER)
def test_everything_a_peer_can_send_has_a_row(state: State, what: Input) -> None:
    assert (state, what) in TRANSITIONS


@pytest.mark.parametrize("state", State)
def test_both_on_one_frame_are_the_two_one_after_the_other(state: State) -> None:
    made = MOVES[state][RECV_ACK_FIN]
    first = MOVES[state][Input.RECV_ACK]
    if first is None:
        assert made is None
        return
    second = MOVES[first[0]][Input.RECV_FIN]
    assert second is not None
    assert made is not None
    assert (made[0], made[2], made[3]) == (second[0], second[2], first[3] | second[3])
    ended = (Outcome.ENDED, Outcome.ANSWERED_ENDED)
    assert (made[1] in ended) == (second[1] in ended)
    assert (made[1] in (Outcome.ANSWERED, Outcome.ANSWERED_ENDED)) == (
        Outcome.ANSWERED in (first[1], second[1]) or second[1] is Outcome.ANSWERED_ENDED
    )


@pytest.mark.parametrize(("state", "what"), PAIRS)
def test_every_row_keeps_the_rules(state: State, what: Input) -> None:
    row = TRANSITIONS.get((state, what))
    assert (MOVES[state][what] is None) == (row is None)
    if state in OVER:
        assert row is None, "a stream that is over takes nothing"
        return
    if what is Input.SEND_FIN:
        assert (row is not None) == (state in WRITABLE)
    if what is Input.SEND_ACK:
        assert (row is not None) == (state in UNACCEPTED)
    if what is Input.SEND_RST:
        assert row is not None
    if row is None:
        return
    after, outcome = row
    if what in (Input.SEND_RST, Input.RECV_RST):
        assert after is State.RESET
    else:
        assert after is not State.RESET
    if state in PEER_HAS_ENDED and after is not State.RESET:
        assert after in PEER_HAS_ENDED, "an end is never taken back"
    if state not in WRITABLE | UNACCEPTED:
        assert after not in WRITABLE, "nor is ours"
    if state not in UNANSWERED:
        assert after not in UNANSWERED, "a handshake is over for good"
    if what is Input.RECV_DATA:
        assert after is state
        assert (outcome is Outcome.REFUSED) == (state in PEER_HAS_ENDED)
    if what is Input.RECV_FIN:
        assert after in PEER_HAS_ENDED
        assert (outcome in (Outcome.ENDED, Outcome.ANSWERED_ENDED)) == (state not in PEER_HAS_ENDED)
    if what is Input.RECV_ACK:
        assert (outcome is Outcome.ANSWERED) == (state in UNANSWERED)


@pytest.mark.parametrize(("state", "what"), sorted(TRANSITIONS))
def test_the_compiled_table_says_the_same(state: State, what: Input) -> None:
    after, outcome = TRANSITIONS[state, what]
    move = MOVES[state][what]
    assert move is not None
    assert move[:2] == (after, outcome)
    assert move[2] == (after in READABLE)
    assert bool(move[3] & ANSWERS) == (state in UNANSWERED and after not in UNANSWERED)
    assert bool(move[3] & ACCEPTS) == (state in UNACCEPTED and after not in UNACCEPTED)
    assert bool(move[3] & ENDS) == (after in OVER)


def test_every_state_can_be_reached_and_left() -> None:
    reached = {State.SYN_SENT, State.SYN_RECEIVED}
    while True:
        more = {after for (state, _), (after, _) in TRANSITIONS.items() if state in reached} - reached
        if not more:
            break
        reached |= more
    assert reached == set(State)
    for state in LIVE:
        assert any(before is state and after in OVER for (before, _), (after, _) in TRANSITIONS.items())


def test_the_sets_split_the_states() -> None:
    assert set(LIVE) - PEER_HAS_ENDED == READABLE
    assert not OVER & (READABLE | WRITABLE | UNANSWERED | UNACCEPTED)
