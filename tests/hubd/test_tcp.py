"""TCP routes: a port of the hub, a CONNECT to the agent, and bytes both ways."""

from __future__ import annotations

import asyncio
import os
import socket
import struct

import pytest
from tests.hubd.conftest import PATIENCE

from carrier_api import inherited
from hubd.listeners import ListenError, bind
from hubd.ports import Ports
from hubd.store.routes import RouteRecord
from hubd.tcp import TcpVisitor
from tunnel.settings import HostPort

GRANTED = b"HTTP/1.1 200 OK\r\n\r\n"


def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


@pytest.fixture
async def port(bench):
    number = free()
    record = RouteRecord("ssh", tcp_port=number, agent="demo", service="ssh", created=1.0)
    bench.hub.routes.put(record)
    await bench.app.ports.open(record)
    return number


async def raw_agent(bench):
    agent = await bench.agent(answer=None)
    agent.raw = True
    return agent


async def connect(port):
    return await asyncio.open_connection("127.0.0.1", port)


async def gone(reader) -> bytes:
    """What still comes until the hub ends the connection, by whatever way."""
    async with asyncio.timeout(PATIENCE):
        try:
            return await reader.read()
        except ConnectionError:
            return b"reset"


async def stream_of(bench, agent, index=0):
    await bench.wait(lambda: len(agent.streams) > index and b"\r\n\r\n" in agent.streams[index].raw)
    return agent.streams[index]


async def test_bytes_go_both_ways_and_half_closes_too(bench, port):
    agent = await raw_agent(bench)
    agent.raw = True
    reader, writer = await connect(port)
    writer.write(b"SSH-2.0-me\r\n")
    stream = await stream_of(bench, agent)
    assert bytes(stream.raw).startswith(
        b"CONNECT ssh HTTP/1.1\r\nHost: ssh\r\nX-Proxy-Host: ssh\r\nX-Forwarded-For: 127.0.0.1"
    )
    assert b"SSH-2.0-me" not in stream.raw, "nothing is sent before the agent has answered"
    (entry,) = bench.hub.roster.live.values()
    assert (entry.active, entry.requests, bench.hub.active) == (1, 1, 1)
    stream.transport.write(GRANTED + b"SSH-2.0-you\r\n")
    assert await reader.readline() == b"SSH-2.0-you\r\n"
    await bench.wait(lambda: bytes(stream.raw).endswith(b"SSH-2.0-me\r\n"))
    writer.write_eof()
    await bench.wait(lambda: stream.eof)
    assert await gone(reader) == b""
    await bench.wait(lambda: not entry.active and not bench.hub.active and not bench.hub.tunnels)
    writer.close()


async def test_a_refusal_cuts_the_visitor(bench, port):
    agent = await raw_agent(bench)
    reader, writer = await connect(port)
    stream = await stream_of(bench, agent)
    stream.transport.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
    assert await gone(reader) == b"reset"
    (entry,) = bench.hub.roster.live.values()
    await bench.wait(lambda: not bench.hub.active)
    assert (entry.errors, entry.active) == (1, 0) and bench.hub.stats.rejects["tcp_connect_failed"] == 1
    writer.close()


@pytest.mark.parametrize(
    ("answer", "code"),
    [(b"nonsense\r\n\r\n", "bad_response"), (b"x" * 17_000, "bad_response"), (b"", "agent_reset")],
)
async def test_answers_that_are_none(bench, port, answer, code):
    agent = await raw_agent(bench)
    reader, writer = await connect(port)
    stream = await stream_of(bench, agent)
    if answer:
        stream.transport.write(answer)
    else:
        stream.transport.abort()
    assert await gone(reader) == b"reset"
    assert bench.hub.stats.rejects[code] == 1
    writer.close()


async def test_without_an_agent(bench, port):
    reader, writer = await connect(port)
    assert await gone(reader) == b"reset"
    assert bench.hub.stats.rejects["agent_unknown"] == 1
    writer.close()


async def test_a_silent_agent_and_a_visitor_that_leaves(bench, port):
    agent = await raw_agent(bench)
    reader, writer = await connect(port)
    await stream_of(bench, agent)
    bench.later(61)
    assert await gone(reader) == b"reset"
    assert bench.hub.stats.rejects["response_timeout"] == 1
    writer.close()


