"""Agents that only wait: many of them on one hub, cheap."""

from __future__ import annotations

import asyncio
import socket

from tests.system.harness import DEADLINE, System, settle_fds, until
from tests.system.targets import Target
from tests.system.visitors import fetch

from carrier_websocket import WebSocketCarrier
from tunnel.attach import attach
from yamux import Session
from yamux.carrier import TlsOptions

AGENTS = 200


async def test_two_hundred_idle_agents(system: System, sockets: list[socket.socket]) -> None:
    hub = system.start_hub()
    async with Target(sockets[0]) as target, asyncio.timeout(2 * DEADLINE):
        system.start_agent("real", target.address)
        assert (await fetch(system.port, "/hello", agent="real")).status == 200
        fds, before = hub.fds, hub.rss
        carrier = WebSocketCarrier()
        where = carrier.parse(f"ws://127.0.0.1:{system.port}")
        sessions = [Session(client=True) for _ in range(AGENTS)]
        for start in range(0, AGENTS, 50):
            await asyncio.gather(
                *(
                    attach(
                        carrier, where, f"idle-{number}", sessions[number], tls=TlsOptions(), token=None,
                        headers=[("X-Agent-Instance", f"i{number}")], timeout=DEADLINE,
                    )
                    for number in range(start, start + 50)
                )
            )  # fmt: skip
        await asyncio.gather(*(session.ping(DEADLINE) for session in sessions))
        print(f"\n{AGENTS} idle agents: {(hub.rss - before) / AGENTS / 1024:.1f} KiB each")
        assert (await fetch(system.port, "/hello", agent="real")).status == 200
        assert (await fetch(system.port, "/hello", agent="nobody")).status == 404
        for session in sessions:
            session.abort()
        await until(lambda: system.detached("idle-0") and hub.fds <= fds, "the hub has noticed")
        assert (await fetch(system.port, "/hello", agent="idle-0")).status == 503
    await settle_fds({hub: fds})
