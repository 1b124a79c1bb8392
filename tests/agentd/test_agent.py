from __future__ import annotations

import asyncio
import logging
import time

import pytest
from google.protobuf import text_format

from agentd.agent import differences
from agentd.app import App
from agentd.config import AgentConfig
from agentd.hubs import read_hubs
from agentd.kept import load
from agentd.services import own_services
from agentd.uplink import State
from carrier_api import Registry
from tunnelpb.agent.v1 import config_pb2 as pb

GET = b"GET / HTTP/1.1\r\nHost: v\r\nX-Proxy-Path: /\r\n%b\r\n"


def saying(text: str):
    async def handler(client):
        while await client.head():
            await client.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())

    return handler


def config(text: str) -> pb.AgentConfig:
    return text_format.Parse(text, pb.AgentConfig())


def ask(name: str = "") -> bytes:
    return GET % (f"X-Proxy-Host: {name}\r\n".encode() if name else b"")


@pytest.fixture
async def agent(rig, tmp_path):
    apps = []

    def start(*urls: str, **settings) -> App:
        given = {"hub": urls, "id": "a", "state_dir": tmp_path, "local": {"socket": "none"}, **settings}
        checked = AgentConfig(**given)
        targets = [service.target for service in own_services(checked)]
        hubs, faults = read_hubs(checked.hub, "a", targets, Registry.load())
        assert faults == []
        app = App(checked, hubs)
        app.start()
        apps.append(app)
        return app

    yield start
    for app in apps:
        await app.stop(0)


async def connected(rig, control, count: int = 1):
    await rig.settle(lambda: len(control.calls) >= count)
    return control.calls[-1]


async def test_a_hub_that_offers_nothing_sees_no_stream(rig, hub, agent):
    app = agent(hub.url, target=("http://127.0.0.1:1",), remote={"allow": "*"})
    await rig.settle(lambda: app.uplinks[0].state is State.ONLINE)
    assert app.uplinks[0].control is None
    assert hub.sessions[0].stats.streams_accepted == 0


async def test_hello_and_welcome(rig, hub, control, agent):
    app = agent(hub.url, label=("zone=b",), remote={"allow": ["web", "db"]})
    call = await connected(rig, control)
    assert (call.hello.instance, dict(call.hello.labels)) == (app.agent.instance, {"zone": "b"})
    assert (list(call.hello.allowed_services), call.hello.applied_config_version) == (["web", "db"], 0)
    await rig.settle(lambda: app.uplinks[0].control.welcomed and call.of("status"))
    assert app.uplinks[0].control.name == "sessions/s1"
    assert app.uplinks[0].streams == 0


async def test_a_pushed_configuration_is_run_and_kept(rig, hub, control, agent, tmp_path):
    old, new = await rig.target(saying("old")), await rig.target(saying("new"))
    app = agent(hub.url, target=(f"web={old.url}",), remote={"allow": "web"})
    call = await connected(rig, control)
    assert (await hub.ask(ask())).body == b"old"
    wanted = config(
        f"services {{ name: 'web' target: '{new.url}' }} labels {{ key: 'a' value: 'b' }} "
        "limits { streams: 77 idle_connections: 3 } log_level: 'error'"
    )
    before = logging.getLogger().level
    answer = await call.push(wanted, 5)
    assert (answer.nonce, answer.applied_version, answer.error_detail) == ("n", 5, "")
    assert (await hub.ask(ask())).body == (await hub.ask(ask("web"))).body == b"new"
    plan = app.agent.plan
    assert (plan.labels, plan.streams, app.server.max_idle, plan.services[0].origin) == ({"a": "b"}, 77, 3, "hub")
    assert app.uplinks[0].terms.streams == 77
    assert logging.getLogger().level == logging.ERROR
    logging.getLogger().setLevel(before)
    kept = load(tmp_path / "a.config.json")
    assert (kept.version, kept.config) == (5, wanted)
    # The same once more is nothing new.
    assert (await call.push(wanted, 5)).applied_version == 5


