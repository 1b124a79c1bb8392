"""Choosing and changing sessions: retries (D10, D11), full sessions (D8), and what is never sent twice."""

from __future__ import annotations

import asyncio
import json

import pytest

from hubd import sessions
from yamux import StreamLimit

P = "/api/v1/proxy/demo"
GET = b"GET /api/v1/proxy/demo/hello HTTP/1.1\r\nHost: hub\r\n\r\n"


def entries(bench):
    return bench.hub.pools.get("demo").entries


async def test_d10_session_that_ended_unseen(bench):
    first = await bench.agent()
    second = await bench.agent()
    # The hub has not heard yet that the first is over.
    broken = entries(bench)[0].session
    broken.abort()
    assert len(entries(bench)) == 2
    visitor = await bench.visitor()
    reply = await visitor.ask(b"POST %b/x HTTP/1.1\r\nHost: hub\r\nContent-Length: 3\r\n\r\nabc" % P.encode())
    assert reply.status == 200
    assert not first.streams and bytes((await second.stream()).body) == b"abc"


async def test_d10_lost_before_a_byte_left(bench, monkeypatch):
    first = await bench.agent()
    second = await bench.agent()
    session = entries(bench)[0].session
    # Nothing leaves this session any more, as on a carrier that takes nothing.
    monkeypatch.setattr(session, "_write_paused", True)
    visitor = await bench.visitor()
    await visitor.send(b"POST %b/x HTTP/1.1\r\nHost: hub\r\nContent-Length: 3\r\n\r\nabc" % P.encode())
    await bench.wait(lambda: session.num_streams == 1)
    first.session.transport.abort()
    assert (await visitor.reply()).status == 200
    assert bytes((await second.stream()).body) == b"abc"
    assert bench.hub.stats.retries == 1


async def test_d10_no_session_left(bench):
    await bench.agent()
    entries(bench)[0].session.abort()
    visitor = await bench.visitor()
    reply = await visitor.ask(GET)
    assert (reply.status, json.loads(reply.body)["code"]) == (503, "agent_offline")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_d11_idempotent_request_is_sent_once_more(bench, method):
    first = await bench.agent(answer=None)
    second = await bench.agent()
    visitor = await bench.visitor()
    await visitor.send(f"{method} {P}/x HTTP/1.1\r\nHost: hub\r\nContent-Length: 3\r\n\r\nabc".encode())
    await bench.wait(lambda: first.streams and first.streams[0].complete)
    first.session.transport.abort()
    assert (await visitor.reply()).status == 200
    assert bytes((await second.stream()).body) == b"abc"
    assert bench.hub.stats.retries == 1


async def test_d11_body_still_coming_goes_on_at_the_next_session(bench):
    first = await bench.agent(answer=None)
    second = await bench.agent()
    visitor = await bench.visitor()
    await visitor.send(f"PUT {P}/x HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".encode())
    stream = await first.stream()
    await bench.wait(lambda: bytes(stream.body) == b"abc")
    first.session.transport.abort()
    other = await second.stream()
    await visitor.send(b"2\r\nde\r\n0\r\n\r\n")
    assert (await visitor.reply()).status == 200
    assert bytes(other.body) == b"abcde"


async def test_d11_only_once(bench):
    agents = [await bench.agent(answer=None) for _ in range(3)]
    visitor = await bench.visitor()
    await visitor.send(GET)
    await agents[0].stream()
    agents[0].session.transport.abort()
    await agents[1].stream()
    agents[1].session.transport.abort()
    reply = await visitor.reply()
    assert (reply.status, json.loads(reply.body)["code"]) == (502, "agent_lost")
    assert not agents[2].streams


async def test_d11_post_is_never_repeated(bench):
    first = await bench.agent(answer=None)
    second = await bench.agent()
    visitor = await bench.visitor()
    await visitor.send(f"POST {P}/x HTTP/1.1\r\nHost: hub\r\nContent-Length: 3\r\n\r\nabc".encode())
    await bench.wait(lambda: first.streams and first.streams[0].complete)
    first.session.transport.abort()
    assert (await visitor.reply()).status == 502
    assert not second.streams


async def test_d11_not_after_a_byte_of_the_response(bench):
    first = await bench.agent(answer=None)
    second = await bench.agent()
    visitor = await bench.visitor()
    await visitor.send(GET)
    stream = await first.stream()
    stream.transport.write(b"HTTP/1.1 ")
    exchange = bench.front.exchange
    await bench.wait(lambda: exchange.reader is not None and exchange.reader.buffered)
    first.session.transport.abort()
    assert (await visitor.reply()).status == 502
    assert not second.streams


