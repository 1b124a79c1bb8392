"""SessionService over its socket."""

from __future__ import annotations

import asyncio

import grpc
from tests.hubd.admin.apihelp import failure
from tests.hubd.conftest import until

from hubd.admin import session_rows
from hubd.feed import Position
from tunnelpb.hub.v1 import session_pb2 as pb

GET = b"GET /api/v1/proxy/demo/hello HTTP/1.1\r\nHost: hub\r\n\r\n"
ACTIVE, DRAINING, CLOSED = pb.Session.STATE_ACTIVE, pb.Session.STATE_DRAINING, pb.Session.STATE_CLOSED


def ids(api):
    return list(api.bench.hub.roster.live)


async def next_of(watch):
    async with asyncio.timeout(60):
        answer = await watch.read()
    assert answer is not grpc.aio.EOF
    return answer


async def synced(watch):
    """Read to the end of the snapshot; returns its rows and the bookmark's token."""
    rows = []
    while True:
        answer = await next_of(watch)
        if answer.WhichOneof("change") == "bookmark":
            return rows, answer.resume_token
        rows.append(answer.upsert)


async def test_a_row_has_everything(api):
    await api.bench.agent("demo", instance="i1", scheme="ws")
    (session_id,) = ids(api)
    await until(lambda: api.bench.hub.roster.live[session_id].session.rtt is not None)
    got = (await api.sessions.GetSession(pb.GetSessionRequest(name=f"sessions/{session_id}"))).session
    assert (got.agent, got.hub, got.state, got.carrier) == ("agents/demo", "hubs/h1", ACTIVE, "websocket")
    assert (got.peer_address, got.instance, got.epoch, got.etag) == ("127.0.0.1", "i1", 1, "1")
    assert got.HasField("rtt") and got.HasField("connect_time") and got.HasField("last_seen_time")
    assert not got.HasField("drain_deadline") and not got.HasField("close_time")
    assert set(session_rows.STATES) == {"active", "draining", "closed"}


async def test_names(api):
    for number in range(2):
        await api.bench.agent(f"a{number}")
    one, two = ids(api)
    shared = next(n for n in range(12, 0, -1) if one[:n] == two[:n])
    got = await api.sessions.GetSession(pb.GetSessionRequest(name=f"sessions/{one[: shared + 1]}"))
    assert got.session.name == f"sessions/{one}"
    found = await failure(api.sessions.GetSession(pb.GetSessionRequest(name=f"sessions/{one[:shared]}")))
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SESSION_AMBIGUOUS")
    assert one in found.metadata["sessions"] and two in found.metadata["sessions"]
    for name, reason in (("sessions/none", "SESSION_NOT_FOUND"), ("none", "FIELD_INVALID"), ("", "FIELD_INVALID")):
        assert (await failure(api.sessions.GetSession(pb.GetSessionRequest(name=name)))).reason == reason
    # What ends sessions wants the whole id.
    for call, kind in (("EvictSession", pb.EvictSessionRequest), ("DrainSession", pb.DrainSessionRequest)):
        found = await failure(getattr(api.sessions, call)(kind(name=f"sessions/{one[: shared + 1]}")))
        assert found.reason == "SESSION_NOT_FOUND"


async def test_lists_and_filters(api):
    for number in range(5):
        await api.bench.agent(f"a{number % 2}")
    listed = await api.sessions.ListSessions(pb.ListSessionsRequest(page_size=2))
    assert (len(listed.sessions), listed.total_size) == (2, 5)
    rest = await api.sessions.ListSessions(pb.ListSessionsRequest(page_size=10, page_token=listed.next_page_token))
    assert [row.name.removeprefix("sessions/") for row in (*listed.sessions, *rest.sessions)] == ids(api)
    assert rest.next_page_token == ""
    wanted = pb.SessionFilter(agent="agents/a1")
    assert (await api.sessions.ListSessions(pb.ListSessionsRequest(filter=wanted))).total_size == 2
    wanted = pb.SessionFilter(labels={"region": "eu"})
    assert (await api.sessions.ListSessions(pb.ListSessionsRequest(filter=wanted))).total_size == 0
    bad = pb.ListSessionsRequest(page_size=2, filter=pb.SessionFilter(agent="a1", states=[ACTIVE, 9]))
    assert (await failure(api.sessions.ListSessions(bad))).fields == ["filter.agent", "filter.states[1]"]
    bad = pb.ListSessionsRequest(page_size=-2)
    assert (await failure(api.sessions.ListSessions(bad))).fields == ["page_size"]


