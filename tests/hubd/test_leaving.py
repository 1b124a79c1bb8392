"""Drains and evictions (rows E9, L1)."""

from __future__ import annotations

import asyncio

import pytest

from hubd.reasons import AGENT_DRAINING
from yamux import SessionClosed

GET = b"GET /api/v1/proxy/demo/hello HTTP/1.1\r\nHost: hub\r\n\r\n"


def only(bench):
    (entry,) = bench.hub.roster.live.values()
    return entry


def types(bench):
    return [event.type for _, event in bench.hub.events.feed.kept()]


async def test_a_drained_session_takes_nothing_new_and_ends_with_what_it_has(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    entry = only(bench)
    bench.hub.drain_session(entry, 30.0, "test")
    assert entry.draining and entry.told and not bench.hub.pools.get("demo").entries
    await bench.wait(lambda: not agent.session.can_open)  # GoAway
    bench.later(1.5)
    assert not agent.session.is_closed
    stream.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert (await visitor.reply()).body == b"ok"
    await bench.wait(lambda: not entry.active)
    bench.later(1.5)
    assert not entry.closing, "its agent may be about to connect anew"
    bench.later(5.5)
    await bench.wait(lambda: agent.session.is_closed)
    await bench.wait(lambda: bench.hub.roster.row(entry.id).state == "closed")
    assert bench.hub.roster.row(entry.id).close_reason == "drained: test"
    assert types(bench) == ["session.attached", "session.draining", "session.closed"]


async def test_the_deadline_means_it(bench):
    agent = await bench.agent(answer=None)
    visitor = await bench.visitor()
    await visitor.send(GET.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"))
    stream = await agent.stream()
    entry = only(bench)
    bench.hub.drain_session(entry, 3600.0, "test")
    assert not stream.lost
    bench.hub.drain_session(entry, 0.01, "test")
    await stream.gone()
    await bench.wait(lambda: agent.session.is_closed)
    assert (await visitor.reply()).status == 502


async def test_requests_wait_for_the_replacement(bench):
    await bench.agent(instance="one")
    entry = only(bench)
    bench.hub.drain_session(entry, 30.0, "test")
    visitor = await bench.visitor()
    asking = asyncio.ensure_future(visitor.get())
    await bench.wait(lambda: bench.hub.pools.get("demo").waiters)
    await bench.agent(instance="one")
    assert (await asking).status == 200
    assert entry.replaced_by == next(iter(bench.hub.pools.get("demo").entries)).id
    bench.later(0.1)
    assert entry.closing, "there is no more to wait for"


async def test_they_do_not_wait_for_ever(bench):
    await bench.agent(instance="one")
    bench.hub.drain_session(only(bench), 30.0, "test")
    bench.hub.pools.sweep(bench.hub.loop.time() + 5.1)
    visitor = await bench.visitor()
    reply = await visitor.get()
    assert reply.status == 503 and AGENT_DRAINING.code.encode() in reply.body


async def test_agents_that_say_nothing_of_themselves_are_not_told_and_can_stay(bench):
    agent = await bench.agent(instance=None)
    entry = only(bench)
    await bench.wait(lambda: entry.ready)
    bench.hub.drain_session(entry, 3600.0, "test")
    assert entry.draining and not entry.told
    visitor = await bench.visitor()
    assert (await visitor.get()).status == 503, "nobody says that it will come back"
    assert bench.hub.leaving.undrain(entry)
    assert (await visitor.get()).status == 200
    assert not agent.session.is_closed and entry.drain_deadline is None
    assert not bench.hub.leaving.undrain(entry)


async def test_whoever_was_told_leaves(bench):
    await bench.agent()
    entry = only(bench)
    bench.hub.drain_session(entry, 3600.0, "test")
    assert not bench.hub.leaving.undrain(entry)


async def test_agents_with_a_control_stream_are_told_there(bench):
    agent = await bench.agent()
    entry = only(bench)
    entry.controlled = True
    told = []

    def notify(entry, deadline, reason, after):
        told.append((entry.id, reason, after))
        return True

    bench.hub.leaving.notify = notify
    bench.hub.drain_session(entry, 30.0, "test")
    assert told == [(entry.id, "test", 0.0)] and entry.told
    assert agent.session.can_open, "no GoAway"


@pytest.mark.parametrize("scheme", ["tcp", "ws"])
async def test_evict_resets_at_once(bench, scheme):
    agent = await bench.agent(answer=None, scheme=scheme)
    visitor = await bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    entry = only(bench)
    assert bench.hub.evict_session(entry, "test", actor="me") == 1
    # Not a turn of the loop later: nothing of it is open any more.
    assert not entry.session.num_streams and isinstance(entry.session.close_reason, SessionClosed)
    await stream.gone()
    await bench.wait(lambda: entry.id not in bench.hub.roster.live)
    assert bench.hub.evict_session(entry, "test") == 0
    # A GET may be sent again, and finds nobody.
    assert (await visitor.reply()).status == 503
    assert types(bench).count("session.evicted") == 1
    assert bench.hub.roster.row(entry.id).close_reason == "evicted: test"


async def test_all_sessions_are_told_one_after_the_other(bench, monkeypatch):
    for number in range(5):
        await bench.agent(f"a{number}")
    delays = []
    monkeypatch.setattr("hubd.leaving.random.uniform", lambda low, high: delays.append(high) or 3600.0)
    assert bench.hub.leaving.drain_all(30.0, "test") == 5
    assert set(delays) == {4 / 20} and len(bench.hub.leaving.untold) == 5
    assert bench.hub.leaving.drain_all(30.0, "test") == 0
    first, second, third, *rest = bench.hub.roster.live.values()
    assert bench.hub.leaving.undrain(first), "it knows nothing yet"
    bench.hub.drain_session(second, 30.0, "sooner")
    bench.hub.evict_session(third, "now")
    assert set(bench.hub.leaving.untold) == set(rest)
    bench.hub.leaving.close()
    assert not bench.hub.leaving.untold


async def test_l1_a_hub_that_stops_tells_every_agent(bench):
    agents = [await bench.agent(f"a{number}") for number in range(3)]
    async with asyncio.timeout(30):
        await bench.app.stop(3600.0)
    assert all(agent.session.is_closed for agent in agents)
    assert types(bench).count("session.draining") == 3
