"""Every method of every service by one table, over the socket and over TCP with certificates: a call that does what it
should, and each way it can be asked wrongly. A method without a line here fails, as does one without an error case."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, message_factory
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from tests.hubd.admin.apihelp import Api, Certificates, Failure, failure
from tests.hubd.admin.calls import CASES
from tests.hubd.conftest import until

from hubd.admin.roles import ROLES, Role
from tunnelpb.hub.v1 import (
    agent_config_pb2,
    agent_config_pb2_grpc,
    agent_pb2,
    event_pb2,
    hub_pb2,
    route_pb2,
    session_pb2,
    stats_pb2,
    token_pb2,
)

FILES = (
    agent_config_pb2, agent_pb2, event_pb2, hub_pb2, route_pb2, session_pb2, stats_pb2, token_pb2, health_pb2,
    reflection_pb2,
)  # fmt: skip


METHODS = {
    f"{service.full_name}/{method.name}": method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


def test_every_method_is_in_the_table():
    assert sorted(CASES) == sorted(METHODS)
    assert sorted(f"/{name}" for name in CASES) == sorted(ROLES), "and they are the ones the hub serves"


def test_every_method_that_can_be_asked_wrongly_is_asked_wrongly():
    without = {name for name, case in CASES.items() if not case.bad}
    # Health's list and watch and reflection tell of what they do not know in an answer.
    without -= {name for name in without if name.startswith("grpc.")}
    assert all(not METHODS[name].input_type.fields for name in without), without


class World:
    """A hub with something of everything.

    Attributes:
        api: channel to it, as administrator.
        names: of what is there, by their placeholders.
    """

    def __init__(self, api: Api, names: dict[str, str]) -> None:
        self.api = api
        self.names = names

    def fill(self, text: str) -> str:
        for name, value in self.names.items():
            text = text.replace(name, value)
        return text

    async def call(self, name: str, given: dict[str, Any], channel: Any = None) -> str:
        """One call; returns the answer, or the first of a stream, as JSON."""
        method = METHODS[name]
        request = message_factory.GetMessageClass(method.input_type)()
        json_format.Parse(self.fill(json.dumps(given)), request)
        kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        begin = getattr(channel or self.api.channel, kind)(
            f"/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        call = begin(iter([request]) if method.client_streaming else request, timeout=30)
        if not method.server_streaming:
            return json_format.MessageToJson(await call)
        answer = await call.read()
        assert answer is not grpc.aio.EOF
        call.cancel()
        return json_format.MessageToJson(answer)


async def _reload() -> Any:
    return SimpleNamespace(applied=["limits.body"], need_restart=[], faults=[])


async def _fill(api: Api) -> dict[str, str]:
    """Something of everything, and the names it got."""
    bench = api.bench
    await bench.agent("gone")
    (gone,) = bench.hub.roster.live.values()
    await api.sessions.EvictSession(session_pb2.EvictSessionRequest(name=f"sessions/{gone.id}"))
    await bench.agent("demo")
    await until(lambda: [entry.agent_id for entry in bench.hub.roster.live.values()] == ["demo"])
    (entry,) = bench.hub.roster.live.values()
    route = route_pb2.Route(host="app.example.com", agent="agents/demo")
    await api.routes.CreateRoute(route_pb2.CreateRouteRequest(route=route, route_id="app"))
    wanted = token_pb2.CreateTokenRequest(kind=token_pb2.Token.KIND_AGENT, agent="agents/demo", request_id="used")
    token = (await api.tokens.CreateToken(wanted)).token
    configs = agent_config_pb2_grpc.AgentConfigServiceStub(api.channel)
    for level in ("info", "debug"):
        config = {"log_level": level}
        await configs.UpdateAgentConfig(agent_config_pb2.UpdateAgentConfigRequest(agent="agents/demo", config=config))
    return {
        "{session}": f"sessions/{entry.id}",
        "{closed}": f"sessions/{gone.id}",
        "{token}": token.name,
        "{used}": "used",
    }


@pytest.fixture
async def world(api: Api) -> AsyncIterator[World]:
    names = await _fill(api)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield World(api, {**names, "{port}": str(taken.getsockname()[1])})


def told(found: Failure) -> str:
    """What a refusal says to programs."""
    return " ".join([found.reason, *sorted(found.fields)])


# How agents frame their requests makes no difference here.
@pytest.mark.parametrize("start", [False], indirect=True, ids=[""])
@pytest.mark.parametrize("name", sorted(CASES))
async def test_every_method_over_socket_and_mutual_tls(world: World, name: str) -> None:
    case = CASES[name]
    if name.startswith("grpc.reflection.") and world.api.actor != "admin@unix":
        for _ in range(20):
            found = await failure(world.call(name, case.good))
            # grpc.aio's client takes a refusal that comes while it still sends for a fault of its own.
            if found.message != "Internal error from Core":
                break
        assert found.code is grpc.StatusCode.UNIMPLEMENTED, found.message
        return
    for given, code, reason in case.bad:
        found = await failure(world.call(name, given))
        assert (found.code.name, told(found)) == (code, world.fill(reason)), (given, found.message)
    world.api.bench.hub.reload = _reload
    # An incident would be told with its number, never with what happened inside.
    answer = await world.call(name, case.good)
    assert world.fill(case.told) in answer, answer


@pytest.mark.parametrize("start", [False], indirect=True, ids=[""])
async def test_every_method_is_refused_to_the_role_below(start, connect, certificates: Certificates) -> None:
    admin = {
        "listen": ["127.0.0.1:0"],
        "tls": {"cert": str(certificates.cert), "key": str(certificates.key)},
        "client_ca": str(certificates.ca),
        "clients": {"viewer": "viewer", "operator": "operator"},
    }
    bench = await start(admin=admin, id="h1")
    (address,) = bench.app.api.addresses
    names = {Role.VIEWER: "nobody", Role.OPERATOR: "viewer", Role.ADMIN: "operator"}
    channels = {role: connect(address, certificates.credentials(name)) for role, name in names.items()}
    for name in CASES:
        role = ROLES[f"/{name}"]
        if role is Role.NONE or name.startswith("grpc.reflection."):
            continue
        found = await failure(World(Api(channels[role], bench), {}).call(name, {}))
        assert (found.code, found.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED"), name
        assert found.metadata["needed"] == role.name
