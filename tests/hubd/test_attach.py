"""Agents that come, are refused, replace each other and go (rows E4, E8, E10, E11, E14)."""

from __future__ import annotations

import asyncio
import json

import pytest

from hubd.applicant import AttachDenied, Grant
from hubd.reasons import UNAUTHORIZED
from tunnel.attach import AttachRefused
from yamux import Session, StreamReset
from yamux.frames import ACK, DATA, PING, SYN, WINDOW_UPDATE, pack, unpack_from

UPGRADE = (
    b"GET /api/v1/proxy/demo/ws HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ASK = b"GET /api/v1/hubs/demo HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: yamux\r\n"
GET = b"GET /api/v1/proxy/demo/hello HTTP/1.1\r\nHost: hub\r\n\r\n"


async def test_attach_tells_who_answers(bench):
    agent = await bench.agent()
    assert agent.info is not None and agent.info.server.partition(";")[0] == "hubd/0.1.0"
    (entry,) = bench.hub.pools.sessions()
    assert entry.agent_id == "demo" and entry.peer == "127.0.0.1" and entry.raw_path
    assert bench.hub.budget.agents == 1 and bench.hub.stats.agents_attached == 1


async def test_frames_are_folded_with_agents_that_ask_for_it_only(bench):
    agent = await bench.agent(answer=None)
    other = await bench.agent("other", instance=None)
    assert agent.info is not None and agent.info.offers("fold") == bench.folds
    assert other.info is not None and not other.info.offers("fold")
    entry = bench.hub.pools.get("demo").entries[0]
    assert entry.folds == bench.folds
    for number, (request, ends) in enumerate(((GET, bench.folds), (UPGRADE, False))):
        visitor = await bench.visitor()
        await visitor.send(request)
        stream = await agent.stream(number)
        assert stream.request is not None
        assert stream.eof is ends, "the end of the request comes with it"
        stream.reply(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert (await visitor.reply()).status == 204


async def test_session_bytes_sent_with_the_request_are_not_lost(bench):
    visitor = await bench.visitor()
    ping = bytes([0, 2, 0, 1, 0, 0, 0, 7, 0, 0, 0, 9])[:4] + bytes(4) + bytes([0, 0, 0, 9])
    await visitor.send(ASK + b"\r\n" + ping)
    assert (await visitor.head()).status == 101
    async with asyncio.timeout(60):
        while (frame := await visitor.reader.readexactly(12)) != bytes([0, 2, 0, 2]) + bytes(4) + bytes([0, 0, 0, 9]):
            assert frame[1] == 2


async def test_an_agent_that_says_nothing_of_itself_gets_streams_once_it_answered_a_ping(bench):
    agent = await bench.visitor()
    await agent.send(ASK + b"\r\n")
    assert (await agent.head()).status == 101
    visitor = await bench.visitor()
    await visitor.send(GET)
    async with asyncio.timeout(60):
        # Whatever comes before our answer is a ping: the visitor's request waits.
        kind, flags, stream, value = unpack_from(await agent.reader.readexactly(12))
        assert (kind, flags, stream) == (PING, SYN, 0)
        (entry,) = bench.hub.pools.sessions()
        assert not entry.can_open and not entry.session.num_streams
        while kind == PING:
            await agent.send(pack(PING, ACK, 0, value))
            kind, flags, stream, value = unpack_from(await agent.reader.readexactly(12))
        assert (kind, flags, stream) == (WINDOW_UPDATE, SYN, 2)
        kind, _, stream, size = unpack_from(await agent.reader.readexactly(12))
        assert (kind, stream) == (DATA, 2)
        assert (await agent.reader.readexactly(size)).startswith(b"GET /api/v1/proxy/demo/hello HTTP/1.1\r\n")


@pytest.mark.parametrize("scheme", ["tcp", "ws"])
async def test_every_kind_of_upgrade_carries_requests(bench, scheme):
    size = 300_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    agent = await bench.agent(answer=answer, scheme=scheme)
    visitor = await bench.visitor()
    for _ in range(3):
        assert (await visitor.get()).body == b"x" * size
    assert len(agent.streams) == 3


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"GET /api/v1/hubs/demo HTTP/1.1\r\nHost: hub\r\n\r\n", 426, "upgrade_required"),
        (ASK.replace(b"yamux", b"other") + b"\r\n", 426, "upgrade_unknown"),
        (ASK + b"Origin: http://evil\r\n\r\n", 403, "origin_not_allowed"),
        (ASK.replace(b"demo ", b"demo?token=x ") + b"\r\n", 400, "token_in_query"),
        (ASK.replace(b"demo", b"..") + b"\r\n", 404, "not_found"),
        (ASK.replace(b"demo", b"a%20b") + b"\r\n", 404, "not_found"),
        (ASK + b"X-Agent-Instance: a b\r\n\r\n", 400, "bad_agent_instance"),
        (ASK + b"X-Agent-Label: nothing\r\n\r\n", 400, "bad_label"),
        (ASK + b"Authorization: a\r\nAuthorization: b\r\n\r\n", 400, "bad_authorization"),
    ],
)
async def test_e14_refused_handshakes(bench, data, status, code):
    visitor = await bench.visitor()
    reply = await visitor.ask(data)
    assert (reply.status, json.loads(reply.body)["code"], reply.one("connection")) == (status, code, "close")
    assert await visitor.rest() == b""
    assert bench.hub.stats.agents_refused == {code: 1}
    assert not bench.hub.pools.sessions()


