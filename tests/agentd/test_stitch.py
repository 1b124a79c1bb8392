from __future__ import annotations

import asyncio
import os
import socket

import pytest

from agentd.stitch import Stitch
from yamux import Session
from yamux.testing import Recorder, memory_pair


@pytest.fixture
async def pair():
    seen: list[Recorder] = []

    def factory():
        seen.append(Recorder(keep_open=True))
        return seen[-1]

    agent, hub = Session(client=True), Session(client=False, stream_factory=factory)
    memory_pair(agent, hub)
    yield agent, seen
    await agent.close(0.1)
    await hub.close(0.1)


def dial(target: str) -> socket.socket:
    scheme, _, name = target.partition(":")
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(f"\0{name}" if scheme == "unix-abstract" else name)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


@pytest.mark.parametrize("abstract", [True, False])
async def test_one_connection_becomes_a_stream(pair, abstract, rig):
    session, seen = pair
    stitch = Stitch(session, abstract=abstract)
    await stitch.start()
    loop = asyncio.get_running_loop()
    with dial(stitch.target) as sock:
        await loop.sock_sendall(sock, b"up")
        await rig.settle(lambda: seen and seen[0].data == b"up")
        assert stitch.open
        # Nobody else is let in, and nothing is left in the file system.
        with pytest.raises(OSError):
            dial(stitch.target)
        if not abstract:
            assert not os.path.exists(stitch.target.partition(":")[2])
        seen[0].transport.write(b"down")
        assert await loop.sock_recv(sock, 100) == b"down"
        stitch.close()
        assert await loop.sock_recv(sock, 100) == b""
    await rig.settle(lambda: not stitch.open)
    stitch.close()


async def test_another_process_is_turned_away(pair, rig, monkeypatch):
    session, seen = pair
    stitch = Stitch(session)
    await stitch.start()
    # What the kernel says of the peer is not this process.
    monkeypatch.setattr("agentd.stitch.os.getpid", lambda: 1)
    with dial(stitch.target) as sock:
        loop = asyncio.get_running_loop()
        try:
            assert await loop.sock_recv(sock, 100) == b""
        except ConnectionResetError:
            pass
    assert not stitch.open
    assert seen == []
    stitch.close()


async def test_a_session_that_takes_no_stream(pair, rig):
    session, seen = pair
    stitch = Stitch(session)
    await stitch.start()
    session.abort()
    with dial(stitch.target) as sock:
        loop = asyncio.get_running_loop()
        try:
            assert await loop.sock_recv(sock, 100) == b""
        except ConnectionResetError:
            pass
    assert not stitch.open
    stitch.close()
