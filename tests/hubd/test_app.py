"""Starting and stopping a whole hub (row L1)."""

from __future__ import annotations

import asyncio
import json
import logging
import threading

import pytest

from hubd.app import App
from hubd.config import HubConfig

GET = b"GET /api/v1/proxy/demo/hello HTTP/1.1\r\nHost: hub\r\n\r\n"


async def test_l1_idle_stop_is_at_once(bench):
    agent = await bench.agent()
    visitor = await bench.visitor()
    await visitor.get()
    async with asyncio.timeout(30):
        await bench.app.stop(3600.0)
    assert await visitor.rest() == b""
    await bench.wait(lambda: agent.session.is_closed)
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", bench.agents and int(visitor.writer.get_extra_info("peername")[1]))


async def test_l1_what_is_in_progress_ends_well(bench):
    agent = await bench.agent(answer=None)
    visitor, idle = await bench.visitor(), await bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    await bench.wait(lambda: len(bench.hub.connections) == 2)
    stopping = asyncio.ensure_future(bench.app.stop(3600.0))
    assert await idle.rest() == b""
    await bench.wait(lambda: not agent.session.can_open)  # it was told with GoAway
    stream.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    reply = await visitor.reply()
    assert (reply.body, reply.one("connection")) == (b"ok", "close")
    async with asyncio.timeout(30):
        await stopping


async def test_l1_hard_end(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    async with asyncio.timeout(30):
        await bench.app.stop(0.01)
    assert await visitor.rest() == b""
    await stream.gone()


async def test_l1_second_signal_ends_now(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(GET)
    await agent.stream()
    cut = asyncio.Event()
    stopping = asyncio.ensure_future(bench.app.stop(3600.0, cut))
    await bench.wait(lambda: bench.hub.draining)
    assert not stopping.done()
    cut.set()
    async with asyncio.timeout(30):
        await stopping


async def test_a_start_that_fails_leaves_nothing(monkeypatch):
    with pytest.raises(Exception, match="no carrier"):
        await App(HubConfig.model_validate({"dev": True, "listen": "127.0.0.1:0", "carriers": ["nope://x"]})).start()


async def test_a_store_that_cannot_be_had_names_its_setting():
    with pytest.raises(Exception, match=r"cannot use the store /nowhere/hub.db: .* \(setting store.path\)"):
        await App(HubConfig.model_validate({"listen": "127.0.0.1:0", "store": {"path": "/nowhere/hub.db"}})).start()


async def test_one_broken_connection_does_not_end_the_sweeps(bench, monkeypatch):
    monkeypatch.setattr("hubd.app.SWEEP_SECONDS", 0.001)
    calls = []

    def sweep(now: float) -> None:
        calls.append(now)
        raise RuntimeError("odd state")

    monkeypatch.setattr(bench.hub, "sweep", sweep)
    bench.app._own(bench.app._sweep())
    await bench.wait(lambda: len(calls) > 2)


class Gate:
    """Holds up the access log's writing thread."""

    def __init__(self, log, monkeypatch):
        self.entered, self.open, self._write = threading.Event(), threading.Event(), log._write
        monkeypatch.setattr(log, "_write", self)

    def __call__(self, *given):
        self.entered.set()
        self.open.wait(60)
        self._write(*given)


async def test_l1_the_last_lines_of_the_access_log_are_complete(start, tmp_path, monkeypatch):
    bench = await start(access_log=str(tmp_path / "log"))
    await bench.agent()
    visitor = await bench.visitor()
    gate = Gate(bench.hub.access_log, monkeypatch)
    await visitor.get()
    await bench.wait(gate.entered.is_set)
    await visitor.get()
    await visitor.close()
    stopping = asyncio.ensure_future(bench.app.stop(30.0))
    await bench.wait(lambda: bench.hub.access_log is None)
    assert not stopping.done()
    gate.open.set()
    await stopping
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["status"] for line in lines] == [200, 200]


async def test_l7_an_access_log_that_takes_nothing_does_not_hold_up_the_end(start, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("hubd.app.LOG_GRACE", 0.01)
    bench = await start(access_log=str(tmp_path / "log"))
    await bench.agent()
    visitor = await bench.visitor()
    log = bench.hub.access_log
    gate = Gate(log, monkeypatch)
    await visitor.get()
    await visitor.close()
    await bench.wait(gate.entered.is_set)
    with caplog.at_level(logging.WARNING, "hubd"):
        await bench.app.stop(30.0)
    assert "the access log takes nothing: its last lines are lost" in caplog.text
    gate.open.set()
    await bench.wait(lambda: log.written == 1)
    log.close()