async def test_without_dev_no_agent_attaches_without_a_token(start, tmp_path):
    bench = await start(dev=False, store={"path": tmp_path / "hub.db"})
    with pytest.raises(AttachRefused) as caught:
        await bench.agent()
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")
    visitor = await bench.visitor()
    assert (await visitor.ask(ASK + b"\r\n")).one("www-authenticate") == "Bearer"


async def test_the_decision_is_given_what_the_agent_said(start):
    seen = []

    async def authorize(request):
        seen.append(request)
        if request.agent_id != "demo":
            raise AttachDenied(UNAUTHORIZED)
        return Grant()

    bench = await start(authorize=authorize)
    visitor = await bench.visitor()
    await visitor.send(
        ASK + b"Authorization: Bearer t0ken\r\nX-Agent-Instance: i1\r\nAgent-Version: agentd/1\r\n"
        b"X-Agent-Label: a=b\r\nX-Agent-Label: c=d\r\n\r\n"
    )
    assert (await visitor.head()).status == 101
    (request,) = seen
    assert (request.instance, request.version, request.labels) == ("i1", "agentd/1", ("a=b", "c=d"))
    assert request.authorization == b"Bearer t0ken" and "t0ken" not in repr(request)
    with pytest.raises(AttachRefused):
        await bench.agent("other")


async def test_a_decision_that_fails_or_hangs_is_a_refusal(start):
    async def broken(request):
        raise RuntimeError("store is gone")

    async def stuck(request):
        await asyncio.Event().wait()

    for authorize in (broken, stuck):
        bench = await start(authorize=authorize, timeouts={"attach": 0.05})
        visitor = await bench.visitor()
        reply = await visitor.ask(ASK + b"\r\n")
        assert (reply.status, json.loads(reply.body)["code"]) == (503, "attach_timeout")


async def test_an_agent_that_leaves_during_the_decision(start):
    go = asyncio.Event()

    async def authorize(request):
        await go.wait()
        return Grant()

    bench = await start(authorize=authorize)
    visitor = await bench.visitor()
    await visitor.send(ASK + b"\r\n")
    await bench.wait(lambda: bench.app.desk._deciding)
    visitor.reset()
    await bench.wait(lambda: not bench.hub.connections)
    go.set()
    await bench.wait(lambda: not bench.app.desk._deciding)
    assert not bench.hub.pools.sessions() and bench.hub.budget.agents == 0


