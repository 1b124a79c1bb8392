"""Lists that stay, on a terminal."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from tunnelctl import live
from tunnelctl.options import Options, Output
from tunnelctl.problems import Problem
from tunnelctl.run import Run
from tunnelpb.client import Change, HubError, Retry
from tunnelpb.hub.v1.route_pb2 import Route


class Terminal:
    def __init__(self):
        self.pictures = []
        self.drawn = asyncio.Event()

    def isatty(self):
        return True

    def write(self, text):
        self.pictures.append(text)
        self.drawn.set()

    def flush(self):
        pass


def run(**options):
    return Run(Options(**options), {"HOME": "/nowhere"})


@pytest.mark.parametrize("output", [Output.YAML, Output.NAME])
def test_forms_that_cannot_go_on(output):
    with pytest.raises(Problem, match="--watch prints a table or JSON lines"):
        live.for_terminal(run(output=output))


async def test_a_table_is_drawn_over_itself(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(live.sys, "stdout", terminal)
    monkeypatch.setattr(live, "_REDRAW", 0.0)
    queue: asyncio.Queue[Change[Route]] = asyncio.Queue()

    async def changes():
        while True:
            yield await queue.get()

    def to_row(route):
        return {"name": route.name, "host": route.host, "path": "", "tcp_port": None, "agent": "", "service": "",
                "origin": "", "create_time": None, "error": "", "strip_path": False}  # fmt: skip

    async def picture():
        async with asyncio.timeout(20):
            await terminal.drawn.wait()
        terminal.drawn.clear()
        return terminal.pictures[-1]

    task = asyncio.create_task(live.watch(run(), "route", changes(), to_row))
    queue.put_nowait(Change("upsert", Route(name="routes/a", host="a.example.com")))
    queue.put_nowait(Change("synced"))
    first = await picture()
    assert "a.example.com" in first
    assert not first.startswith("\x1b[2A")
    queue.put_nowait(Change("upsert", Route(name="routes/b", host="b.example.com")))
    while "b.example.com" not in (second := await picture()):
        pass
    assert second.startswith("\x1b[2A")
    queue.put_nowait(Change("removed", Route(name="routes/a")))
    while "a.example.com" in (third := await picture()):
        pass
    assert "b.example.com" in third
    queue.put_nowait(Change("reset"))
    queue.put_nowait(Change("synced"))
    while "b.example.com" in await picture():
        pass
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_one_ends_both():
    async def fails():
        raise Problem("no")

    stuck = asyncio.Event()
    with pytest.raises(Problem, match="no"):
        await live.together(stuck.wait(), fails())


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (None, "the hub ended it"),
        (HubError(grpc.StatusCode.UNAVAILABLE, "call again", reason="HUB_DRAINING"), "the hub ended it"),
        (
            HubError(grpc.StatusCode.UNAVAILABLE, "last error: unix:/x: No such file or directory"),
            "there is no such socket",
        ),
        (HubError(grpc.StatusCode.OUT_OF_RANGE, "start again", reason="RESUME_TOKEN_EXPIRED"), "start again"),
    ],
)
def test_an_interruption_is_told_in_plain_words(capsys, error, why):
    live.told(run())(Retry(error, 1, 0.5))
    assert capsys.readouterr().err == f"watch interrupted ({why}), trying again in 0.5 s\n"


def test_what_was_said_is_not_drawn_over(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(live.sys, "stdout", terminal)
    running = run()
    screen = live.Screen(running, "route")
    screen.draw([])
    screen.draw([])
    running.note("watch interrupted")
    screen.draw([])
    first, second, third = terminal.pictures
    assert "\x1b[1A" not in first and "\x1b[1A" in second and "\x1b[1A" not in third
