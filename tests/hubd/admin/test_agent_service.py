"""AgentService over its socket."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import field_mask_pb2
from tests.hubd.admin.apihelp import failure
from tests.hubd.conftest import until

from hubd.admin.agent_rows import SETTABLE
from tunnel.attach import AttachRefused
from tunnelpb.hub.v1 import agent_pb2 as pb

ONLINE, OFFLINE, DENIED = pb.Agent.STATE_ONLINE, pb.Agent.STATE_OFFLINE, pb.Agent.STATE_DENIED


async def get(api, name="agents/demo"):
    return (await api.agents.GetAgent(pb.GetAgentRequest(name=name))).agent


async def update(api, *paths, allow_missing=False, **fields):
    fields.setdefault("name", "agents/demo")
    mask = field_mask_pb2.FieldMask(paths=paths)
    request = pb.UpdateAgentRequest(agent=pb.Agent(**fields), update_mask=mask, allow_missing=allow_missing)
    return (await api.agents.UpdateAgent(request)).agent


async def names(api, **fields):
    return [agent.name for agent in (await api.agents.ListAgents(pb.ListAgentsRequest(**fields))).agents]


async def test_an_agent_outlives_its_sessions(api):
    agent = await api.bench.agent("demo")
    got = await get(api)
    assert (got.state, got.sessions, got.etag) == (ONLINE, 1, "1")
    assert got.HasField("create_time") and got.HasField("last_seen_time")
    agent.session.abort()
    await until(lambda: not api.bench.hub.roster.live)
    got = await get(api)
    assert (got.state, got.sessions) == (OFFLINE, 0) and got.HasField("last_seen_time")
    assert (await failure(get(api, "agents/none"))).reason == "AGENT_NOT_FOUND"
    assert (await failure(get(api, "demo"))).fields == ["name"]


async def test_lists(api):
    for name in "cab":
        await api.bench.agent(name)
    await api.agents.DenyAgent(pb.DenyAgentRequest(name="agents/x"))
    (entry,) = (entry for entry in api.bench.hub.roster.live.values() if entry.agent_id == "a")
    entry.labels = ("region=eu",)
    assert await names(api) == ["agents/a", "agents/b", "agents/c", "agents/x"]
    assert await names(api, states=[ONLINE]) == ["agents/a", "agents/b", "agents/c"]
    assert await names(api, states=[DENIED, OFFLINE]) == ["agents/x"]
    assert await names(api, labels={"region": "eu"}) == ["agents/a"]
    page = await api.agents.ListAgents(pb.ListAgentsRequest(page_size=3))
    assert (len(page.agents), page.total_size) == (3, 4)
    assert await names(api, page_size=3, page_token=page.next_page_token) == ["agents/x"]
    assert (await failure(names(api, states=[ONLINE, 9]))).fields == ["states[1]"]
    assert (await failure(names(api, page_size=-1))).fields == ["page_size"]


async def test_update_by_mask_and_etag(api):
    await api.bench.agent("demo")
    got = await update(api, display_name="Demo", annotations={"a": "1"}, limits=pb.AgentLimits(streams=3))
    assert (got.display_name, dict(got.annotations), got.limits.streams, got.etag) == ("Demo", {"a": "1"}, 3, "2")
    assert api.bench.hub.limits_for("demo").streams == 3, "limits take effect at once"
    got = await update(api, "limits.sessions", limits=pb.AgentLimits(sessions=2), display_name="ignored")
    assert (got.display_name, got.limits.streams, got.limits.sessions) == ("Demo", 3, 2)
    got = await update(api, "annotations", annotations={"b": "2"}, etag=got.etag)
    assert dict(got.annotations) == {"b": "2"}
    got = await update(api, "limits")
    assert not got.HasField("limits") and api.bench.hub.limits_for("demo").streams == 0
    found = await failure(update(api, "display_name", etag="1"))
    assert (found.code, found.reason, found.metadata["etag"]) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH", got.etag)
    types = [event.type for _, event in api.bench.hub.events.feed.kept()]
    assert types.count("agent.updated") == 4


async def test_passwords_go_in_and_never_come_out(api):
    await api.bench.agent("demo")
    users = {"ann": "correct horse"}
    got = await update(api, visitors=pb.VisitorAccess(mode=pb.VisitorAccess.MODE_BASIC, users=users))
    assert (got.visitors.mode, dict(got.visitors.users)) == (pb.VisitorAccess.MODE_BASIC, {"ann": ""})
    record = api.bench.hub.agents.get("demo")
    assert record is not None and record.visitors["users"]["ann"].startswith("scrypt$")
    visitor = await api.bench.visitor()
    assert (await visitor.get()).status == 401, "the rule holds at once"
    networks = pb.VisitorAccess(mode=pb.VisitorAccess.MODE_OPEN, allow_networks=["10.0.0.0/8"])
    got = await update(api, "visitors", visitors=networks)
    assert list(got.visitors.allow_networks) == ["10.0.0.0/8"] and not got.visitors.users
    assert (await failure(update(api, visitors=pb.VisitorAccess(allow_networks=["x"])))).fields == [
        "agent.visitors.allow_networks"
    ]


async def test_update_faults_come_together(api):
    await api.bench.agent("demo")
    many = {str(number): "" for number in range(65)}
    found = await failure(
        update(
            api,
            "sessions",
            "display_name",
            "annotations",
            "limits",
            "visitors.mode",
            "nothing.at.all",
            display_name="a\nb",
            annotations=many | {"": "x"},
            limits=pb.AgentLimits(request_rate=-1),
            visitors=pb.VisitorAccess(mode=9),
        )  # fmt: skip
    )
    assert found.fields == [
        "update_mask.paths[0]", "update_mask.paths[5]", "agent.display_name", "agent.annotations",
        "agent.annotations['']", "agent.limits.request_rate", "agent.visitors.mode",
    ]  # fmt: skip
    assert (await failure(update(api, name="demo"))).fields == ["agent.name"]
    assert (await failure(update(api, name="agents/none"))).reason == "AGENT_NOT_FOUND"
    assert (await update(api, name="agents/none", display_name="New", allow_missing=True)).display_name == "New"
    bad = pb.AgentLimits(bandwidth=1)
    assert (await failure(update(api, limits=bad))).fields == ["agent.limits"]
    assert "visitors" in SETTABLE


async def test_deny_and_allow(api):
    agent = await api.bench.agent("demo")
    answer = await api.agents.DenyAgent(pb.DenyAgentRequest(name="agents/demo", reason="behave"))
    assert (answer.evicted_sessions, answer.agent.state, answer.agent.deny_reason) == (1, DENIED, "behave")
    assert not answer.agent.HasField("deny_until")
    await until(lambda: agent.session.is_closed)
    with pytest.raises(AttachRefused):
        await api.bench.agent("demo")
    for _ in range(2):
        assert (await api.agents.AllowAgent(pb.AllowAgentRequest(name="agents/demo"))).agent.state == OFFLINE
    await api.bench.agent("demo")
    request = pb.DenyAgentRequest(name="agents/new")
    request.duration.FromSeconds(60)
    assert (await api.agents.DenyAgent(request)).agent.HasField("deny_until"), "it need not be known"
    types = [event.type for _, event in api.bench.hub.events.feed.kept()]
    assert types.count("agent.allowed") == 1 and types.count("agent.denied") == 2
    request = pb.DenyAgentRequest(name="x", reason="a\nb")
    request.duration.FromSeconds(-1)
    assert (await failure(api.agents.DenyAgent(request))).fields == ["name", "reason", "duration"]
    found = await failure(api.agents.AllowAgent(pb.AllowAgentRequest(name="agents/none")))
    assert found.reason == "AGENT_NOT_FOUND"


async def test_delete_forgets_all_of_it(api):
    agent = await api.bench.agent("demo")
    tokens = api.bench.app.identity.tokens
    row, _ = tokens.create("agent", agent="demo")
    await update(api, limits=pb.AgentLimits(streams=3))
    found = await failure(api.agents.DeleteAgent(pb.DeleteAgentRequest(name="agents/demo", etag="9")))
    assert found.reason == "ETAG_MISMATCH"
    answer = await api.agents.DeleteAgent(pb.DeleteAgentRequest(name="agents/demo", etag="2"))
    assert answer.evicted_sessions == 1
    await until(lambda: agent.session.is_closed)
    assert tokens.get(row.id).revoked is not None
    assert api.bench.hub.limits_for("demo").streams == 0
    await until(lambda: not api.bench.hub.roster.live)
    assert (await failure(get(api))).reason == "AGENT_NOT_FOUND"
    await api.bench.agent("demo")
    assert (await get(api)).etag == "1", "it may come back"


async def test_limits_survive_a_restart(start, tmp_path):
    path = {"path": str(tmp_path / "hub.db")}
    first = await start(store=path)
    first.hub.agents.put(first.hub.agents.get("demo") or _record(limits={"streams": 7}))
    second = await start(store=path)
    assert second.hub.limits_for("demo").streams == 7


def _record(**fields):
    from hubd.store.agents import AgentRecord

    return AgentRecord("demo", **fields)
