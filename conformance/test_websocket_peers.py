"""WebSocket through hub and agent between programs of others: what both ends see is what they see without a tunnel.

On asyncio's own loop: the library websockets decides between a bad message and the close behind it by how its reads fall,
and with uvloop a tunnel brings both in one. What the bytes are is compared in tests/websocket, with uvloop.
"""

from __future__ import annotations

import asyncio

import pytest

from conformance.fixtures import quiet  # noqa: F401
from conformance.smuggling.rig import agent_of, running_hub
from conformance.websocket import CASES, Case, close_code, visit
from conformance.wspeers import CODES, PATIENCE, SERVERS, VISITORS

NEVER_PACKED = {("ws", "wsproto")}
"""Visitor and server that lose each other's compressed messages without a tunnel as well."""


@pytest.mark.parametrize("visitor", VISITORS)
@pytest.mark.parametrize("server", SERVERS)
async def test_g16_a_conversation(visitor: str, server: str) -> None:
    async with (
        SERVERS[server]() as echo, VISITORS[visitor]() as play, running_hub() as hub,
        agent_of(hub, f"http://127.0.0.1:{echo}"),
    ):  # fmt: skip
        url = f"ws://127.0.0.1:{hub.urls[0].rpartition(':')[2]}/api/v1/proxy/a/"
        for who in ("us", "them"):
            for number, code in enumerate(CODES):
                pack = number % 2 == 0 and (visitor, server) not in NEVER_PACKED
                async with asyncio.timeout(PATIENCE):
                    seen = await play(url, code, pack, who)
                wanted = {"packed": pack, "same": True, "pong": "are you there", "code": code}
                assert seen == wanted, (code, pack, who)


@pytest.mark.parametrize("server", SERVERS)
async def test_g16_a_violation_gets_the_same_end(server: str) -> None:
    """What a server makes of a breach reaches the visitor as if there were no tunnel."""
    wrong, codes = [], set()
    async with (
        SERVERS[server]() as echo, running_hub() as hub, agent_of(hub, f"http://127.0.0.1:{echo}"),
    ):  # fmt: skip
        port = int(hub.urls[0].rpartition(":")[2])
        for case in CASES:
            direct, through = await _end(echo, b"/", case), await _end(port, b"/api/v1/proxy/a/", case)
            codes.add(direct)
            if direct != through:
                wrong.append(f"{case.id} {case.why}: {through} through the tunnel, {direct} without")
    assert wrong == []
    assert codes >= {1000, 1002, 1007}


async def _end(port: int, path: bytes, case: Case) -> int:
    status, raw = await visit(port, path, case)
    assert b" 101 " in status, status
    return close_code(raw)
