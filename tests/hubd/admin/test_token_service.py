"""TokenService over its socket."""

from __future__ import annotations

import grpc
import pytest
from tests.hubd.admin.apihelp import failure
from tests.hubd.conftest import until

from hubd.admin.token_service import KINDS, ROLES
from tunnelpb.hub.v1 import token_pb2 as pb

AGENT, JOIN, ADMIN, VISITOR = pb.Token.KIND_AGENT, pb.Token.KIND_JOIN, pb.Token.KIND_ADMIN, pb.Token.KIND_VISITOR


async def make(api, kind=AGENT, agent="agents/demo", **fields):
    return await api.tokens.CreateToken(pb.CreateTokenRequest(kind=kind, agent=agent, **fields))


async def test_a_secret_is_shown_once_and_works(api):
    made = await make(api, comment="for demo")
    assert made.secret and made.token.name.startswith("tokens/") and made.token.HasField("expire_time")
    assert api.bench.app.identity.tokens.verify(made.secret, ("agent",)) is not None
    listed = await api.tokens.ListTokens(pb.ListTokensRequest())
    assert [token.name for token in listed.tokens] == [made.token.name]
    assert listed.tokens[0].comment == "for demo" and made.secret not in str(listed)
    events = [event for _, event in api.bench.hub.events.feed.kept()]
    assert [event.type for event in events] == ["token.created"] and made.secret not in repr(events)


async def test_every_kind(api):
    join = pb.CreateTokenRequest(kind=JOIN, uses=3)
    join.ttl.FromSeconds(60)
    assert (await api.tokens.CreateToken(join)).token.uses_left == 3
    admin = await make(api, ADMIN, "", role=pb.Token.ROLE_OPERATOR)
    assert admin.token.role == pb.Token.ROLE_OPERATOR and admin.token.agent == ""
    assert (await make(api, VISITOR)).token.agent == "agents/demo"
    await make(api, AGENT)
    for kind in KINDS:
        listed = await api.tokens.ListTokens(pb.ListTokensRequest(kind=kind))
        assert (listed.total_size, listed.tokens[0].kind) == (1, kind)
    assert (await api.tokens.ListTokens(pb.ListTokensRequest(agent="agents/demo"))).total_size == 2
    page = await api.tokens.ListTokens(pb.ListTokensRequest(page_size=3))
    rest = await api.tokens.ListTokens(pb.ListTokensRequest(page_size=3, page_token=page.next_page_token))
    assert (len(page.tokens), len(rest.tokens), rest.next_page_token) == (3, 1, "")
    assert len(ROLES) == 3


async def test_f12_revoking_ends_what_lives_by_the_token(api):
    made = await make(api)
    name = made.token.name
    agent = await api.bench.agent("demo")
    (entry,) = api.bench.hub.roster.live.values()
    entry.token_id = name.removeprefix("tokens/")
    answer = await api.tokens.RevokeToken(pb.RevokeTokenRequest(name=name))
    assert answer.evicted_sessions == 1 and answer.token.HasField("revoke_time")
    await until(lambda: agent.session.is_closed)
    again = await api.tokens.RevokeToken(pb.RevokeTokenRequest(name=name))
    assert again.evicted_sessions == 0 and again.token.revoke_time == answer.token.revoke_time
    assert (await api.tokens.ListTokens(pb.ListTokensRequest())).total_size == 0
    assert (await api.tokens.ListTokens(pb.ListTokensRequest(show_ended=True))).total_size == 1
    assert (
        await failure(api.tokens.RevokeToken(pb.RevokeTokenRequest(name="tokens/none")))
    ).reason == "TOKEN_NOT_FOUND"
    assert (await failure(api.tokens.RevokeToken(pb.RevokeTokenRequest(name="none")))).fields == ["name"]
    types = [event.type for _, event in api.bench.hub.events.feed.kept()]
    assert types.count("token.revoked") == 1


async def test_a_request_is_not_done_twice(api):
    await make(api, request_id="r1")
    found = await failure(make(api, request_id="r1"))
    assert (found.code, found.reason) == (grpc.StatusCode.ALREADY_EXISTS, "TOKEN_CREATED")
    assert (await api.tokens.ListTokens(pb.ListTokensRequest())).total_size == 1
    row = api.bench.hub.database.row("SELECT answer FROM requests WHERE id = 'r1'")
    assert pb.CreateTokenResponse.FromString(row["answer"]).secret == "", "no secret is stored"


async def test_a_third_token_of_an_agent_is_too_many(api):
    await make(api)
    await make(api)
    found = await failure(make(api))
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TOKEN_LIMIT")


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"kind": 0, "role": 9, "agent": "demo"}, ["kind", "role", "agent"]),
        ({"kind": AGENT, "agent": ""}, ["agent"]),
        ({"kind": ADMIN, "agent": ""}, ["role"]),
        ({"kind": AGENT, "uses": 3}, ["uses"]),
        ({"kind": AGENT, "comment": "a\nb"}, ["comment"]),
        ({"kind": AGENT, "request_id": "a b"}, ["request_id"]),
    ],
)
async def test_faults(api, fields, wrong):
    assert (await failure(make(api, **fields))).fields == wrong


async def test_list_faults(api):
    assert (await failure(api.tokens.ListTokens(pb.ListTokensRequest(kind=9, agent="x")))).fields == ["kind", "agent"]
