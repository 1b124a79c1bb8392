"""Enrolling, as far as a hub can go wrong; the good way is in tests/system/test_enroll.py."""

from __future__ import annotations

import asyncio

import pytest

from agentd.enroll import EnrollError, enroll
from agentd.hubs import read_hubs
from carrier_api import Registry
from tunnel.logs import Secret
from yamux import Session
from yamux.carrier import TlsOptions

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: yamux\r\n"


async def ask(tunnel_hub: bytes, timeout: float = 30.0) -> None:
    """Enrol with a hub that attaches everybody and lets streams fall."""
    sessions: list[Session] = []

    class HubSide(asyncio.Protocol):
        def connection_made(self, transport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(ANSWER + tunnel_hub + b"\r\n")
            session = Session(client=False, stream_factory=Refusal)
            sessions.append(session)
            self.transport.set_protocol(session)
            session.connection_made(self.transport)

    class Refusal(asyncio.Protocol):
        def connection_made(self, transport) -> None:
            transport.abort()

    server = await asyncio.get_running_loop().create_server(HubSide, "127.0.0.1", 0)
    try:
        url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        hubs, faults = read_hubs([url], "demo", (), Registry.load(), token=True)
        assert not faults
        await enroll(hubs[0], Secret("join"), tls=TlsOptions(), timeout=timeout)
    finally:
        server.close()
        for session in sessions:
            session.abort()
            await session.wait_closed()


async def test_a_hub_without_control_streams_enrols_nobody() -> None:
    with pytest.raises(EnrollError, match="enrols no agents"):
        await ask(b"Tunnel-Hub: other/1\r\n")


async def test_a_hub_that_refuses_the_stream_gave_no_token() -> None:
    with pytest.raises(EnrollError, match="gave no token"):
        await ask(b"Tunnel-Hub: hubd/1; control=1\r\n")
