from __future__ import annotations

import asyncio

import pytest

from agentd.fleet import Fleet
from agentd.hubs import read_hubs
from agentd.terms import Terms, session_config
from agentd.uplink import State
from carrier_api import Registry
from yamux.testing import Recorder


@pytest.fixture
async def fleet(rig):
    rig.start()
    one = Fleet(Terms(instance="i"), rig.server)
    yield one
    await one.close(now=True)


def hubs(*urls: str):
    found, faults = read_hubs(urls, "a", [], Registry.load())
    assert faults == []
    return found


async def test_sizes(rig, hub, fleet):
    fleet.connect(hubs(hub.url), 2)
    await rig.settle(lambda: all(uplink.state is State.ONLINE for uplink in fleet.uplinks))
    assert [uplink.terms.instance for uplink in fleet.uplinks] == ["i", "i.1"]
    assert fleet.places == {("127.0.0.1", hub.port)}
    fleet.resize(1, ())
    await rig.settle(lambda: sum(not session.is_closed for session in hub.sessions) == 1)
    fleet.resize(3, ())
    await rig.settle(lambda: sum(not session.is_closed for session in hub.sessions) == 3)
    fleet.report()


async def test_other_terms_with_and_without_new_sessions(rig, hub, fleet):
    fleet.connect(hubs(hub.url), 1)
    await rig.settle(lambda: fleet.uplinks[0].session is not None)
    fleet.set_terms(Terms(instance="i", streams=7), renew=False)
    assert fleet.uplinks[0].terms.streams == 7
    assert len(hub.sessions) == 1
    fleet.set_terms(Terms(instance="i", labels=("a=b",)), renew=True)
    await rig.settle(lambda: len(hub.sessions) == 2 and fleet.uplinks[0].session is not None)
    assert not hub.sessions[0].is_closed
    hub.sessions[0].go_away()
    await rig.settle(lambda: hub.sessions[0].is_closed)


async def test_two_ways_to_one_hub_are_one_connection(rig, hub, fleet):
    tcp = hub.url.replace("ws", "tcp")
    fleet.connect(hubs(hub.url, tcp), 1, ("tcp",))
    await rig.settle(lambda: fleet.uplinks[0].session is not None)
    assert [uplink.hub.address.scheme for uplink in fleet.uplinks] == ["tcp"]
    fleet.resize(1, ())
    await rig.settle(lambda: len(hub.sessions) == 2)
    assert fleet.uplinks[0].hub.address.scheme == "ws"


async def test_a_way_that_fails_gives_way_to_the_next(rig, hub, fleet):
    hub.refusal = b"HTTP/1.1 426 X\r\nContent-Length: 0\r\n\r\n"
    fleet.connect(hubs(hub.url, hub.url.replace("ws", "tcp")), 1)
    (uplink,) = fleet.uplinks
    await rig.settle(lambda: uplink.state is State.WAITING)
    assert uplink.hub.address.scheme == "tcp"
    assert "426" in uplink.last_error


async def test_nothing_is_begun_once_it_leaves(rig, hub, fleet):
    fleet.drain()
    fleet.connect(hubs(hub.url), 2)
    assert fleet.uplinks == []


def test_session_config():
    assert session_config(5).max_inbound_streams == 5


async def test_quiet_waits_for_what_is_being_replaced_too(rig, hub, fleet):
    fleet.connect(hubs(hub.url), 1)
    await rig.settle(lambda: fleet.uplinks[0].session is not None)
    seen = Recorder(keep_open=True)
    hub.sessions[0].open_stream(seen)
    seen.transport.write(b"GET ")
    await rig.settle(lambda: fleet.uplinks[0].streams == 1)
    fleet.resize(0, ())
    assert not fleet.uplinks
    fleet.drain()
    quiet = asyncio.create_task(fleet.quiet())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not quiet.done()
    seen.transport.abort()
    await quiet
    assert hub.sessions[0].is_closed
