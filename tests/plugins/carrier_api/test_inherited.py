"""Sockets that were opened for us (row L4)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from carrier_api import inherited, listen_tcp, parse_url


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    inherited.close_rest()


def listening(host: str = "127.0.0.1") -> socket.socket:
    return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def test_l4_by_address():
    with listening() as one, listening() as two:
        inherited.adopt("", [one, two])
        port = two.getsockname()[1]
        assert inherited.take("127.0.0.2", port) == []
        assert inherited.take("127.0.0.1", 0) == []
        assert inherited.take("127.0.0.1", port) == [two]
        assert inherited.take("127.0.0.1", port) == []
        assert inherited.take("localhost", one.getsockname()[1]) == [one]


def test_l4_by_place_even_where_it_has_no_port():
    with listening() as one, listening() as two:
        inherited.adopt("127.0.0.1:0", [one])
        inherited.adopt("127.0.0.1:0", [two])
        assert inherited.take("127.0.0.1", 0) == [one]
        assert inherited.take("127.0.0.1", 0) == [two]


def test_ipv6_has_brackets():
    with listening("::1") as one:
        port = one.getsockname()[1]
        inherited.adopt("", [one])
        assert inherited.address_of(one) == f"[::1]:{port}"
        assert inherited.take("example.org", port) == []
        assert inherited.take("::1", port) == [one]


def test_what_nobody_takes_is_closed_and_named():
    one = listening()
    where = "{}:{}".format(*one.getsockname())
    inherited.adopt("somewhere:1", [one])
    assert inherited.close_rest() == [where]
    assert one.fileno() == -1


async def test_l4_a_carrier_listens_on_what_it_inherits():
    one, two = listening(), listening()
    port = one.getsockname()[1]
    inherited.adopt(f"127.0.0.1:{port}", [one, two])
    listener = await listen_tcp(
        parse_url(f"tcp://127.0.0.1:{port}", schemes=("tcp",), default_port=None, secure=False),
        asyncio.Protocol,
        backlog=10,
    )
    assert len(listener.addresses) == len(listener.descriptors) == 2
    for url in listener.addresses:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.close()
        await writer.wait_closed()
    listener.close()
    assert listener.descriptors == []
    await listener.wait_closed()
