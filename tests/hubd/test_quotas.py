"""Limits of agents and their visitors (rows D8, D12)."""

from __future__ import annotations

import json

import pytest

from hubd import quotas
from hubd.quotas import AgentLimits
from tunnelpb.hub.v1.agent_pb2 import AgentLimits as Message


async def ready(start, **limits):
    bench = await start(limits=limits)
    await bench.agent()
    return bench, await bench.visitor()


async def test_without_limits_there_is_no_gate(start):
    bench, visitor = await ready(start)
    assert bench.hub.gate is None
    assert (await visitor.get()).status == 200


async def test_requests_over_the_rate_get_429_and_a_time(start):
    bench, visitor = await ready(start, request_rate=0.5)
    assert (await visitor.get()).status == 200
    reply = await visitor.get()
    assert (reply.status, reply.one("retry-after")) == (429, "2")
    assert json.loads(reply.body)["code"] == "rate_limited"
    assert bench.hub.stats.rejects["rate_limited"] == 1
    # The connection goes on, and so do other agents.
    await bench.agent("other")
    assert (await visitor.get("/api/v1/proxy/other/x")).status == 200
    assert (await visitor.get("/healthz")).status == 200
    assert (await visitor.get("/api/v1/proxy/unknown/x")).status == 404


async def test_a_visitor_has_a_rate_of_its_own(start):
    bench, visitor = await ready(start, visitor_request_rate=1)
    other = await bench.visitor(local_addr=("127.0.0.2", 0))
    assert [(await visitor.get()).status for _ in range(3)] == [200, 429, 429]
    assert (await other.get()).status == 200
    assert bench.hub.stats.rejects["visitor_rate_limited"] == 2


async def test_behind_a_trusted_proxy_the_visitor_is_whom_it_names(start):
    bench = await start(limits={"visitor_request_rate": 1}, trusted_proxies=["127.0.0.0/8", "10.0.0.0/8"])
    await bench.agent()
    visitor = await bench.visitor()
    path = "/api/v1/proxy/demo/x"
    first = "X-Forwarded-For: 1.2.3.4, 192.0.2.1, 10.0.0.7"
    assert [(await visitor.get(path, first)).status for _ in range(2)] == [200, 429]
    assert (await visitor.get(path, "X-Forwarded-For: 192.0.2.2")).status == 200
    assert (await visitor.get(path)).status == 200


async def test_a_stranger_cannot_choose_its_address(start):
    _, visitor = await ready(start, visitor_request_rate=1)
    path = "/api/v1/proxy/demo/x"
    assert [(await visitor.get(path, f"X-Forwarded-For: 192.0.2.{n}")).status for n in range(3)] == [200, 429, 429]


async def test_d8_requests_in_progress(start):
    bench = await start(limits={"streams": 1})
    slow = await bench.agent(answer=None)
    first, second = await bench.visitor(), await bench.visitor()
    await first.send(b"GET /api/v1/proxy/demo/x HTTP/1.1\r\nHost: hub\r\n\r\n")
    stream = await slow.stream()
    reply = await second.get()
    assert (reply.status, reply.one("retry-after")) == (503, "1")
    assert json.loads(reply.body)["code"] == "agent_busy"
    stream.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert (await first.reply()).status == 200
    slow.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert (await second.get()).status == 200


async def test_sessions_of_one_agent(start):
    bench = await start(limits={"sessions": 2})
    await bench.agent(instance="one")
    await bench.agent(instance="two")
    with pytest.raises(Exception, match="as many sessions"):
        await bench.agent(instance="three")
    await bench.agent("other")
    # One that takes over from its former self is no further one.
    await bench.agent(instance="two")
    assert bench.hub.stats.agents_refused["too_many_sessions"] == 1


async def test_limits_change_while_it_runs(start):
    bench, visitor = await ready(start, request_rate=1)
    hub = bench.hub
    assert hub.limits_for("demo").request_rate == 1
    assert [(await visitor.get()).status for _ in range(2)] == [200, 429]
    applied = hub.apply_limits("demo", Message(request_rate=1000, streams=7))
    assert applied == AgentLimits(request_rate=1000, streams=7, sessions=64)
    assert [(await visitor.get()).status for _ in range(5)] == [200] * 5
    # 0 is the hub's own setting again.
    assert hub.apply_limits("demo", Message()).request_rate == 1
    assert [(await visitor.get()).status for _ in range(2)] == [200, 429]
    Message(**{name: getattr(hub.limits_for("demo"), name) for name in AgentLimits.__dataclass_fields__})


async def test_the_gate_is_gone_with_the_last_limit(start):
    bench, _ = await ready(start)
    bench.hub.apply_limits("demo", AgentLimits(streams=5))
    assert bench.hub.gate is not None
    bench.hub.apply_limits("demo", AgentLimits())
    assert bench.hub.gate is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"request_rate": -1}, "request_rate: -1"),
        ({"request_rate": float("inf")}, "request_rate: inf"),
        ({"request_rate": float("nan")}, "request_rate: nan"),
        ({"bandwidth": 10}, "bandwidth: at least 4096"),
        ({"visitor_bandwidth": 4095}, "visitor_bandwidth: at least 4096"),
    ],
)
async def test_limits_that_cannot_be(start, given, text):
    bench, _ = await ready(start)
    with pytest.raises(ValueError, match=text):
        bench.hub.apply_limits("demo", AgentLimits(**given))
    assert bench.hub.gate is None


async def test_memory_of_visitors_and_agents_is_bounded(start, monkeypatch):
    monkeypatch.setattr(quotas, "MAX_VISITORS", 3)
    bench, visitor = await ready(start, visitor_request_rate=1)
    for number in range(6):
        other = await bench.visitor(local_addr=(f"127.0.1.{number + 1}", 0))
        assert (await other.get()).status == 200
    assert len(bench.hub.quotas._visitors) == 3
    for number in range(60):
        await visitor.get(f"/api/v1/proxy/nobody-{number}/x")
    assert len(bench.hub.quotas._quotas) == 1


async def test_d12_while_buffers_are_full_requests_are_refused(start):
    bench, visitor = await ready(start)
    bench.hub.quotas.shed(True)
    reply = await visitor.get()
    assert (reply.status, reply.one("retry-after")) == (503, "1")
    assert json.loads(reply.body)["code"] == "buffers_full"
    assert (await visitor.get("/healthz")).status == 200
    bench.hub.quotas.shed(False)
    assert bench.hub.gate is None and (await visitor.get()).status == 200
