"""Waiting for drains."""

from __future__ import annotations

import asyncio

import pytest

from tunnelctl import draining, rows
from tunnelctl.options import Options
from tunnelctl.problems import Problem
from tunnelctl.run import Run
from tunnelpb.client import connect
from tunnelpb.hub.v1.session_pb2 import Session


@pytest.fixture
def run():
    return Run(Options(quiet=True), {"HOME": "/nowhere"})


async def test_one_that_closed_before_the_watch_began_is_looked_up(run, fake):
    session = fake.add_session("s1", state=Session.STATE_DRAINING, open_streams=2)
    started = rows.session(session)
    session.state, session.close_reason = Session.STATE_CLOSED, "drained"
    async with connect(fake.address) as hub:
        (row,) = await draining.wait(run, hub, [started], None)
        assert (row["state"], row["close_reason"]) == ("CLOSED", "drained")
        del fake.sessions["sessions/s1"]
        (row,) = await draining.wait(run, hub, [started], None)
        assert (row["state"], row["open_streams"]) == ("CLOSED", 0)


async def test_one_that_is_put_back(run, fake):
    session = fake.add_session("s1", state=Session.STATE_DRAINING)
    started = rows.session(session)
    session.state = Session.STATE_ACTIVE
    async with connect(fake.address) as hub:
        with pytest.raises(Problem, match="put back into service") as caught:
            await draining.wait(run, hub, [started], None)
    assert caught.value.code == 6


async def test_one_that_does_not_end(run, fake, monkeypatch):
    monkeypatch.setattr(draining, "_GRACE", 0.05)
    started = rows.session(fake.add_session("s1", state=Session.STATE_DRAINING))
    async with connect(fake.address) as hub:
        with pytest.raises(Problem, match="still draining: sessions/s1") as caught:
            await draining.wait(run, hub, [started], 0.05)
    assert caught.value.code == 5


async def test_it_goes_on_over_a_hub_that_restarts(run, fake):
    session = fake.add_session("s1", state=Session.STATE_DRAINING)
    started = rows.session(session)
    async with connect(fake.address) as hub:
        waiting = asyncio.create_task(draining.wait(run, hub, [started], None))
        async with asyncio.timeout(50):
            while not any(name == "WatchSessions" for name, _ in fake.calls):
                await asyncio.sleep(0.01)
            session.state = Session.STATE_CLOSED
            await asyncio.to_thread(fake.restart, forget=True)
            (row,) = await waiting
    assert row["state"] == "CLOSED"


class Terminal:
    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_progress_is_one_line_that_is_drawn_again(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(draining.sys, "stderr", terminal)
    row = {"open_streams": 12}
    progress = draining.Progress(Run(Options(), {"HOME": "/nowhere"}), {"sessions/s1": row})
    for count in (12, 12, 4, 0):
        progress.show({"sessions/s1": {"open_streams": count}})
    progress.close()
    assert terminal.text.split("\r\x1b[K")[-1] == "draining s1: 12 streams ... 4 ... 0\n"
    assert terminal.text.count("\r") == 3


def test_how_it_ended_in_words():
    row = {"name": "sessions/s1", "seconds": 8.21, "replaced_by": "sessions/s2", "close_reason": ""}
    assert draining.ended(row) == "sessions/s1 closed after 8.2s, replaced by s2"
