"""The carrier against the table of raw frames: it fails what websockets' own protocol fails, with the same code."""

from __future__ import annotations

import asyncio

import pytest
from tests.plugins.carrier_websocket.test_transport import open_side
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from conformance.websocket import CASES, Case
from yamux.testing import CLEAN, TINY, Link

FAILURES = (1002, 1003, 1007, 1008, 1009)


def verdict(case: Case) -> int:
    """The code of the answer; text is a failure that websockets knows nothing of, and "no code" is 1000 here."""
    protocol = Protocol(Side.SERVER, max_size=1 << 20)
    for data in case.frames:
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                return 1003
    if "shortest" in case.why:
        return 1002
    sent = protocol.close_sent
    return 1000 if sent is None or sent.code == 1005 else int(sent.code)


@pytest.mark.parametrize("link", [CLEAN, TINY], ids=["whole", "tiny"])
async def test_e12_e13_violations_end_with_their_code(link: Link) -> None:
    wrong = []
    seen = set()
    for case in CASES:
        if link is TINY and sum(map(len, case.frames)) > 4096:
            continue
        side = open_side(client=False, link=link)
        for data in case.frames:
            side.send(data)
        async with asyncio.timeout(60):
            await side.wire.until(lambda side=side: any(opcode == 8 for opcode, _ in side.sent()))
        code = next(int.from_bytes(payload[:2], "big") for opcode, payload in side.sent() if opcode == 8)
        expected = verdict(case)
        seen.add(expected)
        if code != expected:
            wrong.append(f"{case.id} {case.why}: {code}, not {expected}")
        side.transport.abort()
    assert wrong == []
    assert seen >= {1000, 1002, 1003, 1007}