async def test_what_is_open_goes_on_when_its_target_goes(rig, hub, control, agent):
    go = asyncio.Event()

    async def slow(client):
        await client.head()
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nold")
        await go.wait()
        await client.send(b"end")

    old, new = await rig.target(slow), await rig.target(saying("new"))
    agent(hub.url, target=(f"web={old.url}",), remote={"allow": "web"})
    call = await connected(rig, control)
    asked = asyncio.create_task(hub.ask(ask()))
    await rig.settle(lambda: bool(old.heads))
    assert (await call.push(config(f"services {{ name: 'web' target: '{new.url}' }}"), 1)).applied_version == 1
    assert (await hub.ask(ask())).body == b"new"
    go.set()
    assert (await asked).body == b"oldend"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("services { name: 'db' target: 'http://h:1' }", "does not let a hub set 'db'"),
        ("services { name: 'web' target: 'ftp://h:1' }", "services[0].target: 'ftp://h:1'"),
        ("pool_size: 9", "pool_size: at most 8"),
    ],
)
async def test_what_is_refused_changes_nothing(rig, hub, control, agent, text, told, tmp_path):
    target = await rig.target(saying("old"))
    app = agent(hub.url, target=(f"web={target.url}", "db=http://127.0.0.1:1"), remote={"allow": "web"})
    call = await connected(rig, control)
    good = config("labels { key: 'k' value: 'v' }")
    assert (await call.push(good, 3)).applied_version == 3
    answer = await call.push(config(text), 4)
    assert answer.applied_version == 3
    assert told in answer.error_detail
    assert told in app.agent.remote.error
    assert load(tmp_path / "a.config.json").config == good
    assert (await hub.ask(ask())).body == b"old"


async def test_nothing_is_allowed_by_default(rig, hub, control, agent):
    agent(hub.url, target=("http://127.0.0.1:1",))
    call = await connected(rig, control)
    answer = await call.push(config("labels { key: 'k' value: 'v' }"), 1)
    assert answer.applied_version == 0
    assert "remote.allow is empty" in answer.error_detail


async def test_the_hub_itself_is_no_target(rig, hub, control, agent):
    agent(hub.url, remote={"allow": "*"})
    call = await connected(rig, control)
    answer = await call.push(config(f"services {{ name: 'x' target: 'http://127.0.0.1:{hub.port}' }}"), 1)
    assert "the hub itself" in answer.error_detail


async def test_an_agent_that_starts_again_runs_what_it_kept(rig, hub, control, agent):
    old, new = await rig.target(saying("old")), await rig.target(saying("new"))
    settings = {"target": (f"web={old.url}",), "remote": {"allow": "web"}}
    first = agent(hub.url, **settings)
    call = await connected(rig, control)
    await call.push(config(f"services {{ name: 'web' target: '{new.url}' }}"), 8)
    await first.stop(0)
    control.closed = True
    agent(hub.url, **settings)
    await rig.settle(lambda: len(hub.sessions) == 2)
    # The hub's API is away all the while.
    assert (await hub.ask(ask())).body == b"new"
    assert control.streams >= 1
    control.closed = False


async def test_what_the_file_no_longer_allows_is_out_of_effect(rig, hub, control, agent, caplog):
    old, new = await rig.target(saying("old")), await rig.target(saying("new"))
    first = agent(hub.url, target=(f"web={old.url}",), remote={"allow": "web"})
    call = await connected(rig, control)
    await call.push(config(f"services {{ name: 'web' target: '{new.url}' }}"), 8)
    await first.stop(0)
    second = agent(hub.url, target=(f"web={old.url}",), remote={"allow": "other"})
    call = await connected(rig, control, 2)
    assert call.hello.applied_config_version == 0
    assert (await hub.ask(ask())).body == b"old"
    assert "does not let a hub set" in second.agent.remote.error
    assert "not running the kept configuration" in caplog.text


async def test_a_drain_notice_brings_the_replacement_first(rig, hub, control, agent):
    target = await rig.target(saying("hi"))
    app = agent(hub.url, target=(target.url,))
    call = await connected(rig, control)
    await call.drain(time.time() + 30, 0.05)
    await connected(rig, control, 2)
    assert len(hub.sessions) == 2
    # The old one takes requests until its hub stops sending them.
    assert (await hub.ask(ask(), 0)).body == (await hub.ask(ask(), 1)).body == b"hi"
    hub.sessions[0].go_away()
    await rig.settle(lambda: hub.sessions[0].is_closed)
    assert app.uplinks[0].session is not None
    assert (await hub.ask(ask(), 1)).body == b"hi"


async def test_a_probe_is_answered(rig, hub, control, agent):
    from tunnelpb.agent.v1 import control_pb2

    agent(hub.url)
    call = await connected(rig, control)
    await call.context.write(control_pb2.ConnectResponse(probe=control_pb2.Probe(id="p1")))
    await rig.settle(lambda: call.of("probe_answer"))
    assert call.of("probe_answer")[0].id == "p1"


