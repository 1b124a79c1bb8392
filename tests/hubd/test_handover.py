"""Both sides of a hand-over in one process; tests/system has it with processes (row L4)."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys

import pytest

from carrier_api import inherited
from hubd import handover
from hubd.handover import (
    GO,
    NAMES,
    READY,
    SERVING,
    VISITOR,
    Channel,
    HandOverError,
    Heir,
    Predecessor,
    inherit,
    read_heritage,
    reap,
    send_names,
    start_successor,
)
from hubd.reasons import AGENT_OFFLINE

GET = b"GET /api/v1/proxy/demo/hello HTTP/1.1\r\nHost: hub\r\n\r\n"


@pytest.fixture
async def channels():
    pair = [Channel(sock) for sock in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)]
    yield pair
    for channel in pair:
        channel.close()


async def test_the_words_between_them(channels):
    ours, theirs = channels
    names = [f"agent-{number}" for number in range(10_000)]
    predecessor = Predecessor(theirs)
    waiting = asyncio.ensure_future(predecessor.ready())
    await ours.expect(READY)
    send_names(ours, names)
    async with asyncio.timeout(30):
        assert await waiting == names


async def test_a_side_that_is_gone(channels):
    ours, theirs = channels
    theirs.close()
    with pytest.raises(HandOverError, match="ended while it started"):
        await ours.expect(READY)


async def test_the_old_process_is_gone_before_its_word(channels):
    ours, theirs = channels
    waiting = asyncio.ensure_future(Predecessor(theirs).ready())
    await ours.expect(READY)
    ours.close()
    with pytest.raises(HandOverError, match="has gone"):
        await waiting


async def test_a_silent_successor(channels, monkeypatch):
    monkeypatch.setattr(handover, "START_SECONDS", 0.01)
    with pytest.raises(HandOverError, match="in time"):
        await channels[0].expect(READY)


async def two_hubs(start, channels):
    """An old hub that drains, its successor, and what moves between them."""
    old, new = await start(), await start()
    ours, theirs = channels
    receiving = asyncio.ensure_future(Predecessor(theirs).receive(new.app.doors.front))
    await ours.expect(SERVING)
    old.hub.heir = Heir(ours, 0)
    return old, new, receiving


async def test_l4_idle_connections_move(start, channels):
    old, new, receiving = await two_hubs(start, channels)
    await old.agent()
    await new.agent()
    visitors = [await old.visitor() for _ in range(5)]
    for visitor in visitors:
        assert (await visitor.get()).status == 200
    await old.app.stop(5.0)
    assert old.hub.heir.moved == 5
    for visitor in visitors:
        assert (await visitor.get()).status == 200
    assert new.hub.budget.visitors == 5
    old.hub.heir.channel.close()
    await receiving


async def test_l4_a_request_in_progress_is_answered_and_the_connection_moves_then(start, channels):
    old, new, receiving = await two_hubs(start, channels)
    slow = await old.agent(answer=None)
    await new.agent()
    visitor = await old.visitor()
    # The next request is half there already when the first one is answered.
    await visitor.send(GET + GET[:30])
    stream = await slow.stream()
    stopping = asyncio.ensure_future(old.app.stop(5.0))
    await old.wait(lambda: old.hub.draining)
    stream.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    first = await visitor.reply()
    assert first.body == b"ok" and first.one("connection") is None
    await stopping
    await visitor.send(GET[30:])
    assert (await visitor.reply()).status == 200
    old.hub.heir.channel.close()
    await receiving


async def test_l4_a_connection_accepted_at_the_last_moment_moves(start, channels):
    old, new, receiving = await two_hubs(start, channels)
    await new.agent()
    old.hub.draining = True
    visitor = await old.visitor()
    assert (await visitor.get()).status == 200
    assert old.hub.stats.requests == 0 and not old.hub.connections
    old.hub.heir.channel.close()
    await receiving


async def test_l4_a_full_channel_only_delays(start, channels):
    old, new, receiving = await two_hubs(start, channels)
    channel = old.hub.heir.channel
    await new.agent()
    visitor = await old.visitor()
    await visitor.get("/healthz")
    send, full = channel.send, [True]
    channel.send = lambda *message: not full.pop() if full else send(*message)
    await old.app.stop(5.0)
    assert not full and (await visitor.get()).status == 200
    channel.close()
    await receiving


async def test_l4_without_its_successor_connections_end_as_ever(start, channels):
    old, _, receiving = await two_hubs(start, channels)
    visitor = await old.visitor()
    await visitor.get("/healthz")
    channels[1].close()
    receiving.cancel()
    await old.app.stop(5.0)
    assert await visitor.rest() == b""


async def test_l4_requests_wait_for_agents_that_are_about_to_come(start):
    bench = await start()
    bench.hub.pools.expect(["demo", "never"], bench.hub.loop.time() + 100)
    visitor, other = await bench.visitor(), await bench.visitor()
    await visitor.send(GET)
    await other.send(GET.replace(b"demo", b"never"))
    await bench.wait(lambda: bench.hub.active == 2)
    await bench.agent()
    assert (await visitor.reply()).status == 200
    bench.later(200)
    reply = await other.reply()
    assert reply.status == 503 and json.loads(reply.body)["code"] == AGENT_OFFLINE.code
    assert not bench.hub.pools.expected and "never" not in bench.hub.pools.pools


def test_l4_named_sockets_become_settings(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        where = ["{}:{}".format(*sock.getsockname()) for sock in (one, two)]
        monkeypatch.setattr(handover, "activated", lambda _: [("listen", one), ("hubd.socket", two)])
        environ, flags = {}, {"listen": None}
        assert inherit(environ, flags) is None
        assert flags == {"listen": where[0]}
        # A successor is told the same by the environment alone, and a flag that was given wins.
        monkeypatch.setattr(handover, "activated", lambda _: [])
        flags = {"listen": None}
        inherit(environ, flags)
        assert flags == {"listen": where[0]}
        flags = {"listen": "127.0.0.1:1"}
        inherit(environ, flags)
        assert flags == {"listen": "127.0.0.1:1"}
        assert sorted(inherited.close_rest()) == sorted(where)


async def test_the_successor_gets_the_same_words_and_sockets(monkeypatch, tmp_path):
    script = tmp_path / "successor.py"
    script.write_text(
        "import os, socket, sys\n"
        "from hubd.handover import read_heritage\n"
        "from carrier_api import inherited\n"
        "channel = read_heritage(os.environ)\n"
        "port = inherited.take('127.0.0.1', 0)[0].getsockname()[1]\n"
        "left = [name for name in os.environ if name.startswith(('LISTEN_', 'HUBD_INH', 'WATCHDOG_PID'))]\n"
        "channel.send(f'{READY}{sys.argv[1]} {port} {left}'.encode())\n".replace("{READY}", READY.decode())
    )
    monkeypatch.setattr(sys, "orig_argv", ["relative/python", str(script), "word"])
    environ = dict(os.environ, LISTEN_PID="1", WATCHDOG_PID="1", PYTHONPATH=os.pathsep.join(sys.path))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        heir = start_successor([("127.0.0.1:0", [sock.fileno()])], environ)
        async with asyncio.timeout(30):
            kind, data, _ = await heir.channel.receive()
        assert (kind, data.decode()) == (READY, f"word {sock.getsockname()[1]} []")
    await reap(heir.pid)
    heir.kill()
    heir.channel.close()


def test_a_successor_that_cannot_be_started(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(HandOverError, match="cannot start /nowhere/python: No such file"):
        start_successor([], {})


def test_without_a_predecessor():
    assert read_heritage({}) is None


def test_every_message_has_a_kind_of_its_own():
    assert len({READY, NAMES, GO, SERVING, VISITOR}) == 5
