from __future__ import annotations

import asyncio
import socket

import pytest

from carrier_api import kit
from carrier_tcp import TcpCarrier, tunnel_carriers
from yamux.carrier import TlsOptions
from yamux.testing import Recorder

CARRIER = TcpCarrier()


@pytest.mark.parametrize("check", kit.CHECKS, ids=kit.name_of)
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_compliance(check: kit.Check, host: str, full_port: int) -> None:
    bench = kit.Bench(CARRIER, f"tcp://{host}:0", silent_url=f"tcp://127.0.0.1:{full_port}")
    await kit.run(bench, [check])


async def test_the_hook_brings_the_carrier() -> None:
    (carrier,) = tunnel_carriers()
    assert (carrier.name, carrier.schemes, carrier.upgrade.token) == ("tcp", ("tcp",), b"yamux")


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "local", "authority"),
    [
        ("tcp://hub.example:8882", "hub.example", 8882, "", False, "hub.example:8882"),
        ("TCP://hub.example:80/", "hub.example", 80, "", False, "hub.example"),
        ("tcp://127.8.0.1:8882/a/b/", "127.8.0.1", 8882, "/a/b", True, "127.8.0.1:8882"),
        ("tcp://[::1]:1/x", "::1", 1, "/x", True, "[::1]:1"),
        ("tcp://localhost:1", "localhost", 1, "", True, "localhost:1"),
        ("tcp://localhost.example:1", "localhost.example", 1, "", False, "localhost.example:1"),
    ],
)
def test_urls(url: str, host: str, port: int, path: str, local: bool, authority: str) -> None:
    address = CARRIER.parse(url)
    assert (address.host, address.port, address.path) == (host, port, path)
    assert (address.local, address.secure, address.authority) == (local, False, authority)


@pytest.mark.parametrize(
    "url",
    [
        "tcp://hub.example",
        "tcp://hub.example:0x1",
        "tcp://hub.example:70000",
        "tcp://:1",
        "tcp://hub.example:1?token=s3cret",
        "tcp://s3cret@hub.example:1",
        "tcp://hub.example:1/#s3cret",
        "tcp://hub example:1",
        "tcp://hub.example:1/a b",
        "tcp://hub.example:1/a\r\nx",
        "tcp://[::1:1",
        "tcp://[zz]:1",
        "tls://hub.example:1",
        "tcp://" + "a" * 3000 + ":1",
    ],
)
def test_bad_urls(url: str) -> None:
    with pytest.raises(ValueError, match=r"\A[^\n]{5,200}\Z") as caught:
        CARRIER.parse(url)
    assert "s3cret" not in str(caught.value)


async def test_sockets_are_tuned_on_both_sides() -> None:
    accepted = asyncio.get_running_loop().create_future()

    class Server(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            accepted.set_result(self)

    listener = await CARRIER.listen(CARRIER.parse("tcp://127.0.0.1:0"), Server, tls=None, backlog=8)
    transport, _ = await CARRIER.dial(CARRIER.parse(listener.addresses[0]), Recorder, tls=TlsOptions(), timeout=30)
    server = await accepted
    for end in (transport, server.transport):
        assert end.get_write_buffer_limits() == (16384, 65536)
        sock = end.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
    transport.close()
    await server.lost()
    listener.close()
    await listener.wait_closed()


async def test_refused_dial_names_the_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ConnectionRefusedError, match=f"cannot connect to localhost:{port}: connection refused"):
            await CARRIER.dial(CARRIER.parse(f"tcp://localhost:{port}"), Recorder, tls=TlsOptions(), timeout=30)


async def test_unknown_host_is_one_clear_line() -> None:
    with pytest.raises(socket.gaierror, match="cannot resolve nowhere.invalid: "):
        await CARRIER.dial(CARRIER.parse("tcp://nowhere.invalid:1"), Recorder, tls=TlsOptions(), timeout=20)


async def test_a_dead_address_does_not_hide_a_living_one(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = await CARRIER.listen(CARRIER.parse("tcp://127.0.0.1:0"), Recorder, tls=None, backlog=8)
    port = CARRIER.parse(listener.addresses[0]).port
    loop = asyncio.get_running_loop()

    async def two_addresses(host: str, port: int, **kwargs: object) -> object:
        stream = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*stream, ("127.0.0.2", port)), (*stream, ("127.0.0.1", port))]

    proxy = _LoopProxy(loop, two_addresses)
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: proxy)
    transport, _ = await CARRIER.dial(
        CARRIER.parse(f"tcp://hub.example:{port}"), Recorder, tls=TlsOptions(), timeout=30
    )
    monkeypatch.undo()
    assert transport.get_extra_info("peername")[0] == "127.0.0.1"
    transport.abort()
    listener.close()
    await listener.wait_closed()


class _LoopProxy:
    """The running loop, but for name resolution."""

    def __init__(self, loop: asyncio.AbstractEventLoop, getaddrinfo: object) -> None:
        self._loop = loop
        self.getaddrinfo = getaddrinfo

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)


async def test_listening_on_a_taken_port_names_it() -> None:
    address = CARRIER.parse("tcp://127.0.0.1:0")
    listener = await CARRIER.listen(address, Recorder, tls=None, backlog=8)
    with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:\d+: address already in use"):
        await CARRIER.listen(CARRIER.parse(listener.addresses[0]), Recorder, tls=None, backlog=8)
    listener.close()
    await listener.wait_closed()


async def test_tls_options_on_a_plain_listener_are_refused() -> None:
    with pytest.raises(ValueError, match="tls://"):
        await CARRIER.listen(CARRIER.parse("tcp://127.0.0.1:0"), Recorder, tls=TlsOptions(), backlog=8)
