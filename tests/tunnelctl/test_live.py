"""Lists that stay, on a terminal."""

from __future__ import annotations

import asyncio

import pytest

from tunnelctl import live
from tunnelctl.options import Options, Output
from tunnelctl.problems import Problem
from tunnelctl.run import Run
from tunnelpb.client import Change
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
