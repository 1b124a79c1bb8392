from __future__ import annotations

import asyncio
import logging

import pytest

from agentd.serve import SPARE_READERS
from tunnel.targets import parse_target

GET = b"GET / HTTP/1.1\r\nHost: v\r\nX-Proxy-Path: /\r\nX-Request-Id: r1\r\n\r\n"


async def hello(client):
    while await client.head():
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


async def test_readers_are_kept_within_bounds(rig):
    rig.start("http://127.0.0.1:1")
    readers = [rig.server.take_reader() for _ in range(SPARE_READERS + 5)]
    for reader in readers:
        rig.server.return_reader(reader)
    assert len(rig.server._readers) == SPARE_READERS
    assert rig.server.take_reader() in readers


async def test_a_reader_serves_again_after_any_request(rig):
    await rig.serve(hello)
    bad = b"GET / HTTP/1.1\r\nHost: v\r\nContent-Length: x\r\n\r\n"
    for request in (GET, bad, GET, GET.replace(b"1.1", b"1.0"), GET, GET.replace(b"GET", b"HEAD"), GET):
        reply = await rig.ask(request)
        assert reply.status == (400 if request is bad else 200)


async def test_names_in_other_spellings(rig):
    rig.start("web=http://h:1")
    server = rig.server
    assert server.find(b"H.:1") is server.find(b"WEB") is server.default is server.pools[0]
    assert server.find(b"h") is None


async def test_other_targets_from_now_on(rig):
    go = asyncio.Event()

    async def wait(client):
        await client.head()
        await go.wait()
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")
        await client.head()

    old = await rig.target(wait)
    new = await rig.target(hello)
    rig.start(old.url)
    server = rig.server
    waiting = rig.send(GET)
    await rig.settle(lambda: bool(old.heads))
    first = server.pools[0]
    server.set_targets([parse_target(f"web={new.url}")])
    assert (await rig.ask(GET)).body == b"hi"
    assert (await rig.ask(GET)).body == b"hi"
    assert server.retired == [first]
    go.set()
    assert (await rig.answer(waiting)).body == b"old"
    await rig.settle(lambda: first.is_over)
    server.sweep(server.now)
    assert server.retired == []
    assert (await rig.ask(GET.replace(b"X-R", b"X-Proxy-Host: %b\r\nX-R" % old.url[7:].encode()))).status == 502


async def test_a_target_that_stays_keeps_its_connections(rig):
    target = await rig.serve(hello)
    await rig.ask(GET)
    rig.server.set_idle_connections(7)
    rig.server.set_targets([parse_target("x=http://127.0.0.1:1"), parse_target(f"web={target.url}")])
    assert [pool.target.name for pool in rig.server.pools] == ["x", "web"]
    assert (await rig.ask(GET.replace(b"X-R", b"X-Proxy-Host: web\r\nX-R"))).body == b"hi"
    assert target.connections == 1
    assert {pool.max_idle for pool in rig.server.pools} == {7}
    rig.server.set_targets([])
    assert rig.server.default is None
    assert (await rig.ask(GET)).status == 502


async def test_counters_and_drain(rig):
    await rig.serve(hello)
    await rig.ask(GET)
    assert (rig.server.served, rig.server.active, dict(rig.server.errors)) == (1, 0, {})
    assert not rig.server.quiet.is_set()
    rig.server.drain()
    assert rig.server.quiet.is_set()


async def test_drain_waits_for_what_is_open(rig):
    go = asyncio.Event()

    async def wait(client):
        await client.head()
        await go.wait()
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    target = await rig.serve(wait)
    seen = rig.send(GET)
    await rig.settle(lambda: bool(target.heads))
    rig.server.drain()
    assert not rig.server.quiet.is_set()
    go.set()
    assert (await rig.answer(seen)).status == 200
    assert rig.server.quiet.is_set()


async def test_failures_are_logged_with_what_the_visitor_is_not_told(rig, caplog):
    await rig.serve(hello)
    with caplog.at_level(logging.WARNING):
        reply = await rig.ask(GET[:-2] + b"X-Proxy-Host: 10.0.0.1:22\r\n\r\n")
    assert b"10.0.0.1" not in reply.raw
    (record,) = caplog.records
    assert (record.reason, record.target, record.request_id) == ("target_not_allowed", "10.0.0.1:22", "r1")


async def test_visitors_who_leave_are_not_logged(rig, caplog):
    async def wait(client):
        await client.head()
        await client.ended()

    target = await rig.serve(wait)
    with caplog.at_level(logging.DEBUG, "agentd"):
        seen = rig.send(GET)
        await rig.settle(lambda: bool(target.heads))
        seen.transport.abort()
        await rig.settle(lambda: not rig.server.open)
    assert caplog.records == []
    assert rig.server.errors == {"visitor_left": 1}


async def test_many_visitors_who_leave_at_once_do_not_end_the_session(rig):
    async def wait(client):
        await client.head()
        await client.ended()

    await rig.serve(wait)
    for _ in range(8):
        seen = [rig.send(GET) for _ in range(200)]
        await rig.settle(lambda: len(rig.server.open) == 200)
        for one in seen:
            one.transport.abort()
        await rig.settle(lambda: not rig.server.open)
    assert not rig.agent.is_closed


@pytest.mark.parametrize("path", ["s.sock"])
async def test_targets_behind_sockets(rig, tmp_path, path):
    await rig.target_socket(hello, str(tmp_path / path))
    rig.start(f"app=unix://{tmp_path}/{path}")
    assert (await rig.ask(GET)).body == b"hi"
    assert (await rig.ask(GET[:-2] + b"X-Proxy-Host: app\r\n\r\n")).body == b"hi"


async def test_targets_behind_tls(rig, certificates):
    import ssl

    from yamux.carrier import TlsOptions

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server)
    target = await rig.target(hello, ssl=context)
    rig.start(f"https://localhost:{target.port}", tls=TlsOptions(ca_file=certificates.ca))
    for _ in range(2):
        assert (await rig.ask(GET)).body == b"hi"
    assert target.connections == 1
