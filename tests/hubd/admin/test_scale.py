"""A thousand agents over carriers in memory, and a client that lists and watches them (row D9)."""

from __future__ import annotations

import asyncio
import itertools

import grpc
import pytest
from tests.hubd.admin.apihelp import Failure

from hubd.sessions import AgentSession
from tunnelpb.hub.v1 import session_pb2 as pb
from yamux import Config, Session
from yamux.testing import memory_pair

AGENTS = 1000
CHANGES = 10_000
QUIET = Config(keepalive_interval=0.0)
STATES = (pb.Session.STATE_ACTIVE, pb.Session.STATE_DRAINING, pb.Session.STATE_CLOSED)


class Fleet:
    """Agents of one hub."""

    def __init__(self, hub) -> None:
        self.hub = hub
        self.agents: list[Session] = []
        self.numbers = itertools.count()

    def attach(self) -> AgentSession:
        """One more, as the attach desk puts it into service."""
        hub, number = self.hub, next(self.numbers)
        here = Session(client=False, config=QUIET, on_close=lambda _: self.ended(entry))
        there = Session(client=True, config=QUIET)
        entry = AgentSession(f"agent-{number:05}", here, id=hub.ids.next(), carrier="memory", instance=str(number))
        memory_pair(here, there)
        self.agents.append(there)
        hub.roster.add(entry)
        hub.pools.add(entry)
        return entry

    def ended(self, entry: AgentSession) -> None:
        self.hub.pools.remove(entry)
        self.hub.roster.end(entry, "gone")

    async def close(self) -> None:
        for session in self.agents:
            session.abort()
        for entry in list(self.hub.roster.live.values()):
            entry.session.abort()
        while self.hub.roster.live:
            await asyncio.sleep(0)


@pytest.fixture
async def fleet(local):
    made = Fleet(local.bench.hub)
    for _ in range(AGENTS):
        made.attach()
    yield made
    await made.close()


async def test_pages_are_right_while_sessions_come_and_go(local, fleet):
    api = local
    live = api.bench.hub.roster.live
    stable = {f"sessions/{name}" for name in list(live)[::2]}
    listed: list[str] = []
    token = ""
    while True:
        page = await api.sessions.ListSessions(pb.ListSessionsRequest(page_size=70, page_token=token))
        listed += [row.name for row in page.sessions]
        token = page.next_page_token
        if not token:
            break
        # Of those that are to stay none goes; of the others some do, before and behind the page's end.
        going = [entry for name, entry in live.items() if f"sessions/{name}" not in stable][:15]
        going += [entry for name, entry in live.items() if f"sessions/{name}" not in stable][-15:]
        for entry in going:
            entry.session.abort()
        for _ in range(10):
            fleet.attach()
        await asyncio.sleep(0)
    assert len(listed) == len(set(listed)), "no row twice"
    assert listed == sorted(listed)
    assert stable <= set(listed), "none that was there all the time is missing"


class Watcher:
    """Follows all sessions, and goes on where it was whenever its stream ends."""

    def __init__(self, api) -> None:
        self.api = api
        self.token = ""
        self.etags: list[int] = []
        self.rows: dict[str, str] = {}
        self.streams = 0
        self.synced = asyncio.Event()
        self.call = None
        self.task = asyncio.ensure_future(self.run())

    async def run(self) -> None:
        while True:
            self.streams += 1
            request = pb.WatchSessionsRequest(resume_token=self.token, filter=pb.SessionFilter(states=STATES))
            self.call = self.api.sessions.WatchSessions(request)
            try:
                async for answer in self.call:
                    self.take(answer)
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE, error
                assert Failure(error).trailing["resume-token"], "the hub says where to go on"
            except asyncio.CancelledError:
                if self.task.cancelling():
                    raise

    def take(self, answer) -> None:
        self.token = answer.resume_token
        kind = answer.WhichOneof("change")
        if kind == "bookmark":
            if answer.bookmark.synced:
                self.synced.set()
            return
        row = getattr(answer, kind)
        if self.synced.is_set():
            self.etags.append(int(row.etag))
        self.rows[row.name] = row.etag

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def watchers():
    made: list[Watcher] = []
    yield made
    for watcher in made:
        await watcher.close()


async def test_a_watch_sees_every_change_exactly_once(local, fleet, watchers):
    api = local
    hub = api.bench.hub
    feed = hub.roster.feed
    first = Watcher(api)
    watchers.append(first)
    await first.synced.wait()
    start = feed.revision
    entries = list(hub.roster.live.values())
    cuts = {CHANGES // 4: "client", CHANGES // 2: "hub", 3 * CHANGES // 4: "client"}
    second = None
    for number in range(CHANGES):
        entry = entries[number % len(entries)]
        if number % 100 == 99:
            entries[number % len(entries)] = fleet.attach()
        elif number % 100 == 49:
            hub.drain_session(entry, 3600, "test")
        else:
            entry.config_version += 1
            hub.roster.changed(entry)
        if number in cuts:
            while not first.etags or first.etags[-1] < feed.revision - 100:
                await asyncio.sleep(0)
            if cuts[number] == "hub":
                api.bench.app.api.endings.end_all()
            else:
                first.call.cancel()
        if number == CHANGES // 3:
            second = Watcher(api)
            watchers.append(second)
        if number % 20 == 0:
            await asyncio.sleep(0)
    last = feed.revision
    async with asyncio.timeout(30):
        while not first.etags or first.etags[-1] < last or not second.etags or second.etags[-1] < last:
            await asyncio.sleep(0.01)
    assert first.etags == list(range(start + 1, last + 1)) and last - start >= CHANGES
    assert first.streams >= 4, "it was cut three times"
    # One that begins at any moment ends up with the same.
    expected = {f"sessions/{row.id}": str(row.revision) for row in hub.roster.rows()}
    assert first.rows == expected and second.rows == expected


async def test_d9_a_client_that_does_not_read_costs_the_ring_and_no_more(local, fleet):
    api = local
    hub = api.bench.hub
    watch = api.sessions.WatchSessions(pb.WatchSessionsRequest())
    assert (await watch.read()).upsert.name
    entries = list(hub.roster.live.values())
    for number in range(25_000):
        entry = entries[number % len(entries)]
        entry.config_version += 1
        hub.roster.changed(entry)
        if number % 50 == 0:
            await asyncio.sleep(0)
    assert len(hub.roster.feed._ring) == 10_000
    read = 0
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while await watch.read() is not grpc.aio.EOF:
            read += 1
    assert Failure(caught.value).reason == "RESUME_TOKEN_EXPIRED"
    assert read < 15_000, "what it did not read was not kept for it"
    # Whoever starts again gets the present.
    assert (await api.sessions.ListSessions(pb.ListSessionsRequest())).total_size == AGENTS
