from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import time

import grpc
import grpc.aio
import pytest
from tests.hubd.conftest import until
from tests.hubd.control.conftest import Stream, services

from hubd.control import link as links
from hubd.control.book import ConfigBook
from tunnelpb.agent.v1 import control_pb2 as pb
from tunnelpb.agent.v1.control_pb2_grpc import AgentControlServiceStub
from yamux.testing import Recorder


def only(bench):
    (found,) = bench.hub.control.links.values()
    return found


async def test_the_101_offers_it(start, control):
    bench = await start()
    agent = await bench.agent()
    assert agent.info.offers("control")
    plain = await start(control=False)
    other = await plain.agent()
    assert not other.info.offers("control")
    seen = Recorder()
    other.session.open_stream(seen)
    await seen.until(lambda: seen.closed)


async def test_welcome_names_the_session(start, control):
    bench = await start(id="h1")
    stream = await control(bench, labels={"zone": "b", "bad key": "x"}, allowed_services=["web"])
    (entry,) = bench.hub.pools.sessions()
    welcome = stream.heard[0].welcome
    assert (welcome.hub, welcome.session) == ("hubs/h1", f"sessions/{entry.id}")
    await until(lambda: entry.controlled)
    assert (only(bench).allowed, only(bench).own_labels) == (("web",), {"zone": "b"})
    await stream.close()
    await until(lambda: not entry.controlled and not bench.hub.control.links)
    await until(lambda: bench.hub.control._names == {} == bench.hub.control._bridges)


async def test_one_stream_for_each_session(start, control, streams):
    bench = await start()
    stream = await control(bench)
    seen = Recorder()
    stream.session.open_stream(seen)
    await seen.until(lambda: seen.closed)
    assert seen.error is not None
    # The first one lives on, and is followed by another once it is closed.
    await stream.close()
    await until(lambda: not bench.hub.control._bridges)
    again = await Stream(stream.session).open()
    streams.append(again)
    await again.connect()
    assert again.heard[0].HasField("welcome")


async def test_descriptors_are_counted_and_kept_for_others(start, control):
    bench = await start()
    budget = bench.hub.budget
    stream = await control(bench)
    assert budget.agents == 3
    await stream.close()
    await until(lambda: budget.agents == 1)
    budget.stop = 1
    seen = Recorder()
    stream.session.open_stream(seen)
    await seen.until(lambda: seen.closed)


async def test_a_second_connect_on_one_stream_is_refused(start, control):
    bench = await start()
    stream = await control(bench)
    call = stream.stub.Connect()
    await call.write(pb.ConnectRequest(hello=pb.Hello()))
    assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert len(bench.hub.control.links) == 1


async def test_what_is_no_grpc_ends_the_stream(start):
    bench = await start()
    agent = await bench.agent()
    seen = Recorder()
    agent.session.open_stream(seen)
    seen.transport.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
    await seen.until(lambda: seen.closed or seen.eof)
    await until(lambda: not bench.hub.control._bridges)


async def test_an_agent_that_keeps_opening_streams_is_ended(start, monkeypatch):
    monkeypatch.setattr("hubd.attach.CHURN_LIMIT", 5)
    bench = await start()
    agent = await bench.agent()
    # The first one is bridged, all others are refused.
    first = Recorder()
    agent.session.open_stream(first)
    for _ in range(20):
        if not agent.session.can_open:
            break
        seen = Recorder()
        agent.session.open_stream(seen)
        await seen.until(lambda seen=seen: seen.closed)
    await until(lambda: agent.session.is_closed)


async def test_the_hub_says_hello_must_come(start, control, monkeypatch):
    monkeypatch.setattr("hubd.control.server.HELLO_TIMEOUT", 0.05)
    bench = await start()
    stream = await control(bench, connect=False)
    assert await stream.stub.Connect().code() is grpc.StatusCode.FAILED_PRECONDITION
    call = stream.stub.Connect()
    await call.write(pb.ConnectRequest(status=pb.Status()))
    assert "hello" in await call.details()


