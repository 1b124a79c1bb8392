"""Many agents, and agents whose network goes silent."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from tests.system.harness import DEADLINE, System, settle_fds, until
from tests.system.relay import Relay
from tests.system.targets import Call, Target
from tests.system.visitors import Visitor, fetch

from carrier_websocket import WebSocketCarrier
from tunnel.attach import attach
from yamux import Session
from yamux.carrier import TlsOptions

KIB = 1024


@pytest.mark.parametrize("count", [200, 2000])
async def test_g6_idle_agents_cost_under_100_kib(system: System, count: int) -> None:
    hub = system.start_hub()
    carrier = WebSocketCarrier()
    where = carrier.parse(f"ws://127.0.0.1:{system.port}")
    fds, before = hub.fds, hub.rss
    sessions = [Session(client=True) for _ in range(count)]
    began = time.monotonic()
    for start in range(0, count, 100):
        await asyncio.gather(
            *(
                attach(
                    carrier, where, f"idle-{number}", sessions[number], tls=TlsOptions(), token=None,
                    headers=[("X-Agent-Instance", f"i{number}")], timeout=DEADLINE,
                )
                for number in range(start, start + 100)
            )
        )  # fmt: skip
    taken = time.monotonic() - began
    cpu = sum(hub.stats.cpu_times()[:2])
    await asyncio.sleep(20)
    cpu = (sum(hub.stats.cpu_times()[:2]) - cpu) / 20
    each = (hub.rss - before) / count
    print(f"\n{count} agents in {taken:.1f} s, {each / KIB:.1f} KiB each, idle {cpu:.1%} of a core")
    assert each < 100 * KIB
    await asyncio.gather(*(session.ping(DEADLINE) for session in sessions))
    for session in sessions:
        session.abort()
    await settle_fds({hub: fds})


async def test_e8_a_black_hole_is_found_at_both_ends(system: System, sockets: list[socket.socket]) -> None:
    """The carrier passes nothing any more and tells nobody: both ends give it up, and the agent comes back."""
    system.start_hub()

    async def wait(call: Call) -> None:
        await call.head("200 OK", "Transfer-Encoding: chunked")
        await call.chunk(b"first")
        await call.left()

    async with Target(sockets[0]) as target:
        target.on("/wait", wait)
        with Relay(system.port) as relay:
            system.start_agent("a", target.address, url=f"ws://127.0.0.1:{relay.port}")
            async with Visitor(system.port) as visitor:
                visitor.write_head("GET", visitor.url("/wait"))
                await visitor.head()
                relay.silence()
                began = time.monotonic()
                await until(lambda: system.detached("a"), "the hub gives the agent up", 60)
                at_hub = time.monotonic() - began
                await until(lambda: target.open == 0, "the agent gives the hub up", 60)
                at_agent = time.monotonic() - began
                relay.resume()
            system.wait_attached("a", 2)
            assert (await fetch(system.port, "/hello")).status == 200
    print(f"\nblack hole found after {at_hub:.1f} s by the hub, {at_agent:.1f} s by the agent")
    # Pings every 15 s of which two may go unanswered, and the time it takes to look.
    assert max(at_hub, at_agent) < 32
