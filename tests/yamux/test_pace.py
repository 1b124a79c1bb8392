"""How much of a carrier is read in one turn of the loop."""

from __future__ import annotations

import asyncio

from tests.yamux.test_shell import Carrier
from tests.yamux.wire import QUIET, WINDOW, data, syn

from yamux import Session
from yamux.pace import TURN_BYTES, Pace
from yamux.testing import Recorder


class Carrying(Carrier):
    """Also writes down what it is told about reading."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")


async def test_a_rest_lasts_until_the_next_turn():
    pace, lower = Pace(asyncio.get_running_loop()), Carrying()
    pace.taken = TURN_BYTES
    pace.rest(lower)
    # What was read before the carrier heard of it.
    pace.rest(lower)
    assert (pace.taken, pace.resting, lower.told) == (0, True, ["pause"])
    await asyncio.sleep(0)
    assert (pace.resting, lower.told) == (False, ["pause", "resume"])
    pace.rest(lower)
    assert lower.told == ["pause", "resume", "pause"]


async def test_a_carrier_that_closes_is_left_alone():
    pace, lower = Pace(asyncio.get_running_loop()), Carrying()
    pace.rest(None)
    assert not pace.resting
    pace.rest(lower)
    lower.closing = True
    await asyncio.sleep(0)
    pace.rest(lower)
    assert (pace.resting, lower.told) == (False, ["pause"])


async def test_a_session_rests_each_time_that_much_has_come():
    """Nothing that has been read is held back by it."""
    lower = Carrying()
    seen: list[Recorder] = []

    def accept() -> Recorder:
        seen.append(Recorder(keep_data=False))
        return seen[-1]

    session = Session(client=False, config=QUIET, stream_factory=accept)
    session.connection_made(lower)
    each = TURN_BYTES // WINDOW
    for number in range(3 * each):
        opened = 2 * number + 1
        session.data_received(syn(opened) + data(opened, bytes(WINDOW)))
        if number % each == each - 1:
            assert (session.pace.resting, lower.told) == (True, ["pause"])
            await asyncio.sleep(0)
            assert (session.pace.resting, lower.told) == (False, ["pause", "resume"])
            lower.told.clear()
        assert lower.told == []
    assert [stream.size for stream in seen] == [WINDOW] * (3 * each)
    session.abort()
    session.connection_lost(None)
    await session.wait_closed()