async def test_nobody_else_gets_at_the_listener(start, control):
    bench = await start()
    await control(bench)
    desk = bench.hub.control
    found = os.stat(desk._folder)
    assert stat.S_IMODE(found.st_mode) == 0o700
    assert found.st_uid == os.geteuid()
    (peer,) = desk._names
    name = peer.removeprefix("unix-abstract:")
    assert len(name) > 30
    # Held by the hub, so nobody can take the name of a session that is there.
    with socket.socket(socket.AF_UNIX) as other, pytest.raises(OSError, match="in use"):
        other.bind(f"\0{name}")


async def test_a_connection_of_another_name_is_no_session(start, control):
    """Whoever gets past the directory, say as the same user, still is nobody."""
    bench = await start()
    await control(bench)
    desk = bench.hub.control
    async with grpc.aio.insecure_channel(f"unix:{desk._server.path}") as channel:
        stub = AgentControlServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ReportStatus(pb.ReportStatusRequest())
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert await stub.Connect().code() is grpc.StatusCode.UNAUTHENTICATED


async def test_names_in_the_file_system_do_as_well(start, control, monkeypatch):
    from hubd.control import bridge, names

    monkeypatch.setattr(bridge, "bind", lambda sock, folder, name: names.bind(sock, folder, name, abstract=False))
    bench = await start()
    stream = await control(bench)
    desk = bench.hub.control
    (peer,) = desk._names
    path = peer.removeprefix("unix:")
    assert stream.heard[0].welcome.session.endswith(path.rpartition("-")[2])
    assert os.path.exists(path)
    await stream.close()
    await until(lambda: not os.path.exists(path))


async def test_a_push_to_every_session_of_an_agent(start, control):
    bench = await start()
    first, second = await control(bench, labels={"a": "1", "b": "1"}), await control(bench)
    other = await control(bench, "other")
    config = services(web="http://h:1")
    config.labels["b"] = "2"
    record = ConfigBook(bench.hub).update("demo", config, author="me")
    await until(lambda: all(link.applied == 1 for link in bench.hub.control.of_agent("demo")))
    assert [len(stream.pushes) for stream in (first, second, other)] == [1, 1, 0]
    push = first.pushes[0]
    assert (push.version, push.config) == (record.version, config)
    entry = bench.hub.control.of_agent("demo")[0].entry
    assert (entry.config_version, entry.labels) == (1, ("a=1", "b=2"))


async def test_what_an_agent_runs_already_is_not_pushed(start, control):
    bench = await start()
    book = ConfigBook(bench.hub)
    bench.hub.agents.attached("demo")
    book.update("demo", services(web="http://h:1"), author="me")
    wanted = bench.hub.control.wanted("demo")
    same = await control(bench, applied_config_version=1, applied_config_digest=wanted.digest)
    await until(lambda: only(bench).entry.controlled)
    assert (only(bench).applied, only(bench).entry.config_version, same.pushes) == (1, 1, [])
    # The number of another hub's making says nothing.
    other = await control(bench, applied_config_version=1, applied_config_digest=b"x" * 32)
    await until(lambda: other.pushes)


async def test_one_in_flight_and_then_the_newest(start, control):
    bench = await start()
    stream = await control(bench)
    stream.silent = True
    book = ConfigBook(bench.hub)
    for number in (1, 2, 3):
        book.update("demo", services(web=f"http://h:{number}"), author="me")
    await until(lambda: stream.pushes)
    assert [push.version for push in stream.pushes] == [1]
    stream.silent = False
    await stream.answer(stream.pushes[0], nonce="another")
    await stream.answer(stream.pushes[0])
    await until(lambda: only(bench).applied == 3)
    assert [push.version for push in stream.pushes] == [1, 3]


async def test_a_nack_is_kept_and_told(start, control):
    bench = await start()
    stream = await control(bench)
    book = ConfigBook(bench.hub)
    book.update("demo", services(web="http://h:1"), author="me")
    await until(lambda: only(bench).applied == 1)
    stream.refusing = "services[0]: port taken\nsecond\x1b line"
    book.update("demo", services(web="http://h:2"), author="me")
    await until(lambda: only(bench).refused == 2)
    assert (only(bench).applied, only(bench).entry.config_version) == (1, 1)
    assert book.get("demo").last_error == only(bench).last_error == "services[0]: port taken\nsecond\\x1b line"
    types = [happening.type for _, happening in bench.hub.events.feed.kept()]
    assert types[-2:] == ["config.updated", "config.refused"]
    stream.refusing = ""
    assert book.rollback("demo", 0, author="me").version == 3
    await until(lambda: only(bench).applied == 3)
    assert only(bench).last_error == ""