async def test_idle_connections_end(bench, port):
    agent = await raw_agent(bench)
    reader, writer = await connect(port)
    stream = await stream_of(bench, agent)
    stream.transport.write(GRANTED)
    await bench.wait(lambda: not any(isinstance(one, TcpVisitor) for one in bench.hub.tunnels))
    bench.later(200)
    bench.later(600)
    assert await gone(reader) == b"reset"
    await stream.gone()
    writer.close()


async def test_an_agent_that_is_lost_is_no_end(bench, port):
    agent = await raw_agent(bench)
    reader, writer = await connect(port)
    stream = await stream_of(bench, agent)
    stream.transport.write(GRANTED + b"half")
    assert await reader.readexactly(4) == b"half"
    agent.session.abort()
    assert await gone(reader) == b"reset"
    writer.close()


async def test_visitors_wait_for_a_session_that_follows_one_that_drains(bench, port):
    await bench.agent(instance="one")
    bench.hub.drain_session(next(iter(bench.hub.roster.live.values())), 30.0, "test")
    reader, writer = await connect(port)
    await bench.wait(lambda: bench.hub.pools.get("demo").waiters)
    agent = await bench.agent(answer=None, instance="one")
    agent.raw = True
    stream = await stream_of(bench, agent)
    stream.transport.write(GRANTED + b"there")
    assert await reader.readexactly(5) == b"there"
    writer.close()
    await bench.wait(lambda: not bench.hub.active)


async def test_a_port_cannot_ask_who_comes(bench, port):
    await raw_agent(bench)
    record = bench.hub.agents.get("demo")
    for rule, said in (
        ({"mode": "bearer"}, "prove who they are"),
        ({"allow_networks": ["10.0.0.0/8"]}, "other networks"),
    ):
        bench.hub.agents.put(type(record)("demo", visitors=rule))
        bench.app.identity.visitors.changed("demo")
        assert said in bench.hub.guard.refuses_tcp("demo", "127.0.0.1")
        reader, writer = await connect(port)
        assert await gone(reader) == b"reset"
        writer.close()
    assert bench.hub.guard.refuses_tcp("demo", "10.1.1.1") == ""


async def test_limits_count(bench, port):
    agent = await raw_agent(bench)
    limits = type("L", (), {"request_rate": 0.0, "bandwidth": 0, "streams": 1, "sessions": 0,
                            "visitor_request_rate": 0.0, "visitor_bandwidth": 0})  # fmt: skip
    bench.hub.apply_limits("demo", limits)
    first, one = await connect(port)
    stream = await stream_of(bench, agent)
    second, two = await connect(port)
    assert await gone(second) == b"reset"
    stream.transport.abort()
    assert await gone(first) == b"reset"
    one.close()
    two.close()


async def test_a_visitor_that_resets_is_noticed_while_it_waits(bench, port):
    agent = await raw_agent(bench)
    reader, writer = await connect(port)
    stream = await stream_of(bench, agent)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    async with asyncio.timeout(PATIENCE):
        while not stream.lost:
            bench.later(0.1)
            await asyncio.sleep(0.001)
    assert bench.hub.stats.rejects["visitor_left"] == 1 and reader is not None


async def test_l1_ports_close_with_the_hub_and_can_be_opened_again(bench, port):
    ports: Ports = bench.app.ports
    await ports.stop()
    with pytest.raises(ConnectionRefusedError):
        await connect(port)
    await ports.start()
    _, writer = await connect(port)
    writer.close()
    await ports.stop()
    with socket.create_server(("127.0.0.1", port)):
        await ports.start()
        assert "is in use" in ports.errors["ssh"]
        with pytest.raises(ListenError):
            await ports.open(bench.hub.routes.get("ssh"))


async def test_l4_the_process_that_follows_gets_the_port(bench, port):
    ((place, numbers),) = bench.app.ports.heritage()
    assert place == f"127.0.0.1:{port}"
    sockets = [socket.socket(fileno=os.dup(number)) for number in numbers]
    inherited.adopt(place, sockets)
    await bench.app.ports.stop()
    # The port is still there, and goes to whoever opens it next.
    socket.create_connection(("127.0.0.1", port)).close()
    taken = bind(HostPort("127.0.0.1", port), 10)
    assert taken == sockets
    for sock in taken:
        sock.close()
