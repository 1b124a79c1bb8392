"""EventService over its socket."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest
from tests.hubd.admin.apihelp import failure

from hubd.admin.event_service import TOPICS
from tunnelpb.hub.v1 import event_pb2 as pb


async def all_of(api, **fields):
    request = pb.WatchEventsRequest(no_follow=True, **fields)
    return [answer async for answer in api.events.WatchEvents(request)]


async def test_kept_events_and_their_end(api):
    assert await all_of(api) == []
    await api.bench.agent("demo")
    api.bench.hub.events.emit("hub", "hub.test", "hubs/h1", "a test", actor="me", number=3)
    first, second = await all_of(api)
    assert (first.event.type, first.event.actor, first.event.index) == ("session.attached", "agents/demo", 1)
    assert (second.event.topic, second.event.message, dict(second.event.attributes)) == (
        "hub",
        "a test",
        {"number": "3"},
    )
    assert [answer.event.index for answer in await all_of(api, topics=["hub"])] == [2]
    assert [answer.event.index for answer in await all_of(api, resume_token=first.resume_token)] == [2]
    request = pb.WatchEventsRequest(no_follow=True)
    request.since.FromSeconds(int(time.time()) + 60)
    assert [answer async for answer in api.events.WatchEvents(request)] == []


async def test_new_events_as_they_happen(api, monkeypatch):
    api.bench.hub.events.emit("hub", "hub.old", "hubs/h1", "before")
    watch = api.events.WatchEvents(pb.WatchEventsRequest(topics=["hub"]))
    reading = asyncio.ensure_future(watch.read())
    async with asyncio.timeout(60):
        while api.bench.hub.events.feed._bell is None:
            await asyncio.sleep(0.001)
    api.bench.hub.events.emit("session", "session.new", "sessions/x", "not asked for")
    api.bench.hub.events.emit("hub", "hub.new", "hubs/h1", "now")
    assert (await reading).event.type == "hub.new"
    monkeypatch.setattr("hubd.admin.endless.IDLE_SECONDS", 0.01)
    api.bench.hub.events.emit("hub", "hub.more", "hubs/h1", "more")
    last = await watch.read()
    bookmark = await watch.read()
    assert not bookmark.HasField("event") and bookmark.resume_token == last.resume_token


async def test_since_follows(api):
    api.bench.hub.events.emit("hub", "hub.old", "hubs/h1", "before")
    request = pb.WatchEventsRequest()
    request.since.FromSeconds(1)
    watch = api.events.WatchEvents(request)
    assert (await watch.read()).event.type == "hub.old"
    api.bench.hub.events.emit("hub", "hub.new", "hubs/h1", "now")
    assert (await watch.read()).event.type == "hub.new"


async def test_faults(api):
    found = await failure(api.events.WatchEvents(pb.WatchEventsRequest(topics=["hub", "x", "y"])).read())
    assert (found.code, found.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["topics[1]", "topics[2]"])
    found = await failure(api.events.WatchEvents(pb.WatchEventsRequest(resume_token="x")).read())
    assert found.fields == ["resume_token"]


@pytest.mark.parametrize("topic", TOPICS)
async def test_every_topic_can_be_asked_for(api, topic):
    api.bench.hub.events.emit(topic, f"{topic}.x", "x", "x")
    assert len(await all_of(api, topics=[topic])) == 1