async def test_an_agent_that_does_not_answer_loses_its_stream(start, control, monkeypatch):
    monkeypatch.setattr(links, "ANSWER_TIMEOUT", 0.05)
    bench = await start()
    stream = await control(bench)
    stream.silent = True
    link = only(bench)
    ConfigBook(bench.hub).update("demo", services(web="http://h:1"), author="me")
    await until(lambda: not bench.hub.control.links)
    assert "no answer within" in link.last_error
    assert not stream.session.is_closed


async def test_an_agent_that_talks_too_much_loses_its_call(start, control, monkeypatch):
    monkeypatch.setattr(links, "BURST", 5)
    bench = await start()
    stream = await control(bench)
    # The call may end before the last of them is written.
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        for number in range(10):
            await stream.call.write(pb.ConnectRequest(status=pb.Status(served=number)))
    await until(lambda: not bench.hub.control.links)
    assert not stream.session.is_closed


async def test_status_and_probe(start, control):
    bench = await start()
    stream = await control(bench)
    await until(lambda: bench.hub.control.links)
    await stream.call.write(pb.ConnectRequest(status=pb.Status(served=7)))
    await until(lambda: only(bench).status is not None)
    await stream.stub.ReportStatus(pb.ReportStatusRequest(status=pb.Status(served=8)))
    assert only(bench).status.served == 8
    assert 0 < await only(bench).probe(5) < 5
    stream.silent = True
    with pytest.raises(TimeoutError):
        await only(bench).probe(0.01)
    waiting = asyncio.ensure_future(only(bench).probe(5))
    await asyncio.sleep(0)
    await stream.close()
    with pytest.raises(ConnectionError):
        await waiting


async def test_drain_notice(start, control):
    bench = await start()
    stream = await control(bench)
    await until(lambda: bench.hub.control.links)
    entry = only(bench).entry
    deadline = time.time() + 60
    assert bench.hub.control.notify_drain(entry, deadline, "upgrade", 1.5)
    await until(lambda: len(stream.heard) == 2)
    notice = stream.heard[1].drain_notice
    assert (notice.reason, notice.reconnect_after.ToMilliseconds()) == ("upgrade", 1500)
    assert abs(notice.deadline.ToMilliseconds() / 1000 - deadline) < 0.002
    other = await bench.agent("other")
    (found,) = bench.hub.pools.get("other").entries
    assert not bench.hub.control.notify_drain(found, deadline, "x", 0)
    assert not other.session.is_closed


async def test_enrolling(start, control):
    bench = await start()
    stream = await control(bench)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.stub.Enroll(pb.EnrollRequest())
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "join token" in caught.value.details()


async def test_a_join_token_becomes_a_token_of_ones_own(start, control):
    bench = await start()
    book = bench.app.identity.tokens
    row, _ = book.create("join", uses=1)
    stream = await control(bench, "new", connect=False)
    (entry,) = bench.hub.pools.sessions()
    entry.joining, entry.token_id = True, row.id
    assert await stream.stub.Connect().code() is grpc.StatusCode.FAILED_PRECONDITION
    answer = await stream.stub.Enroll(pb.EnrollRequest(agent_version="1"))
    assert answer.agent == "agents/new"
    assert book.verify(answer.token, ("agent",)).agent == "new"
    with pytest.raises(grpc.aio.AioRpcError, match="has tokens already"):
        await stream.stub.Enroll(pb.EnrollRequest(agent_version="1"))


async def test_the_end_of_the_hub_ends_the_streams(start, control):
    bench = await start()
    stream = await control(bench)
    folder = bench.hub.control._folder
    await bench.hub.control.stop()
    await until(lambda: not stream.stitch.open)
    assert not folder.exists()
    await bench.hub.control.stop()