async def test_d11_not_when_the_body_is_too_large_to_hold(bench):
    first = await bench.agent(answer=None)
    second = await bench.agent()
    visitor = await bench.visitor()
    body = b"x" * 70_000
    await visitor.send(f"PUT {P}/x HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await bench.wait(lambda: first.streams and first.streams[0].complete)
    first.session.transport.abort()
    assert (await visitor.reply()).status == 502
    assert not second.streams


async def test_d11_reset_by_an_agent_that_is_leaving(bench):
    first = await bench.agent(answer=None)
    second = await bench.agent()
    visitor = await bench.visitor()
    await visitor.send(GET)
    stream = await first.stream()
    first.session.go_away()
    await bench.wait(lambda: not entries(bench)[0].session.can_open)
    stream.transport.abort()
    assert (await visitor.reply()).status == 200
    assert len(second.streams) == 1


async def test_d10_a_stream_that_was_refused_is_opened_elsewhere_whatever_the_method(bench):
    first = await bench.agent(answer=None)
    second = await bench.agent()
    # It refuses before the hub can know: its GoAway is still on the way.
    first.session.core.local_go_away = True
    visitor = await bench.visitor()
    await visitor.send(f"POST {P}/x HTTP/1.1\r\nHost: hub\r\nContent-Length: 3\r\n\r\nabc".encode())
    assert (await visitor.reply()).status == 200
    assert not first.streams
    assert [bytes(stream.body) for stream in second.streams] == [b"abc"]


@pytest.mark.parametrize("said", [True, False])
async def test_d10_an_agent_that_said_it_leaves_has_not_accepted_what_it_never_answered(bench, said):
    first = await bench.agent(answer=None)
    second = await bench.agent()
    session = entries(bench)[0].session
    first.session.transport.pause_reading()
    visitor = await bench.visitor()
    await visitor.send(f"POST {P}/x HTTP/1.1\r\nHost: hub\r\nContent-Length: 3\r\n\r\nabc".encode())
    await bench.wait(lambda: bench.front.exchange is not None and bench.front.exchange.stream.bytes_out)
    if said:
        first.session.go_away()
        await bench.wait(lambda: not session.can_open)
    first.session.transport.abort()
    # Only agents known to acknowledge first are believed.
    again = said and bench.folds
    assert (await visitor.reply()).status == (200 if again else 502)
    assert not first.streams
    assert [bytes(stream.body) for stream in second.streams] == ([b"abc"] if again else [])


async def test_d10_a_stream_that_was_accepted_is_not(bench):
    first = await bench.agent(answer=None)
    second = await bench.agent()
    visitor = await bench.visitor()
    await visitor.send(f"POST {P}/x HTTP/1.1\r\nHost: hub\r\nContent-Length: 3\r\n\r\nabc".encode())
    (await first.stream()).transport.abort()
    assert (await visitor.reply()).status == 502
    assert not second.streams


async def test_e18_an_agent_that_leaves_gets_nothing_new_and_ends_what_it_has(bench):
    first = await bench.agent(answer=None)
    second = await bench.agent()
    visitor, other = await bench.visitor(), await bench.visitor()
    await visitor.send(GET)
    stream = await first.stream()
    first.session.go_away()
    await bench.wait(lambda: not entries(bench)[0].session.can_open)
    assert (await other.get()).status == 200
    assert len(second.streams) == 1
    stream.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert (await visitor.reply()).body == b"ok"


async def test_e18_only_leaving_agents_are_left(bench):
    agent = await bench.agent(answer=None)
    visitor, other = await bench.visitor(), await bench.visitor()
    await visitor.send(GET)
    stream = await agent.stream()
    agent.session.go_away()
    await bench.wait(lambda: not entries(bench)[0].session.can_open)
    reply = await other.get()
    assert (reply.status, json.loads(reply.body)["code"]) == (503, "agent_draining")
    stream.reply(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await visitor.reply()).status == 204
    bench.later(1)
    await bench.wait(lambda: agent.session.is_closed)


async def test_d8_request_waits_for_a_free_stream(bench, monkeypatch):
    monkeypatch.setattr("hubd.sending.MAX_STREAMS", 1)
    monkeypatch.setattr(sessions, "MAX_STREAMS", 1)
    agent = await bench.agent(answer=None)
    first, second = await bench.visitor(), await bench.visitor()
    await first.send(GET)
    stream = await agent.stream()
    await second.send(f"POST {P}/x HTTP/1.1\r\nHost: hub\r\nContent-Length: 6\r\n\r\nabc".encode())
    pool = bench.hub.pools.get("demo")
    await bench.wait(lambda: pool.waiters)
    agent.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    stream.reply(agent.answer)
    assert (await first.reply()).status == 204
    await second.send(b"def")
    assert (await second.reply()).status == 204
    assert bytes(agent.streams[1].body) == b"abcdef"


async def test_d8_a_large_upload_that_waited_is_still_held_back(bench, monkeypatch):
    monkeypatch.setattr("hubd.sending.MAX_STREAMS", 1)
    monkeypatch.setattr(sessions, "MAX_STREAMS", 1)
    agent = await bench.agent(answer=None)
    first, second = await bench.visitor(), await bench.visitor()
    await first.send(GET)
    stream = await agent.stream()
    size = 8 * 1024 * 1024
    agent.raw = agent.uploads = True
    second.writer.write(f"POST {P}/x HTTP/1.1\r\nHost: hub\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size)
    pool = bench.hub.pools.get("demo")
    await bench.wait(lambda: pool.waiters)
    (exchange,) = pool.waiters
    await bench.wait(lambda: exchange.front.read_paused)
    bench.later(0.5)
    assert exchange.front.read_paused and pool.waiters
    stream.reply(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await first.reply()).status == 204
    upload = await agent.stream(1)
    upload.transport.pause_reading()
    await bench.wait(lambda: exchange.front.read_paused)
    assert exchange.stream.get_write_buffer_size() < 1024 * 1024
    upload.transport.resume_reading()
    await bench.wait(lambda: len(upload.raw) > size)
    upload.reply(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await second.reply()).status == 204


async def test_d8_waiting_is_bounded_in_time(bench, monkeypatch):
    monkeypatch.setattr("hubd.sending.MAX_STREAMS", 0)
    monkeypatch.setattr(sessions, "MAX_STREAMS", 0)
    await bench.agent()
    visitor = await bench.visitor()
    await visitor.send(GET)
    pool = bench.hub.pools.get("demo")
    await bench.wait(lambda: pool.waiters)
    bench.later(1)
    assert pool.waiters
    bench.later(3)
    reply = await visitor.reply()
    assert (reply.status, reply.one("retry-after"), json.loads(reply.body)["code"]) == (503, "1", "agent_busy")
    assert not pool.waiters


async def test_d8_waiting_is_bounded_in_number(bench, monkeypatch):
    monkeypatch.setattr("hubd.sending.MAX_STREAMS", 0)
    monkeypatch.setattr(sessions, "MAX_STREAMS", 0)
    monkeypatch.setattr(sessions, "MAX_WAITING", 1)
    await bench.agent()
    first, second = await bench.visitor(), await bench.visitor()
    await first.send(GET)
    await bench.wait(lambda: bench.hub.pools.get("demo").waiters)
    assert (await second.get()).status == 503
    first.reset()
    await bench.wait(lambda: not bench.hub.pools.get("demo").waiters)


async def test_d8_session_that_says_it_is_full(bench, monkeypatch):
    agent = await bench.agent(answer=b"HTTP/1.1 204 No Content\r\n\r\n")
    session = entries(bench)[0].session

    def full(protocol, data=b"", *, end=False):
        raise StreamLimit("too many streams wait for their answer")

    with monkeypatch.context() as patch:
        patch.setattr(session, "open_stream", full)
        visitor = await bench.visitor()
        await visitor.send(GET)
        await bench.wait(lambda: bench.hub.pools.get("demo").waiters)
    bench.later(1)
    assert (await visitor.reply()).status == 204
    assert len(agent.streams) == 1


async def test_waiting_requests_learn_that_the_agent_is_gone(bench, monkeypatch):
    monkeypatch.setattr("hubd.sending.MAX_STREAMS", 0)
    monkeypatch.setattr(sessions, "MAX_STREAMS", 0)
    agent = await bench.agent()
    visitor = await bench.visitor()
    await visitor.send(GET)
    await bench.wait(lambda: bench.hub.pools.get("demo").waiters)
    agent.session.abort()
    reply = await visitor.reply()
    assert (reply.status, json.loads(reply.body)["code"]) == (503, "agent_offline")


async def test_requests_spread_over_sessions(bench):
    agents = [await bench.agent(answer=None) for _ in range(3)]
    visitors = [await bench.visitor() for _ in range(6)]
    for visitor in visitors:
        await visitor.send(GET)
    await bench.wait(lambda: sum(len(agent.streams) for agent in agents) == 6)
    assert [len(agent.streams) for agent in agents] == [2, 2, 2]
    for agent in agents:
        for stream in agent.streams:
            stream.reply(b"HTTP/1.1 204 No Content\r\n\r\n")
    await asyncio.gather(*(visitor.reply() for visitor in visitors))
