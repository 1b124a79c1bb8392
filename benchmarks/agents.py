"""Many idle agents in one process, so that a hub's cost for each can be read off its memory.

`python -m benchmarks.agents raw|attach HUB COUNT` attaches COUNT agents with ids of their own, prints
"attached COUNT" and holds them until it is ended. "raw" upgrades by hand and leaves the connection
idle, which is all a hub sees of an idle agent that runs yamux right on it; "attach" uses
`tunnel.attach` and `yamux`, as agentd does.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from yamux import Session

ATTACH_TIMEOUT = 10.0


def attach_raw(hub: str, agent_id: str) -> socket.socket:
    """Upgrade one connection without a subprotocol and return it. Raises OSError."""
    parts = urlsplit(hub)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=ATTACH_TIMEOUT)
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET /api/v1/hubs/{agent_id} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece:
            break
        head += piece
    if not head.startswith(b"HTTP/1.1 101 "):
        raise OSError(f"refused: {head[:200]!r}")
    return connection


async def attach_ours(hub: str, agent_id: str) -> Session:
    """Attach one session as agentd does."""
    from carrier_api import Registry
    from tunnel.attach import attach
    from yamux import Session
    from yamux.carrier import TlsOptions

    registry = Registry.load()
    carrier = registry.for_url(hub)
    session = Session(client=True)
    await attach(
        carrier,
        carrier.parse(hub),
        agent_id,
        session,
        tls=TlsOptions(),
        token=None,
        headers=[("X-Agent-Instance", os.urandom(8).hex())],
        timeout=ATTACH_TIMEOUT,
    )
    return session


async def _hold(hub: str, count: int) -> None:
    sessions = [await attach_ours(hub, f"idle-{number}") for number in range(count)]
    print("attached", len(sessions), flush=True)
    await asyncio.gather(*(session.wait_closed() for session in sessions))


def main() -> None:
    """Attach and hold."""
    kind, hub, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if kind == "attach":
        asyncio.run(_hold(hub, count))
        return
    held = [attach_raw(hub, f"idle-{number}") for number in range(count)]
    print("attached", len(held), flush=True)
    held[0].settimeout(None)
    while held[0].recv(4096):
        pass


if __name__ == "__main__":
    main()
