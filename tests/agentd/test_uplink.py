from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from agentd.backoff import Backoff
from agentd.hubs import read_hubs
from agentd.uplink import STEPS, State, Step, Terms, Uplink
from carrier_api import Registry
from yamux.testing import Recorder

GET = b"GET /api/v1/proxy/a/hello HTTP/1.1\r\nHost: v\r\nX-Proxy-Path: /hello\r\n\r\n"


async def hello(client):
    while await client.head():
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


@pytest.fixture
async def uplink(rig, hub):
    made: list[Uplink] = []

    async def make(url=None, **terms) -> Uplink:
        if not hasattr(rig, "server"):
            target = await rig.target(hello)
            rig.start(target.url)
        (where,), faults = read_hubs([url or hub.url], "a", [], Registry.load())
        assert faults == []
        one = Uplink(where, Terms(**({"instance": "i1"} | terms)), rig.server, Backoff(lambda low, high: 0.001))
        made.append(one)
        return one

    yield make
    for one in made:
        await one.close(now=True)


def test_every_step_is_from_the_table():
    assert {state for state, _ in STEPS} == set(State) - {State.STOPPED}
    assert {step for _, step in STEPS} == set(Step)
    for state in (State.CONNECTING, State.ONLINE, State.WAITING):
        assert STEPS[state, Step.DRAIN] is State.LEAVING


@pytest.mark.parametrize("scheme", ["ws", "tcp"])
async def test_attach_and_serve(rig, hub, uplink, scheme):
    one = await uplink(hub.url.replace("ws", scheme), labels=("zone=b", "x=y"))
    one.start()
    await rig.settle(lambda: one.state is State.ONLINE)
    (head,) = hub.heads
    fields = {name.lower(): value for name, value in head.fields}
    assert head.path == b"/api/v1/hubs/a"
    assert fields[b"x-agent-instance"] == b"i1"
    assert [value for name, value in head.fields if name == b"X-Agent-Label"] == [b"zone=b", b"x=y"]
    assert b"agent-version" in fields
    assert b"authorization" not in fields
    assert one.info.server == "hubd/test"
    assert (await hub.ask(GET)).body == b"hi"


async def test_a_hub_without_a_name(rig, hub, uplink):
    hub.named = False
    one = await uplink()
    one.start()
    await rig.settle(lambda: one.state is State.ONLINE)
    assert one.info.server is None
    assert (await hub.ask(GET)).body == b"hi"


async def test_e9_a_cut_carrier_is_dialled_again(rig, hub, uplink, caplog):
    one = await uplink()
    one.start()
    with caplog.at_level(logging.INFO, "agentd"):
        for count in range(1, 6):
            await rig.settle(lambda count=count: len(hub.sessions) == count and one.state is State.ONLINE)
            assert (await hub.ask(GET)).body == b"hi"
            hub.sessions[-1].transport.abort()
    await rig.settle(lambda: len(hub.sessions) == 6 and one.state is State.ONLINE)
    assert sum("lost hub" in record.getMessage() for record in caplog.records) == 5
    assert len(one._sessions) == 1


async def test_e18_a_hub_that_leaves_keeps_its_streams_while_the_agent_connects_again(rig, hub, uplink):
    go = asyncio.Event()

    async def wait(client):
        await client.head()
        await go.wait()
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
        await client.ended()

    target = await rig.target(wait)
    rig.start(target.url)
    one = await uplink()
    one.start()
    await rig.settle(lambda: len(hub.sessions) == 1)
    old = asyncio.create_task(hub.ask(GET))
    await rig.settle(lambda: bool(target.heads))
    hub.sessions[0].go_away()
    await rig.settle(lambda: len(hub.sessions) == 2 and one.state is State.ONLINE)
    assert not hub.sessions[0].is_closed
    go.set()
    assert (await old).body == b"late"
    await rig.settle(lambda: hub.sessions[0].is_closed)
    await rig.settle(lambda: len(one._sessions) == 1)


