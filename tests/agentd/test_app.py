from __future__ import annotations

import asyncio

import pytest

from agentd.app import App
from agentd.config import AgentConfig
from agentd.hubs import read_hubs
from agentd.uplink import State
from carrier_api import Registry
from tunnel.targets import parse_target

GET = b"GET /api/v1/proxy/a/hello HTTP/1.1\r\nHost: v\r\nX-Proxy-Path: /hello\r\n\r\n"


async def hello(client):
    while await client.head():
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


def make(urls, targets, **settings) -> App:
    config = AgentConfig(hub=tuple(urls), id="a", target=tuple(targets), **settings)
    hubs, faults = read_hubs(config.hub, config.id, [parse_target(text) for text in config.target], Registry.load())
    assert faults == []
    return App(config, hubs)


async def test_from_start_to_end(rig, hub):
    target = await rig.target(hello)
    app = make([hub.url], [target.url])
    app.start()
    await rig.settle(lambda: bool(hub.sessions))
    assert (await hub.ask(GET)).body == b"hi"
    async with asyncio.timeout(30):
        await app.stop(3600)
    assert app.uplinks[0].state is State.STOPPED
    await rig.settle(lambda: hub.sessions[0].is_closed and target.closed == 1)


async def test_several_hubs_are_each_kept_connected(rig, hub, other_hub):
    other = other_hub
    target = await rig.target(hello)
    app = make([hub.url, other.url], [target.url])
    app.start()
    await rig.settle(lambda: bool(hub.sessions) and bool(other.sessions))
    assert (await hub.ask(GET)).body == (await other.ask(GET)).body == b"hi"
    instances = {value for one in (hub, other) for name, value in one.heads[0].fields if name == b"X-Agent-Instance"}
    assert instances == {app.agent.instance.encode()}
    other.stop_listening()
    other.sessions[0].transport.abort()
    assert (await hub.ask(GET)).body == b"hi"
    await app.stop(30)


async def asked_of_a_late_target(rig, hub, go) -> tuple[App, asyncio.Task]:
    """An agent whose target has got a request, and answers it with "late" once ``go`` is set."""

    async def answer(client):
        await client.head()
        await go.wait()
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
        await client.ended()

    target = await rig.target(answer)
    app = make([hub.url], [target.url])
    app.start()
    await rig.settle(lambda: bool(hub.sessions))
    asked = asyncio.create_task(hub.ask(GET))
    await rig.settle(lambda: bool(target.heads))
    return app, asked


@pytest.mark.parametrize("how", ["ends", "grace", "signal"])
async def test_l1_drain(rig, hub, how):
    go, cut = asyncio.Event(), asyncio.Event()
    app, asked = await asked_of_a_late_target(rig, hub, go)
    stopping = asyncio.create_task(app.stop(0.05 if how == "grace" else 30, cut))
    await rig.settle(lambda: not hub.sessions[0].can_open)
    if how == "ends":
        go.set()
    if how == "signal":
        cut.set()
    reply = await asked
    await stopping
    assert reply.complete is (how == "ends")
    assert app.server.active == 0
    go.set()


async def test_l1_drain_lets_the_last_bytes_of_an_answer_leave(rig, hub, monkeypatch):
    monkeypatch.setattr("agentd.uplink.LAST_GRACE", 0.0)
    go = asyncio.Event()
    app, asked = await asked_of_a_late_target(rig, hub, go)
    stopping = asyncio.create_task(app.stop(30))
    await rig.settle(lambda: not hub.sessions[0].can_open)
    session = app.agent.fleet.uplinks[0].session
    # The carrier takes nothing for the time being, as one to a slow reader.
    session.pause_writing()
    go.set()
    await rig.settle(lambda: app.server.active == 0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not stopping.done()
    session.resume_writing()
    assert (await asked).body == b"late"
    await stopping


async def test_sweep_goes_on_after_a_fault(rig, hub, monkeypatch):
    monkeypatch.setattr("agentd.app.SWEEP_SECONDS", 0.001)
    app = make([hub.url], [])
    app.start()
    calls = 0

    def sweep(now):
        nonlocal calls
        calls += 1
        raise RuntimeError("odd state")

    app.server.sweep = sweep
    await rig.settle(lambda: calls > 2)
    await app.stop(1)
