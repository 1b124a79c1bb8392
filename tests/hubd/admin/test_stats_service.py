"""StatsService over its socket, and the samples behind it."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from tests.hubd.admin.apihelp import failure
from tests.hubd.conftest import OK, until

from hubd.admin import sampler as sampler_module
from hubd.admin.sampler import Sampler, Samplers
from hubd.admin.stats_rows import Scope, encode
from tunnelpb.hub.v1 import stats_pb2 as pb

GET = b"GET /api/v1/proxy/demo/hello HTTP/1.1\r\nHost: hub\r\n\r\n"
HUB, AGENT, SESSION, STREAM = (
    pb.STATS_SCOPE_HUB, pb.STATS_SCOPE_AGENT, pb.STATS_SCOPE_SESSION, pb.STATS_SCOPE_STREAM,
)  # fmt: skip


async def stats(api, scope=0, parent=""):
    answer = await api.stats.GetStats(pb.GetStatsRequest(scope=scope, parent=parent))
    assert answer.HasField("time")
    return list(answer.stats)


async def test_counters_add_up_over_scopes(api):
    bench = api.bench
    for _ in range(2):
        await bench.agent("demo")
    await bench.agent("other")
    visitor = await bench.visitor()
    for _ in range(4):
        assert (await visitor.get()).status == 200
    await until(lambda: not any(entry.session.num_streams for entry in bench.hub.roster.live.values()))
    (hub,) = await stats(api)
    assert (hub.name, hub.requests, hub.streams_opened, hub.sessions, hub.visitors) == ("hubs/h1", 4, 4, 3, 1)
    assert hub.memory_bytes > 10 << 20 and hub.HasField("loop_lag") and hub.bytes_in > 0 < hub.bytes_out
    sessions = await stats(api, SESSION)
    agents = {row.name: row for row in await stats(api, AGENT)}
    assert agents.keys() == {"agents/demo", "agents/other"}
    assert sum(row.requests for row in sessions) == agents["agents/demo"].requests == 4
    assert sum(row.bytes_in for row in sessions) == sum(row.bytes_in for row in agents.values()) == hub.bytes_in
    assert len(await stats(api, SESSION, "agents/demo")) == 2
    assert [row.name for row in await stats(api, AGENT, "agents/other")] == ["agents/other"]
    # What has ended is still counted.
    entry = next(entry for entry in bench.hub.roster.live.values() if entry.agent_id == "demo" and entry.requests)
    bench.hub.evict_session(entry, "test")
    await until(lambda: len(bench.hub.roster.live) == 2)
    assert (await stats(api))[0].requests == 4
    row = (await stats(api, AGENT, "agents/demo"))[0]
    assert (row.requests, row.sessions) == (4, 1)


async def test_errors_are_counted(api):
    agent = await api.bench.agent(answer=b"nonsense\r\n\r\n")
    visitor = await api.bench.visitor()
    assert (await visitor.get()).status == 502
    assert agent.streams
    assert [row.errors for row in await stats(api, SESSION)] == [1]


async def test_streams(api):
    agent = await api.bench.agent(answer=None)
    visitor = await api.bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    (entry,) = api.bench.hub.roster.live.values()
    for parent in (f"sessions/{entry.id}", "agents/demo"):
        (row,) = await stats(api, STREAM, parent)
        assert row.name == f"sessions/{entry.id}/streams/{stream.transport.id}" and row.bytes_out > 0
        assert row.agent == "agents/demo"
    await api.bench.agent("idle")
    assert await stats(api, STREAM, "agents/idle") == []
    stream.reply(OK)
    assert (await visitor.reply()).status == 200


@pytest.mark.parametrize(
    ("scope", "parent", "reason", "field"),
    [
        (9, "", "FIELD_INVALID", "scope"),
        (STREAM, "", "FIELD_INVALID", "parent"),
        (SESSION, "routes/x", "FIELD_INVALID", "parent"),
        (HUB, "agents/demo", "FIELD_INVALID", "parent"),
        (AGENT, "sessions/x", "FIELD_INVALID", "parent"),
        (SESSION, "sessions/none", "SESSION_NOT_FOUND", ""),
        (SESSION, "agents/none", "AGENT_NOT_FOUND", ""),
    ],
)
async def test_faults(api, scope, parent, reason, field):
    for call in (
        api.stats.GetStats(pb.GetStatsRequest(scope=scope, parent=parent)),
        api.stats.StreamStats(pb.StreamStatsRequest(scope=scope, parent=parent)).read(),
    ):
        found = await failure(call)
        assert (found.reason, found.fields) == (reason, [field] if field else [])
    slow = pb.StreamStatsRequest()
    slow.interval.FromMilliseconds(100)
    assert (await failure(api.stats.StreamStats(slow).read())).fields == ["interval"]


async def test_streamed_rows_are_whole_then_only_news(api, monkeypatch):
    await api.bench.agent("demo")
    request = pb.StreamStatsRequest(scope=SESSION)
    request.interval.FromMilliseconds(250)
    stream = api.stats.StreamStats(request)
    first = await stream.read()
    assert first.full and len(first.stats) == 1
    await api.bench.agent("two")
    async with asyncio.timeout(60):
        while not (answer := await stream.read()).stats or answer.stats[0].agent != "agents/two":
            assert not answer.full
    entry = next(entry for entry in api.bench.hub.roster.live.values() if entry.agent_id == "two")
    api.bench.hub.evict_session(entry, "test")
    async with asyncio.timeout(60):
        while not (answer := await stream.read()).removed:
            assert answer.skipped_intervals == 0
    assert list(answer.removed) == [f"sessions/{entry.id}"]
    await api.bench.app.api.leave()
    with pytest.raises(grpc.aio.AioRpcError) as found:
        while True:
            await stream.read()
    assert found.value.code() is grpc.StatusCode.UNAVAILABLE


class FakeScope:
    key = (SESSION, "")

    def __init__(self):
        self.content = {}
        self.reads = 0

    def rows(self):
        self.reads += 1
        return iter([(name, ("agents/a", value, 0)) for name, value in self.content.items()])


def read(data: bytes) -> pb.StreamStatsResponse:
    return pb.StreamStatsResponse.FromString(data)


async def test_late_clients_get_what_changed_meanwhile_and_are_told():
    scope = FakeScope()
    scope.content = {"a": 1, "b": 1}
    sampler = Sampler(scope, 1.0)
    await sampler.sample()
    assert {row.name for row in read(sampler.since(0)).stats} == {"a", "b"}
    scope.content["a"] = 2
    await sampler.sample()
    assert [row.name for row in read(sampler.since(1)).stats] == ["a"]
    assert sampler.since(1) is sampler.since(1), "everybody is sent the same bytes"
    assert sampler.since(0) is sampler.since(0)
    del scope.content["b"]
    scope.content["c"] = 1
    await sampler.sample()
    await sampler.sample()
    late = read(sampler.since(1))
    assert ([row.name for row in late.stats], list(late.removed), late.skipped_intervals) == (["a", "c"], ["b"], 2)
    assert read(sampler.since(3)).stats == []
    scope.content["b"] = 9
    await sampler.sample()
    late = read(sampler.since(1))
    assert ([row.name for row in late.stats], list(late.removed)) == (["a", "c", "b"], [])


async def test_who_missed_too_many_that_went_gets_all_anew(monkeypatch):
    monkeypatch.setattr(sampler_module, "MAX_GONE", 2)
    scope = FakeScope()
    sampler = Sampler(scope, 1.0)
    for number in range(5):
        scope.content = {f"row{number}": 1}
        await sampler.sample()
    assert read(sampler.since(1)).full
    assert not read(sampler.since(4)).full


async def test_others_are_served_while_a_sample_is_taken():
    scope, turns = FakeScope(), 0
    scope.content = {f"row{number}": 1 for number in range(10 * sampler_module.SLICE)}
    sampler = Sampler(scope, 1.0)

    async def visitor() -> None:
        nonlocal turns
        while not sampler.tick:
            turns += 1
            assert sampler.since(0) == b"full", "a sample is there as a whole or not at all"
            await asyncio.sleep(0)

    sampler._full = b"full"
    await asyncio.gather(sampler.sample(), visitor())
    assert turns >= 10
    assert len(read(sampler.since(0)).stats) == len(scope.content)


async def test_one_sampler_for_all_who_ask_for_the_same():
    samplers, scope = Samplers(), FakeScope()
    one, leave_one = samplers.enter(scope, 1.0)
    two, leave_two = samplers.enter(FakeScope(), 1.0)
    other, leave_other = samplers.enter(scope, 2.0)
    await until(lambda: one.tick and other.tick)
    assert one is two and other is not one and scope.reads == 2
    leave_one()
    leave_two()
    leave_other()
    assert not samplers._running and one.watchers == 0
    again, leave = samplers.enter(scope, 1.0)
    assert again is not one
    leave()


async def test_rows_of_a_hub(bench):
    scope = Scope(bench.hub, 0, "")
    ((name, values),) = scope.rows()
    assert encode(name, values).name == f"hubs/{bench.hub.id}"