async def test_refusals_are_told_and_retried(rig, hub, uplink, caplog, monkeypatch):
    monkeypatch.setattr("agentd.uplink.REFUSED", 0.001)
    body = b'{"msg":"no token was given","code":"token_missing"}'
    hub.refusal = b"HTTP/1.1 401 U\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    one = await uplink()
    with caplog.at_level(logging.INFO, "agentd"):
        one.start()
        await rig.settle(lambda: hub.attempts >= 3)
    text = next(record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert "refused agent a: 401 token_missing: no token was given; give a valid token with --token-file" in text
    assert "trying again in 0.0 s" in text
    hub.refusal = None
    await rig.settle(lambda: one.state is State.ONLINE)


@pytest.mark.parametrize("answer", [b"503 S\r\nRetry-After: 100", b"401 U", b"404 N"])
async def test_a_hub_that_says_no_is_left_alone_for_a_while(rig, hub, uplink, answer):
    hub.refusal = b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n"
    one = await uplink()
    one.start()
    await rig.settle(lambda: one.state is State.WAITING)
    assert hub.attempts == 1
    one.drain()
    assert one.state is State.LEAVING


async def test_hub_that_is_not_there(rig, hub, uplink, caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        one = await uplink(f"tcp://127.0.0.1:{port}")
        with caplog.at_level(logging.WARNING, "agentd"):
            one.start()
            await rig.settle(lambda: bool(caplog.records))
    text = caplog.records[0].getMessage()
    assert f"cannot reach hub tcp://127.0.0.1:{port}" in text
    assert "connection refused" in text
    assert "is hubd running there?" in text


async def test_hub_that_says_nothing(rig, hub, uplink, caplog):
    hub.silent = True
    # Connecting has the same time, and must not be what takes too long.
    one = await uplink(timeout=3.0)
    with caplog.at_level(logging.WARNING, "agentd"):
        one.start()
        await rig.settle(lambda: bool(caplog.records))
    assert "no answer from" in caplog.records[0].getMessage()


async def test_f4_the_token_is_read_for_every_attempt(rig, hub, uplink, tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    file.chmod(0o600)
    one = await uplink(token_file=str(file))
    one.start()
    await rig.settle(lambda: one.state is State.ONLINE)
    file.write_text("second\n")
    hub.sessions[-1].transport.abort()
    await rig.settle(lambda: len(hub.sessions) == 2)
    sent = [value for head in hub.heads for name, value in head.fields if name.lower() == b"authorization"]
    assert sent == [b"Bearer first", b"Bearer second"]


async def test_f11_no_token_on_an_open_carrier_nor_in_the_log(rig, hub, uplink, tmp_path, caplog):
    file = tmp_path / "token"
    file.write_text("canary-secret\n")
    file.chmod(0o600)
    with caplog.at_level(logging.DEBUG):
        one = await uplink("tcp://hub.example:1", token_file=str(file))
        one.start()
        await rig.settle(lambda: any("no token is sent" in record.getMessage() for record in caplog.records))
    assert "canary-secret" not in caplog.text
    assert "canary-secret" not in repr(Terms(instance="i", token_file=str(file)))
    assert hub.attempts == 0


async def test_a_token_file_that_vanishes_is_told(rig, hub, uplink, tmp_path, caplog):
    one = await uplink(token_file=str(tmp_path / "none"))
    with caplog.at_level(logging.WARNING, "agentd"):
        one.start()
        await rig.settle(lambda: bool(caplog.records))
    assert "cannot read the secret file" in caplog.records[0].getMessage()


async def test_a_carrier_that_breaks_does_not_end_the_agent(rig, hub, uplink, caplog, monkeypatch):
    one = await uplink()
    calls = 0
    real = type(one.hub.carrier).dial

    async def dial(self, *args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("plugin at fault")
        return await real(self, *args, **kwargs)

    monkeypatch.setattr(type(one.hub.carrier), "dial", dial)
    with caplog.at_level(logging.WARNING, "agentd"):
        one.start()
        await rig.settle(lambda: one.state is State.ONLINE)
    assert "plugin at fault" in caplog.records[0].getMessage()


async def test_drain_refuses_new_streams_and_keeps_old_ones(rig, hub, uplink):
    go = asyncio.Event()

    async def wait(client):
        await client.head()
        await go.wait()
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
        await client.ended()

    target = await rig.target(wait)
    rig.start(target.url)
    one = await uplink()
    one.start()
    await rig.settle(lambda: len(hub.sessions) == 1)
    old = asyncio.create_task(hub.ask(GET))
    await rig.settle(lambda: bool(target.heads))
    one.drain()
    one.drain()
    await rig.settle(lambda: not hub.sessions[0].can_open)
    assert not hub.sessions[0].is_closed
    go.set()
    assert (await old).body == b"late"
    await one.close()
    assert one.state is State.STOPPED
    await rig.settle(lambda: hub.sessions[0].is_closed)
    assert hub.attempts == 1


@pytest.mark.parametrize("when", ["connecting", "waiting", "online"])
async def test_close_at_any_time_leaves_nothing(rig, hub, uplink, when):
    if when == "connecting":
        hub.silent = True
    if when == "waiting":
        hub.refusal = b"HTTP/1.1 503 S\r\nRetry-After: 100\r\nContent-Length: 0\r\n\r\n"
    one = await uplink()
    one.start()
    if when == "connecting":
        await rig.settle(lambda: hub.attempts == 1)
    else:
        await rig.settle(lambda: one.state.value == when)
    await one.close()
    assert one.state is State.STOPPED
    assert one._sessions == set()
    await one.close()


async def test_a_hub_that_does_not_close_does_not_hold_up_the_exit(rig, hub, uplink):
    one = await uplink()
    one.start()
    await rig.settle(lambda: len(hub.sessions) == 1)
    # The hub's side goes deaf: it neither answers nor closes.
    hub.sessions[0].transport.pause_reading()
    async with asyncio.timeout(30):
        await one.close()
    assert one.state is State.STOPPED


async def test_streams_that_are_open_at_the_end_are_reset(rig, hub, uplink):
    async def wait(client):
        await client.head()
        await client.ended()

    target = await rig.target(wait)
    rig.start(target.url)
    one = await uplink()
    one.start()
    await rig.settle(lambda: len(hub.sessions) == 1)
    seen = Recorder(keep_open=True)
    hub.sessions[0].open_stream(seen)
    seen.transport.write(GET)
    await rig.settle(lambda: bool(target.heads))
    await one.close(now=True)
    assert isinstance(await seen.lost(), ConnectionError)
    assert not seen.eof
