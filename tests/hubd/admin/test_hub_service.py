"""HubService over its socket."""

from __future__ import annotations

import asyncio
import logging

import grpc
import pytest
from pydantic import BaseModel, Field
from tests.hubd.admin.apihelp import failure

from hubd.admin.hub_service import flat
from tunnel.logs import Secret
from tunnelpb.hub.v1 import hub_pb2 as pb
from tunnelpb.hub.v1 import session_pb2


async def test_what_it_says_of_itself(api):
    await api.bench.agent("one")
    hub = (await api.hub.GetHub(pb.GetHubRequest())).hub
    assert (hub.name, hub.state, hub.sessions, hub.agents_online) == ("hubs/h1", pb.Hub.STATE_SERVING, 1, 1)
    assert hub.addresses == api.bench.app.urls and hub.boot_id and hub.dev and hub.version
    assert any("--dev" in warning for warning in hub.warnings)
    assert (await api.hub.GetHub(pb.GetHubRequest(name="hubs/h1"))).hub.name == hub.name
    assert (await failure(api.hub.GetHub(pb.GetHubRequest(name="hubs/h2")))).reason == "HUB_NOT_FOUND"
    assert (await failure(api.hub.GetHub(pb.GetHubRequest(name="h1")))).fields == ["name"]
    listed = await api.hub.ListHubs(pb.ListHubsRequest())
    assert [row.name for row in listed.hubs] == ["hubs/h1"]


async def test_drain_takes_every_session_out_of_service(api):
    await api.bench.agent("one")
    watch = api.sessions.WatchSessions(session_pb2.WatchSessionsRequest())
    await watch.read()
    request = pb.DrainHubRequest(reason="new kernel")
    request.deadline.FromSeconds(20)
    answer = await api.hub.DrainHub(request)
    assert (answer.draining_sessions, answer.hub.state) == (1, pb.Hub.STATE_DRAINING)
    visitor = await api.bench.visitor()
    assert (await visitor.get("/healthz")).status == 503
    with pytest.raises(grpc.aio.AioRpcError) as found:
        while True:
            assert await watch.read() is not grpc.aio.EOF
    assert found.value.code() is grpc.StatusCode.UNAVAILABLE
    events = [event for _, event in api.bench.hub.events.feed.kept()]
    assert [(event.type, event.actor) for event in events][1] == ("hub.draining", api.actor)
    faulty = pb.DrainHubRequest(exit=True, reason="a\nb")
    faulty.deadline.FromSeconds(-1)
    assert (await failure(api.hub.DrainHub(faulty))).fields == ["deadline", "reason", "exit"]


async def test_drain_ends_the_process_if_asked_to(api):
    asked = []
    api.bench.hub.exit = asked.append
    request = pb.DrainHubRequest(exit=True)
    request.deadline.FromSeconds(3)
    await api.hub.DrainHub(request)
    assert asked == [3.0]


class Result:
    def __init__(self, faults=()):
        self.applied = ["limits.body"]
        self.need_restart = ["listen"]
        self.faults = list(faults)


async def test_reload(api):
    assert (await failure(api.hub.ReloadHub(pb.ReloadHubRequest()))).reason == "NO_SETTINGS"

    async def good():
        return Result()

    async def bad():
        return Result(["hub.toml:1: listn: unknown key", "hub.toml:2: x: bad"])

    api.bench.hub.reload = good
    answer = await api.hub.ReloadHub(pb.ReloadHubRequest())
    assert (list(answer.applied), list(answer.need_restart)) == (["limits.body"], ["listen"])
    api.bench.hub.reload = bad
    found = await failure(api.hub.ReloadHub(pb.ReloadHubRequest()))
    assert (found.code, found.reason, len(found.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, "SETTINGS_INVALID", 2)


async def test_settings_in_force(api):
    api.bench.hub.origins = lambda: {"listen": "--listen"}
    answer = await api.hub.GetEffectiveConfig(pb.GetEffectiveConfigRequest())
    found = {setting.key: setting for setting in answer.settings}
    assert found["id"].value == '"h1"' and found["listen"].origin == "--listen"
    assert found["timeouts.drain"].value == "30.0" and found["timeouts.drain"].origin == "default"
    assert found["tls"].value == "null"


def test_f5_secrets_are_masked():
    class Inner(BaseModel):
        users: dict[str, str] = Field(default={"ann": "scrypt$"}, repr=False)
        nobody: dict[str, str] = Field(default={}, repr=False)
        token: Secret = Secret("hidden")
        rows: tuple[str, ...] = ("a",)

    class Outer(BaseModel):
        inner: Inner = Inner()
        empty: dict[str, str] = {}

    assert [(key, str(value)) for key, value in flat(Outer())] == [
        ("inner.users", "***"), ("inner.nobody", "{}"), ("inner.token", "***"), ("inner.rows", "['a']"), ("empty", "{}"),
    ]  # fmt: skip


async def test_plugins(api):
    answer = await api.hub.ListPlugins(pb.ListPluginsRequest())
    assert {row.name: row.state for row in answer.plugins} == dict.fromkeys(
        ("tcp", "tls", "websocket"), pb.Plugin.STATE_LOADED
    )


async def test_hook_plugins(api, monkeypatch):
    import types

    import hook_api

    class Point:
        dist = None

        def __init__(self, name):
            self.name = name

    plugin = types.ModuleType("plugin")
    plugin.authorize_agent = hook_api.hookimpl(lambda attach: None)
    api.bench.app.identity.hooks.add("mine", plugin)
    monkeypatch.setattr("hubd.admin.hub_service.metadata.entry_points", lambda group: [Point("off"), Point("mine")])
    rows = (await api.hub.ListPlugins(pb.ListPluginsRequest())).plugins[-2:]
    assert [(row.name, row.state, list(row.hooks)) for row in rows] == [
        ("mine", pb.Plugin.STATE_LOADED, ["authorize_agent"]),
        ("off", pb.Plugin.STATE_BLOCKED, []),
    ]


@pytest.fixture
def root_level():
    root = logging.getLogger()
    before = root.level
    root.setLevel("INFO")
    yield root
    root.setLevel(before)


async def test_log_level_goes_back_by_itself(api, root_level):
    request = pb.SetLogLevelRequest(level="debug")
    request.revert_after.FromSeconds(1)
    answer = await api.hub.SetLogLevel(request)
    assert answer.previous_level == "info" and root_level.level == logging.DEBUG
    assert answer.revert_time.ToSeconds() > 0
    async with asyncio.timeout(30):
        while root_level.level != logging.INFO:
            await asyncio.sleep(0.01)
    await api.hub.SetLogLevel(pb.SetLogLevelRequest(level="error"))
    await api.bench.app.api.stop()
    assert root_level.level == logging.INFO, "a hub that stops puts it back"


async def test_log_level_faults(api):
    request = pb.SetLogLevelRequest(level="loud")
    request.revert_after.FromSeconds(0)
    assert (await failure(api.hub.SetLogLevel(request))).fields == ["level", "revert_after"]
