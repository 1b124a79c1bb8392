"""What transports tell of their peers."""

from __future__ import annotations

import asyncio
import socket
import struct

from hubd.peers import address_of, is_dead


class Fake(asyncio.BaseTransport):
    def __init__(self, **extra: object) -> None:
        super().__init__(extra)


def test_addresses():
    fake = Fake(peername=("192.0.2.1", 5), sockname=("192.0.2.2", 80))
    assert address_of(fake) == ("192.0.2.1", b"192.0.2.2:80")
    fake = Fake(peername=("::1", 5, 0, 0), sockname=("::1", 80, 0, 0))
    assert address_of(fake) == ("::1", b"[::1]:80")
    assert address_of(Fake(peername="", sockname="/run/x")) == ("", b"localhost")


def test_c19_a_reset_is_seen_without_reading():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        with accepted:
            accepted.setblocking(False)
            assert not is_dead(Fake(socket=accepted))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            assert is_dead(Fake(socket=accepted))
        assert is_dead(Fake(socket=accepted)), "a socket that is closed here"


def test_the_ends_of_both_sides_are_no_reset():
    """What the peer has sent may still wait to be read."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        with accepted:
            accepted.shutdown(socket.SHUT_WR)
            client.sendall(b"last words")
            assert client.recv(1) == b""
            client.close()
            while accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != b"\x07":
                pass
            assert not is_dead(Fake(socket=accepted))
            assert accepted.recv(100) == b"last words"
            assert not is_dead(Fake(socket=accepted))


def test_a_half_close_is_no_reset():
    left, right = socket.socketpair()
    with left, right:
        right.shutdown(socket.SHUT_WR)
        assert not is_dead(Fake(socket=left))
    assert not is_dead(Fake())