async def test_evict_resets_and_is_idempotent(api):
    agent = await api.bench.agent(answer=None)
    visitor = await api.bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    (session_id,) = ids(api)
    request = pb.EvictSessionRequest(name=f"sessions/{session_id}", reason="test", request_id="r1")
    began = api.bench.hub.loop.time()
    answer = await api.sessions.EvictSession(request)
    await stream.gone()
    # At once, by far: a drain would have waited for the stream.
    assert api.bench.hub.loop.time() - began < api.bench.hub.timeouts.drain / 2
    assert (answer.reset_streams, answer.session.state, answer.session.close_reason) == (1, CLOSED, "evicted: test")
    assert await api.sessions.EvictSession(request) == answer, "the same request is answered the same"
    request.request_id = ""
    again = await api.sessions.EvictSession(request)
    assert (again.reset_streams, again.session.state) == (0, CLOSED)
    listed = await api.sessions.ListSessions(pb.ListSessionsRequest(filter=pb.SessionFilter(states=[CLOSED])))
    assert listed.total_size == 1
    assert (await visitor.reply()).status == 503
    events = {event.type: event.actor for _, event in api.bench.hub.events.feed.kept()}
    assert events["session.evicted"] == api.actor


async def test_evict_may_keep_the_agent_away(api):
    await api.bench.agent("demo")
    request = pb.EvictSessionRequest(name=f"sessions/{ids(api)[0]}")
    request.deny_for.FromSeconds(600)
    await api.sessions.EvictSession(request)
    left = api.bench.hub.agents.denied_for("demo")
    assert left is not None and 590 < left <= 600


async def test_evict_faults_come_together(api):
    request = pb.EvictSessionRequest(name="sessions/x", reason="a\tb", request_id="a b")
    request.deny_for.FromSeconds(-1)
    found = await failure(api.sessions.EvictSession(request))
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert found.fields == ["deny_for", "reason", "request_id"]


async def test_drain_is_watched_to_its_end(api):
    agent = await api.bench.agent(answer=None)
    visitor = await api.bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    name = f"sessions/{ids(api)[0]}"
    watch = api.sessions.WatchSessions(pb.WatchSessionsRequest())
    await synced(watch)
    request = pb.DrainSessionRequest(name=name, reason="test")
    request.deadline.FromSeconds(60)
    answer = await api.sessions.DrainSession(request)
    assert answer.session.state == DRAINING and answer.session.HasField("drain_deadline")
    draining = (await next_of(watch)).upsert
    assert (draining.state, draining.open_streams) == (DRAINING, 1)
    stream.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert (await visitor.reply()).status == 200
    await until(lambda: not api.bench.hub.active)
    api.bench.later(6)
    removed = (await next_of(watch)).removed
    assert (removed.name, removed.state, removed.close_reason) == (name, CLOSED, "drained: test")
    found = await failure(api.sessions.DrainSession(request))
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SESSION_CLOSED")


async def test_a_drain_of_no_time_cuts_now(api):
    agent = await api.bench.agent(answer=None)
    request = pb.DrainSessionRequest(name=f"sessions/{ids(api)[0]}")
    request.deadline.FromSeconds(0)
    assert (await api.sessions.DrainSession(request)).session.state == CLOSED
    await until(lambda: agent.session.is_closed)


async def test_drain_faults(api):
    await api.bench.agent()
    request = pb.DrainSessionRequest(name=f"sessions/{ids(api)[0]}", reason="\n")
    request.deadline.FromSeconds(-5)
    assert (await failure(api.sessions.DrainSession(request))).fields == ["deadline", "reason"]


async def test_undrain(api):
    await api.bench.agent("quiet", instance=None)
    (session_id,) = ids(api)
    name = f"sessions/{session_id}"
    await api.sessions.DrainSession(pb.DrainSessionRequest(name=name))
    answer = await api.sessions.UndrainSession(pb.UndrainSessionRequest(name=name))
    assert answer.session.state == ACTIVE and not answer.session.HasField("drain_deadline")
    # What does not drain stays as it is.
    assert (await api.sessions.UndrainSession(pb.UndrainSessionRequest(name=name))).session.state == ACTIVE
    await api.bench.agent("told")
    told = f"sessions/{ids(api)[1]}"
    await api.sessions.DrainSession(pb.DrainSessionRequest(name=told))
    found = await failure(api.sessions.UndrainSession(pb.UndrainSessionRequest(name=told)))
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SESSION_DRAINING")
    await api.sessions.EvictSession(pb.EvictSessionRequest(name=told))
    assert (await failure(api.sessions.UndrainSession(pb.UndrainSessionRequest(name=told)))).reason == "SESSION_CLOSED"


