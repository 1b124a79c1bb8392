"""Every state of a stream and every way between them.

A stream has two directions, each ended by its sender's FIN, and a handshake that runs beside them: the opener's SYN is
answered by ACK when the other side accepts. Data may flow before the ACK, a FIN or RST is as good an answer as an ACK,
and an acceptor can see the peer's FIN before anybody accepts. That makes these states:

    SYN_SENT            opened here, unanswered            SYN_SENT_ENDED      the same, and our FIN has gone out
    SYN_RECEIVED        opened there, not accepted         SYN_RECEIVED_ENDED  the same, and the peer's FIN has come
    ESTABLISHED         both directions open
    LOCAL_ENDED         our FIN has gone out               REMOTE_ENDED        the peer's FIN has come
    CLOSED              both FINs                          RESET               dropped by either side

One flat table, (state, input) -> (next state, what happened). No other module assigns a state. Inputs that the table
lacks are bugs of ours, not faults of the peer: everything a peer can send has a row in every state.

Choices where implementations differ: a second FIN is ignored (the reference ends the session), data after a FIN resets
the stream (the reference hands it over after EOF), a second ACK is ignored (the reference frees another's slot).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class State(IntEnum):
    SYN_SENT = 0
    SYN_SENT_ENDED = 1
    SYN_RECEIVED = 2
    SYN_RECEIVED_ENDED = 3
    ESTABLISHED = 4
    LOCAL_ENDED = 5
    REMOTE_ENDED = 6
    CLOSED = 7
    RESET = 8


class Input(IntEnum):
    SEND_ACK = 0
    SEND_FIN = 1
    SEND_RST = 2
    RECV_ACK = 3
    RECV_FIN = 4
    RECV_RST = 5
    RECV_DATA = 6


class Outcome(IntEnum):
    NOTHING = 0
    ANSWERED = 1  # the peer answered our SYN
    ENDED = 2  # the peer's direction has ended
    ANSWERED_ENDED = 3  # both at once
    DROPPED = 4  # the stream is gone by a reset
    REFUSED = 5  # data where none may come: reset the stream


_S, _I, _O = State, Input, Outcome

TRANSITIONS: Final[dict[tuple[State, Input], tuple[State, Outcome]]] = {
    (_S.SYN_SENT, _I.SEND_FIN): (_S.SYN_SENT_ENDED, _O.NOTHING),
    (_S.SYN_SENT, _I.SEND_RST): (_S.RESET, _O.ANSWERED),
    (_S.SYN_SENT, _I.RECV_ACK): (_S.ESTABLISHED, _O.ANSWERED),
    (_S.SYN_SENT, _I.RECV_FIN): (_S.REMOTE_ENDED, _O.ANSWERED_ENDED),
    (_S.SYN_SENT, _I.RECV_RST): (_S.RESET, _O.DROPPED),
    (_S.SYN_SENT, _I.RECV_DATA): (_S.SYN_SENT, _O.NOTHING),
    (_S.SYN_SENT_ENDED, _I.SEND_RST): (_S.RESET, _O.ANSWERED),
    (_S.SYN_SENT_ENDED, _I.RECV_ACK): (_S.LOCAL_ENDED, _O.ANSWERED),
    (_S.SYN_SENT_ENDED, _I.RECV_FIN): (_S.CLOSED, _O.ANSWERED_ENDED),
    (_S.SYN_SENT_ENDED, _I.RECV_RST): (_S.RESET, _O.DROPPED),
    (_S.SYN_SENT_ENDED, _I.RECV_DATA): (_S.SYN_SENT_ENDED, _O.NOTHING),
    (_S.SYN_RECEIVED, _I.SEND_ACK): (_S.ESTABLISHED, _O.NOTHING),
    (_S.SYN_RECEIVED, _I.SEND_RST): (_S.RESET, _O.NOTHING),
    (_S.SYN_RECEIVED, _I.RECV_ACK): (_S.SYN_RECEIVED, _O.NOTHING),
    (_S.SYN_RECEIVED, _I.RECV_FIN): (_S.SYN_RECEIVED_ENDED, _O.ENDED),
    (_S.SYN_RECEIVED, _I.RECV_RST): (_S.RESET, _O.DROPPED),
    (_S.SYN_RECEIVED, _I.RECV_DATA): (_S.SYN_RECEIVED, _O.NOTHING),
    (_S.SYN_RECEIVED_ENDED, _I.SEND_ACK): (_S.REMOTE_ENDED, _O.NOTHING),
    (_S.SYN_RECEIVED_ENDED, _I.SEND_RST): (_S.RESET, _O.NOTHING),
    (_S.SYN_RECEIVED_ENDED, _I.RECV_ACK): (_S.SYN_RECEIVED_ENDED, _O.NOTHING),
    (_S.SYN_RECEIVED_ENDED, _I.RECV_FIN): (_S.SYN_RECEIVED_ENDED, _O.NOTHING),
    (_S.SYN_RECEIVED_ENDED, _I.RECV_RST): (_S.RESET, _O.DROPPED),
    (_S.SYN_RECEIVED_ENDED, _I.RECV_DATA): (_S.SYN_RECEIVED_ENDED, _O.REFUSED),
    (_S.ESTABLISHED, _I.SEND_FIN): (_S.LOCAL_ENDED, _O.NOTHING),
    (_S.ESTABLISHED, _I.SEND_RST): (_S.RESET, _O.NOTHING),
    (_S.ESTABLISHED, _I.RECV_ACK): (_S.ESTABLISHED, _O.NOTHING),
    (_S.ESTABLISHED, _I.RECV_FIN): (_S.REMOTE_ENDED, _O.ENDED),
    (_S.ESTABLISHED, _I.RECV_RST): (_S.RESET, _O.DROPPED),
    (_S.ESTABLISHED, _I.RECV_DATA): (_S.ESTABLISHED, _O.NOTHING),
    (_S.LOCAL_ENDED, _I.SEND_RST): (_S.RESET, _O.NOTHING),
    (_S.LOCAL_ENDED, _I.RECV_ACK): (_S.LOCAL_ENDED, _O.NOTHING),
    (_S.LOCAL_ENDED, _I.RECV_FIN): (_S.CLOSED, _O.ENDED),
    (_S.LOCAL_ENDED, _I.RECV_RST): (_S.RESET, _O.DROPPED),
    (_S.LOCAL_ENDED, _I.RECV_DATA): (_S.LOCAL_ENDED, _O.NOTHING),
    (_S.REMOTE_ENDED, _I.SEND_FIN): (_S.CLOSED, _O.NOTHING),
    (_S.REMOTE_ENDED, _I.SEND_RST): (_S.RESET, _O.NOTHING),
    (_S.REMOTE_ENDED, _I.RECV_ACK): (_S.REMOTE_ENDED, _O.NOTHING),
    (_S.REMOTE_ENDED, _I.RECV_FIN): (_S.REMOTE_ENDED, _O.NOTHING),
    (_S.REMOTE_ENDED, _I.RECV_RST): (_S.RESET, _O.DROPPED),
    (_S.REMOTE_ENDED, _I.RECV_DATA): (_S.REMOTE_ENDED, _O.REFUSED),
}

READABLE: Final = frozenset({_S.SYN_SENT, _S.SYN_SENT_ENDED, _S.SYN_RECEIVED, _S.ESTABLISHED, _S.LOCAL_ENDED})
"""States in which the peer may still send data, so that credit is worth giving."""

WRITABLE: Final = frozenset({_S.SYN_SENT, _S.ESTABLISHED, _S.REMOTE_ENDED})
"""States in which data and our FIN may go out: an acceptor answers first."""

UNANSWERED: Final = frozenset({_S.SYN_SENT, _S.SYN_SENT_ENDED})
UNACCEPTED: Final = frozenset({_S.SYN_RECEIVED, _S.SYN_RECEIVED_ENDED})
OVER: Final = frozenset({_S.CLOSED, _S.RESET})

Move = tuple[State, Outcome, bool, int]
"""What follows from an input: next state, outcome, still readable, and whether it answers, accepts or ends the stream."""

ANSWERS: Final = 1
ACCEPTS: Final = 2
ENDS: Final = 4


RECV_ACK_FIN: Final = len(Input)
"""Both on one frame: one more column of the compiled table, made of the two inputs one after the other."""


def _both(state: State) -> tuple[State, Outcome] | None:
    """What comes of an ACK and then a FIN."""
    if (state, _I.RECV_ACK) not in TRANSITIONS:
        return None
    between, first = TRANSITIONS[state, _I.RECV_ACK]
    after, second = TRANSITIONS[between, _I.RECV_FIN]
    return after, _O.ANSWERED_ENDED if {first, second} == {_O.ANSWERED, _O.ENDED} else max(first, second)


def _compile() -> list[list[Move | None]]:
    rows: list[list[Move | None]] = [[None] * (len(Input) + 1) for _ in State]
    both = {(state, RECV_ACK_FIN): made for state in State if (made := _both(state)) is not None}
    for (before, what), (after, outcome) in [*TRANSITIONS.items(), *both.items()]:
        answers = ANSWERS if before in UNANSWERED and after not in UNANSWERED else 0
        accepts = ACCEPTS if before in UNACCEPTED and after not in UNACCEPTED else 0
        ends = ENDS if after in OVER else 0
        rows[before][what] = (after, outcome, after in READABLE, answers | accepts | ends)
    return rows


MOVES: Final = _compile()
"""The table for look-up by two indices, with what follows from each move worked out once."""

# The members by themselves: to look one up on its class costs 70 ns in CPython 3.11, and every stream needs a dozen.
SEND_ACK: Final = Input.SEND_ACK
SEND_FIN: Final = Input.SEND_FIN
SEND_RST: Final = Input.SEND_RST
RECV_ACK: Final = Input.RECV_ACK
RECV_FIN: Final = Input.RECV_FIN
RECV_RST: Final = Input.RECV_RST
RECV_DATA: Final = Input.RECV_DATA
SYN_SENT: Final = State.SYN_SENT
SYN_SENT_ENDED: Final = State.SYN_SENT_ENDED
SYN_RECEIVED: Final = State.SYN_RECEIVED
LOCAL_ENDED: Final = State.LOCAL_ENDED
CLOSED: Final = State.CLOSED
RESET: Final = State.RESET
NOTHING: Final = Outcome.NOTHING
ENDED: Final = Outcome.ENDED
ANSWERED_ENDED: Final = Outcome.ANSWERED_ENDED
REFUSED: Final = Outcome.REFUSED