async def test_a_stream_that_breaks_is_opened_again(rig, hub, control, agent, monkeypatch):
    monkeypatch.setattr("agentd.control.FIRST_AGAIN", 0.01)
    control.refusal = "not now"
    app = agent(hub.url)
    await connected(rig, control, 2)
    control.refusal = None
    await rig.settle(lambda: app.uplinks[0].control.welcomed)
    assert len(hub.sessions) == 1


async def test_a_pool_of_sessions(rig, hub, control, agent):
    target = await rig.target(saying("hi"))
    app = agent(hub.url, target=(target.url,), pool_size=2, remote={"allow": "*"})
    await rig.settle(lambda: len(control.calls) == 2)
    instances = {value for head in hub.heads for name, value in head.fields if name == b"X-Agent-Instance"}
    assert instances == {app.agent.instance.encode(), f"{app.agent.instance}.1".encode()}
    await rig.settle(lambda: all(uplink.control.welcomed for uplink in app.uplinks))
    # The first one stays whatever the size.
    call = next(call for call in control.calls if call.name == app.uplinks[0].control.name)
    assert (await call.push(config("pool_size: 3"), 1)).applied_version == 1
    await rig.settle(lambda: len(control.calls) == 3)
    assert (await call.push(config("pool_size: 1"), 2)).applied_version == 2
    await rig.settle(lambda: sum(not session.is_closed for session in hub.sessions) == 1)
    assert len(app.uplinks) == 1
    session = next(index for index, session in enumerate(hub.sessions) if not session.is_closed)
    assert (await hub.ask(ask(), session)).body == b"hi"


async def test_the_preferred_way_to_one_hub(rig, hub, control, agent):
    app = agent(hub.url, hub.url.replace("ws", "tcp"), remote={"allow": "*"})
    call = await connected(rig, control)
    assert [uplink.hub.address.scheme for uplink in app.uplinks] == ["ws"]
    assert (await call.push(config("carrier_preference: 'tcp'"), 1)).applied_version == 1
    await connected(rig, control, 2)
    assert app.uplinks[0].hub.address.scheme == "tcp"
    assert b"yamux" in hub.heads[-1].special[b"upgrade"]


async def test_reload(rig, hub, control, agent):
    old, new = await rig.target(saying("old")), await rig.target(saying("new"))
    app = agent(hub.url, target=(f"web={old.url}",), remote={"allow": "web"})
    call = await connected(rig, control)
    await call.push(config(f"services {{ name: 'web' target: '{new.url}' }}"), 2)
    assert (await hub.ask(ask())).body == b"new"
    before = app.agent.config
    wanted = before.model_copy(update={"remote": before.remote.model_copy(update={"allow": ()}), "log_format": "json"})
    hubs, _ = read_hubs(wanted.hub, "a", [], Registry.load())
    applied, need_restart = app.agent.reload(wanted, hubs)
    assert (applied, need_restart) == (["remote.allow"], ["log_format"])
    assert app.agent.config.log_format == "text"
    assert (await hub.ask(ask())).body == b"old"
    assert len(hub.sessions) == 1
    labelled = wanted.model_copy(update={"label": ("zone=c",)})
    assert app.agent.reload(labelled, hubs)[0] == ["label"]
    await rig.settle(lambda: len(hub.sessions) == 2)
    assert ("X-Agent-Label", "zone=c") in [(n.decode(), v.decode()) for n, v in hub.heads[-1].fields]


async def test_reload_to_other_hubs(rig, hub, other_hub, agent):
    app = agent(hub.url)
    await rig.settle(lambda: len(hub.sessions) == 1)
    wanted = app.agent.config.model_copy(update={"hub": (other_hub.url,)})
    hubs, _ = read_hubs(wanted.hub, "a", [], Registry.load())
    assert app.agent.reload(wanted, hubs) == (["hub"], [])
    await rig.settle(lambda: len(other_hub.sessions) == 1 and hub.sessions[0].is_closed)
    assert len(app.uplinks) == 1


def test_differences():
    one = AgentConfig(hub=("ws://h:1",), service={"a": {"target": "http://h:2"}})
    two = AgentConfig(hub=("ws://h:1",), service={"b": {"target": "http://h:2"}}, keep_host=True)
    assert differences(one, two) == ["keep_host", "service.a.target", "service.b.target"]
