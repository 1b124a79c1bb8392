from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tunnel.unread import unread
from yamux import Session
from yamux.testing import memory_pair


class Lost(asyncio.Transport):
    """A transport whose socket the loop has given up."""

    def __init__(self, sock: socket.socket | None, *, secure: bool = False) -> None:
        super().__init__({"socket": sock, "ssl_object": object() if secure else None})


def test_what_lies_unread_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnel.unread.MOST_UNREAD", 10)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(bytes(100))
        assert b"".join(unread(Lost(ours))) == bytes(10)


@pytest.mark.parametrize("ended", [False, True])
def test_all_of_it_is_read_and_nothing_is_waited_for(ended: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(b"last words")
        if ended:
            theirs.close()
        assert list(unread(Lost(ours))) == [b"last words"]


def test_ciphertext_is_nobodys_last_words() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(b"record")
        assert list(unread(Lost(ours, secure=True))) == []
    assert list(unread(Lost(None))) == []


async def test_a_stream_has_no_socket_of_its_own() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(b"frames of others")
        client, server = Session(client=True), Session(client=False)
        memory_pair(client, server)

        def socket_of_the_carrier(name: str, default: Any = None) -> Any:
            return ours if name == "socket" else default

        assert client.transport is not None
        client.transport.get_extra_info = socket_of_the_carrier  # type: ignore[method-assign]
        stream = client.open_stream(asyncio.Protocol())
        assert stream.get_extra_info("socket") is ours
        assert list(unread(stream)) == []
        assert ours.recv(100) == b"frames of others"
        client.abort()
        await client.wait_closed()
        await server.wait_closed()