async def test_watch_with_a_filter(api):
    await api.bench.agent("a")
    wanted = pb.SessionFilter(agent="agents/b", states=[ACTIVE])
    watch = api.sessions.WatchSessions(pb.WatchSessionsRequest(filter=wanted))
    assert (await synced(watch))[0] == []
    await api.bench.agent("b")
    assert (await next_of(watch)).upsert.agent == "agents/b"
    api.bench.hub.drain_session(api.bench.hub.roster.live[ids(api)[1]], 60, "test")
    removed = (await next_of(watch)).removed
    assert removed.state == DRAINING, "it stops matching"
    bad = pb.WatchSessionsRequest(filter=pb.SessionFilter(agent="b"))
    assert (await failure(api.sessions.WatchSessions(bad).read())).fields == ["filter.agent"]


async def test_closed_rows_can_be_watched_until_they_are_forgotten(api):
    await api.bench.agent("a")
    states = [ACTIVE, DRAINING, CLOSED]
    watch = api.sessions.WatchSessions(pb.WatchSessionsRequest(filter=pb.SessionFilter(states=states)))
    assert len((await synced(watch))[0]) == 1
    api.bench.hub.evict_session(api.bench.hub.roster.live[ids(api)[0]], "test")
    assert (await next_of(watch)).upsert.state == CLOSED
    api.bench.hub.roster.forget_closed(float("inf"))
    assert (await next_of(watch)).removed.state == CLOSED


async def test_a_watch_goes_on_where_it_was(api):
    await api.bench.agent("a")
    watch = api.sessions.WatchSessions(pb.WatchSessionsRequest())
    _, token = await synced(watch)
    watch.cancel()
    await api.bench.agent("b")
    listed = await api.sessions.ListSessions(pb.ListSessionsRequest(page_size=1))
    await api.bench.agent("c")
    watch = api.sessions.WatchSessions(pb.WatchSessionsRequest(resume_token=token))
    assert [(await next_of(watch)).upsert.agent for _ in range(2)] == ["agents/b", "agents/c"]
    # A list's token misses nothing since its first page.
    page = pb.ListSessionsRequest(page_size=1, page_token=listed.next_page_token)
    token = (await api.sessions.ListSessions(page)).resume_token
    watch = api.sessions.WatchSessions(pb.WatchSessionsRequest(resume_token=token))
    assert (await next_of(watch)).upsert.agent == "agents/c"


async def test_a_watch_cut_within_its_snapshot_goes_on_within_it(api):
    for name in "abc":
        await api.bench.agent(name)
    watch = api.sessions.WatchSessions(pb.WatchSessionsRequest())
    token = (await next_of(watch)).resume_token
    watch.cancel()
    await api.bench.agent("d")
    watch = api.sessions.WatchSessions(pb.WatchSessionsRequest(resume_token=token))
    rows, _ = await synced(watch)
    assert [row.agent for row in rows] == ["agents/b", "agents/c", "agents/d"]
    assert (await next_of(watch)).upsert.agent == "agents/d", "it came behind the first snapshot"


async def test_tokens_that_are_too_old(api):
    feed = api.bench.hub.roster.feed
    await api.bench.agent("a")
    for token in (feed.token(Position(99)), "eHx5L3p8MXw"):
        found = await failure(api.sessions.WatchSessions(pb.WatchSessionsRequest(resume_token=token)).read())
        expected = "RESUME_TOKEN_EXPIRED" if token.startswith("c2V") else "FIELD_INVALID"
        assert found.reason == expected, token


async def test_idle_watches_get_bookmarks(api, monkeypatch):
    monkeypatch.setattr("hubd.admin.endless.IDLE_SECONDS", 0.01)
    watch = api.sessions.WatchSessions(pb.WatchSessionsRequest())
    await synced(watch)
    answer = await next_of(watch)
    assert answer.WhichOneof("change") == "bookmark" and not answer.bookmark.synced and answer.resume_token