async def test_e11_admission_gate(start):
    go = asyncio.Event()

    async def authorize(request):
        await go.wait()
        return Grant()

    bench = await start(authorize=authorize, limits={"handshakes": 3})
    waiting = [asyncio.ensure_future(bench.agent(f"a{n}")) for n in range(3)]
    await bench.wait(lambda: len(bench.app.desk._deciding) == 3)
    with pytest.raises(AttachRefused) as caught:
        await bench.agent("a4")
    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (503, "attach_busy", 1.0)
    go.set()
    await asyncio.gather(*waiting)
    await bench.agent("a4")
    assert len(bench.hub.pools) == 4


async def test_e10_second_session_of_an_instance_replaces_the_first(bench):
    old = await bench.agent(answer=None, instance="one")
    visitor, other = await bench.visitor(), await bench.visitor()
    await visitor.send(GET)
    stream = await old.stream()
    new = await bench.agent(instance="one")
    assert len(bench.hub.pools) == 1
    assert (await other.get()).status == 200
    assert len(new.streams) == 1 and len(old.streams) == 1
    bench.later(1)
    assert not old.session.is_closed
    stream.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")
    assert (await visitor.reply()).body == b"old"
    bench.later(2)
    await bench.wait(lambda: old.session.is_closed)
    assert (await other.get()).status == 200
    await bench.wait(lambda: bench.hub.budget.agents == 1)


async def test_e10_a_dead_first_session_ends_alone(bench):
    old = await bench.agent(instance="one")
    await bench.agent(instance="one")
    bench.later(1)
    await bench.wait(lambda: old.session.is_closed and len(bench.hub.pools.sessions()) == 1)


async def test_e10_other_instances_share_the_id(bench):
    await bench.agent(instance="one")
    await bench.agent(instance="two")
    await bench.agent(instance=None)
    await bench.agent(instance=None)
    assert len(bench.hub.pools) == 4
    assert [entry.raw_path for entry in bench.hub.pools.get("demo").entries] == [True, True, False, False]


async def test_e4_streams_of_the_agent_are_refused(bench):
    agent = await bench.agent()
    # One may be the control stream.
    control = await agent.session.open()
    stream = await agent.session.open()
    with pytest.raises(StreamReset):
        await stream.read()
    assert not agent.session.is_closed
    control.reset()


async def test_e4_an_agent_that_goes_on_opening_streams_is_cut(bench):
    agent = await bench.agent()
    control = await agent.session.open()

    async def churn(session: Session) -> None:
        while not session.is_closed:
            stream = await session.open()
            try:
                await stream.read()
            except StreamReset:
                pass

    with pytest.raises(ConnectionError):
        await churn(agent.session)
        raise ConnectionError
    await bench.wait(lambda: not bench.hub.pools.sessions())
    control.reset()


async def test_attach_while_draining(bench):
    bench.hub.draining = True
    with pytest.raises(AttachRefused) as caught:
        await bench.agent()
    assert caught.value.code == "hub_draining"
    bench.hub.draining = False


async def test_session_settings():
    from hubd.attach import SESSION

    assert SESSION.keepalive_interval + SESSION.keepalive_timeout <= 30


async def test_a_denied_agent_is_refused_until_it_is_allowed(bench):
    bench.hub.agents.deny("demo", "bad", None)
    with pytest.raises(AttachRefused) as caught:
        await bench.agent()
    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (403, "agent_denied", 60)
    bench.hub.agents.allow("demo")
    await bench.agent()
    (entry,) = bench.hub.roster.live.values()
    assert entry.epoch == 1 and entry.carrier == "yamux"


async def test_epochs_grow_with_every_session(bench):
    for _ in range(2):
        await bench.agent()
    assert sorted(entry.epoch for entry in bench.hub.roster.live.values()) == [1, 2]
