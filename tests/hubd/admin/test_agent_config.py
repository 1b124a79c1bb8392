from __future__ import annotations

from types import SimpleNamespace

import grpc
import grpc.aio
import pytest
from tests.hubd.conftest import until
from tests.hubd.control.conftest import services

from hubd.admin import agent_config
from hubd.admin.errors import STATUS_KEY
from tunnelpb.hub.v1 import agent_config_pb2 as pb
from tunnelpb.hub.v1.agent_config_pb2_grpc import AgentConfigServiceStub


@pytest.fixture
async def stub(api):
    return AgentConfigServiceStub(api.channel)


async def test_from_update_to_rollback(api, stub, control):
    stream = await control(api.bench)
    made = await stub.UpdateAgentConfig(
        pb.UpdateAgentConfigRequest(agent="agents/demo", config=services(web="http://h:1"), comment="first")
    )
    version = made.config
    assert (version.name, version.version, version.etag) == ("agents/demo/configs/1", 1, "v1")
    assert version.author in ("admin@unix", "cert/root"), "whoever the connection says"
    assert (version.comment, version.create_time.seconds > 0) == ("first", True)
    (link,) = api.bench.hub.control.of_agent("demo")
    await until(lambda: link.applied == 1)
    stream.refusing = "no"
    await stub.UpdateAgentConfig(
        pb.UpdateAgentConfigRequest(agent="agents/demo", config=services(web="http://h:2"), etag="v1")
    )
    await until(lambda: link.refused == 2)
    found = await stub.GetAgentConfig(pb.GetAgentConfigRequest(agent="agents/demo"))
    assert (found.config.version, found.config.last_error) == (2, "no")
    (status,) = found.status
    assert (status.desired_version, status.applied_version, status.last_error) == (2, 1, "no")
    assert status.session == f"sessions/{link.entry.id}"
    stream.refusing = ""
    back = await stub.RollbackAgentConfig(pb.RollbackAgentConfigRequest(agent="agents/demo"))
    assert (back.config.version, back.config.rollback_of) == (3, 1)
    await until(lambda: link.applied == 3)
    old = await stub.GetAgentConfig(pb.GetAgentConfigRequest(agent="agents/demo", version=1))
    assert old.config.config == services(web="http://h:1")


@pytest.mark.parametrize(("refused", "told"), [(0, "no answer"), (3, "no answer"), (2, "")])
def test_why_an_older_version_was_refused_is_not_told_of_a_newer_one(refused, told):
    entry = SimpleNamespace(id="s1")
    link = SimpleNamespace(entry=entry, applied=1, refused=refused, last_error="no answer", answered=None)
    status = agent_config._status(link, 3)
    assert (status.session, status.desired_version, status.last_error) == ("sessions/s1", 3, told)


async def test_history_by_pages(api, stub):
    await api.bench.agent()
    for number in range(5):
        request = pb.UpdateAgentConfigRequest(agent="agents/demo", config=services(web=f"http://h:{number + 1}"))
        await stub.UpdateAgentConfig(request)
    seen, token = [], ""
    while True:
        page = await stub.ListAgentConfigVersions(
            pb.ListAgentConfigVersionsRequest(agent="agents/demo", page_size=2, page_token=token)
        )
        seen += [config.version for config in page.configs]
        token = page.next_page_token
        if not token:
            break
    assert seen == [5, 4, 3, 2, 1]


async def test_validate(api, stub):
    bad = services(web="ftp://h")
    bad.pool_size = 50
    answer = await stub.ValidateAgentConfig(pb.ValidateAgentConfigRequest(config=bad))
    assert [fault.field for fault in answer.faults] == ["services[0].target", "pool_size"]
    answer = await stub.ValidateAgentConfig(
        pb.ValidateAgentConfigRequest(agent="agents/demo", config=services(web="http://h:1"))
    )
    assert not answer.faults


@pytest.mark.parametrize(
    ("call", "request_", "code"),
    [
        ("GetAgentConfig", pb.GetAgentConfigRequest(agent="demo"), "INVALID_ARGUMENT"),
        ("GetAgentConfig", pb.GetAgentConfigRequest(agent="agents/none"), "NOT_FOUND"),
        ("UpdateAgentConfig", pb.UpdateAgentConfigRequest(agent="agents/demo", etag="v9"), "ABORTED"),
        ("ValidateAgentConfig", pb.ValidateAgentConfigRequest(agent="x/y"), "INVALID_ARGUMENT"),
        ("ListAgentConfigVersions", pb.ListAgentConfigVersionsRequest(agent="agents/none"), "NOT_FOUND"),
        ("RollbackAgentConfig", pb.RollbackAgentConfigRequest(agent="agents/demo", version=9), "NOT_FOUND"),
    ],
)
async def test_errors(api, stub, call, request_, code):
    await api.bench.agent()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(stub, call)(request_)
    assert caught.value.code().name == code
    assert STATUS_KEY in dict(caught.value.trailing_metadata())
