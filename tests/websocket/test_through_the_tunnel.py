"""WebSocket by raw frames: what a visitor gets through hub and agent is, byte for byte, what it gets without them.

The server is websockets' own protocol; the carrier is put to the same cases in tests/plugins/carrier_websocket.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from conformance.smuggling.rig import agent_of, running_hub
from conformance.websocket import CASES, close_code, visit

LARGEST = 1 << 20


class Echo(asyncio.Protocol):
    """A server made of websockets' protocol: what it answers depends on nothing but the bytes it gets."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.protocol = ServerProtocol(max_size=LARGEST)
        self.opcode = Opcode.BINARY
        self.message = b""
        self.header = bytearray()
        self.left = 0

    def data_received(self, data: bytes) -> None:
        """Headers byte by byte, so that each frame is answered before the next one is seen, however they arrive."""
        if self.protocol.state is not State.OPEN and not self.header:
            self._feed(data)
            return
        at = 0
        while at < len(data):
            take = min(self.left, len(data) - at) or 1
            if self.left:
                self.left -= take
            else:
                self.header += data[at : at + 1]
                self._advance()
            self._feed(data[at : at + take])
            at += take

    def _advance(self) -> None:
        header = self.header
        if len(header) < 2:
            return
        length = header[1] & 0x7F
        extended = {126: 2, 127: 8}.get(length, 0)
        if len(header) == 2 + extended + (4 if header[1] & 0x80 else 0):
            self.left = int.from_bytes(header[2 : 2 + extended], "big") if extended else length
            header.clear()

    def _feed(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self.protocol.send_response(self.protocol.accept(event))
            elif self.protocol.state is State.OPEN:
                self._frame(event)
        self._send()

    def _frame(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self.opcode, self.message = frame.opcode, b""
        elif frame.opcode is not Opcode.CONT:
            return
        self.message += frame.data
        if not frame.fin:
            return
        if self.opcode is Opcode.BINARY:
            self.protocol.send_binary(self.message)
            return
        try:
            self.message.decode()
        except UnicodeDecodeError:
            self.protocol.fail(1007)
        else:
            self.protocol.send_text(self.message)

    def _send(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.transport.write(data)
            else:
                self.transport.close()

    def eof_received(self) -> None:
        self.protocol.receive_eof()
        self._send()


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_g16_the_verdict_through_the_tunnel_is_the_direct_one(echo: int) -> None:
    wrong, codes = [], {}
    async with running_hub() as hub, agent_of(hub, f"http://127.0.0.1:{echo}"):
        port = int(hub.urls[0].rpartition(":")[2])
        for case in CASES:
            direct = await visit(echo, b"/", case)
            through = await visit(port, b"/api/v1/proxy/a/", case)
            codes[case.id] = close_code(direct[1])
            if direct != through:
                wrong.append(
                    f"{case.id} {case.why}: {through[1][-60:]!r} through the tunnel, {direct[1][-60:]!r} without"
                )
    assert wrong == []
    # What the direct connection shows is a verdict at all.
    assert len(CASES) >= 250
    assert 1006 not in codes.values()
    assert {codes[case.id] for case in CASES if case.id[0] in "34" and "bits" not in case.why} == {1002}
    assert {codes[case.id] for case in CASES if case.id[0] == "6" and case.why.startswith("invalid")} == {1007}
