"""URLs, dialling and listening: faults are one clear line, options are set, and no failed dial leaves a socket."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import types
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from carrier_api import sockets
from carrier_api.sockets import SocketListener, dial_tcp, is_loopback, listen_tcp, parse_url, tune, tuned
from carrier_api.tls import client_context, server_context
from yamux.carrier import CarrierAddress, TlsOptions
from yamux.testing import Recorder, memory_pair

if TYPE_CHECKING:
    from tests.plugins.conftest import Certificates


def parse(url: str, *, default_port: int | None = None, secure: bool = False) -> CarrierAddress:
    return parse_url(url, schemes=("tcp", "pigeon"), default_port=default_port, secure=secure)


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "path", "local"),
    [
        ("tcp://hub.example:8882", "tcp", "hub.example", 8882, "", False),
        ("PIGEON://Hub.Example:1/Base", "pigeon", "hub.example", 1, "/Base", False),
        ("tcp://hub.example.:65535/", "tcp", "hub.example.", 65535, "", False),
        ("tcp://a_b.x-1.example:1/a/b//", "tcp", "a_b.x-1.example", 1, "/a/b", False),
        ("tcp://hub.example:1/a%20b/~c;d=1", "tcp", "hub.example", 1, "/a%20b/~c;d=1", False),
        ("tcp://127.0.0.1:0", "tcp", "127.0.0.1", 0, "", True),
        ("tcp://[::1]:1/x", "tcp", "::1", 1, "/x", True),
        ("tcp://[2001:DB8::1]:1", "tcp", "2001:db8::1", 1, "", False),
        ("tcp://[fe80::1%eth0]:1", "tcp", "fe80::1%eth0", 1, "", False),
        (f"tcp://{'a' * 63}.{'b' * 63}:1", "tcp", f"{'a' * 63}.{'b' * 63}", 1, "", False),
    ],
)
def test_good_urls(url: str, scheme: str, host: str, port: int, path: str, local: bool) -> None:
    assert parse(url) == CarrierAddress(url, scheme, host, port, path, secure=False, local=local)
    assert parse(url, secure=True).secure


@pytest.mark.parametrize("url", ["tcp://hub.example", "tcp://hub.example:", "tcp://hub.example/", "tcp://[::1]"])
def test_a_missing_port_is_the_schemes_own(url: str) -> None:
    assert parse(url, default_port=443).port == 443
    with pytest.raises(ValueError, match=r"\Atcp://(\S+) needs a port, as in tcp://\1:8882\Z"):
        parse(url)


SCHEME = "expected a URL starting with tcp:// or pigeon://"
SHAPE = "not a valid URL: check host and port"
HOST = "the URL's host has characters a host name cannot have"
SIX = "the URL's host is not a valid IPv6 address"
PATH = "the URL's path has characters that must be percent-encoded"
SIGNS = "a carrier URL is made of printable ASCII characters without blanks"
USER = "a carrier URL takes no user or password; tokens are read from a file"
QUERY = "a carrier URL takes no query or fragment; tokens are read from a file"


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("", SCHEME),
        ("//hub.example:1", SCHEME),
        ("hub.example:1", SCHEME),
        ("tls://s3cret.example:1", SCHEME),
        ("tcp:", "tcp:// needs a host"),
        ("tcp:hub.example:1", "tcp:// needs a host"),
        ("tcp:///base", "tcp:// needs a host"),
        ("tcp://:1", "tcp:// needs a host"),
        ("tcp://hub.example:x", SHAPE),
        ("tcp://hub.example:-1", SHAPE),
        ("tcp://hub.example:65536", SHAPE),
        ("tcp://::1:80", SHAPE),
        ("tcp://[::1:1", SHAPE),
        ("tcp://[::1]x:1", SHAPE),
        ("tcp://x[::1]:1", SHAPE),
        ("tcp://[1::2::3]:1", SHAPE),
        ("tcp://[v1.a]:1", SIX),
        ("tcp://[v1.a:b]:1", SIX),
        ("tcp://-hub.example:1", HOST),
        ("tcp://.hub.example:1", HOST),
        ("tcp://hub..example:1", HOST),
        ("tcp://hub*.example:1", HOST),
        ("tcp://hub%2eexample:1", HOST),
        (f"tcp://{'a' * 64}.example:1", HOST),
        (f"tcp://{'a.' * 127}a:1", HOST),
        ("tcp://hub.example:1/a<b", PATH),
        ("tcp://hub.example:1/a\\b", PATH),
        (" tcp://hub.example:1", SIGNS),
        ("tcp://hub.example:1/a b", SIGNS),
        ("tcp://hub.example:1/a\r\nx", SIGNS),
        ("tcp://hub.example:1/\x7f", SIGNS),
        ("tcp://h\u00fcb.example:1", SIGNS),
        ("tcp://s3cret@hub.example:1", USER),
        ("tcp://me:s3cret@hub.example:1", USER),
        ("tcp://hub.example:1?token=s3cret", QUERY),
        ("tcp://hub.example:1/#s3cret", QUERY),
        ("tcp://hub.example:1/" + "s3cret" * 400, "a carrier URL is at most 2048 characters long"),
    ],
)
def test_url_faults_are_one_line_without_secrets(url: str, line: str) -> None:
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        parse(url)
    assert str(caught.value) == line
    assert "s3cret" not in str(caught.value)


def test_a_url_may_have_2048_characters() -> None:
    base = "tcp://hub.example:1/"
    assert len(parse(base + "a" * (2048 - len(base))).url) == 2048


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LocalHost", True),
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("::1%lo", True),
        ("0.0.0.0", False),
        ("::", False),
        ("128.0.0.1", False),
        ("fe80::1%lo", False),
        ("localhost.example", False),
        ("notlocalhost", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_is_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local


def options_of(sock: Any) -> dict[str, int]:
    names = ("TCP_NODELAY", "TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
    found = {name: sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names}
    return found | {"SO_KEEPALIVE": sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)}


TUNED = {
    "TCP_NODELAY": 1,
    "SO_KEEPALIVE": 1,
    "TCP_USER_TIMEOUT": 20_000,
    "TCP_KEEPIDLE": 15,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
}


@pytest.fixture
async def listener() -> Any:
    """Accepts with Recorders that nobody looks at."""
    accepted: list[Recorder] = []

    def accept() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    made = await listen_tcp(parse("tcp://127.0.0.1:0"), accept, backlog=8)
    yield made
    made.close()
    for one in accepted:
        one.transport.abort()
        await one.lost()
    await made.wait_closed()


def port_of(listener: SocketListener) -> int:
    port = parse(listener.addresses[0]).port
    assert port is not None
    return port


async def end(*recorders: Recorder) -> None:
    for one in recorders:
        one.transport.abort()
        await one.lost()


async def test_tune_sets_options_and_marks(listener: SocketListener) -> None:
    client = Recorder()
    # Made without the carrier's own dial, so that nothing is set yet.
    await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port_of(listener))
    sock = client.transport.get_extra_info("socket")
    assert options_of(sock)["TCP_USER_TIMEOUT"] == options_of(sock)["SO_KEEPALIVE"] == 0
    tune(client.transport)
    assert options_of(sock) == TUNED
    assert client.transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    await end(client)


async def test_tune_leaves_other_sockets_their_options() -> None:
    near, far = socket.socketpair()
    client = Recorder()
    await asyncio.get_running_loop().create_unix_connection(lambda: client, sock=near)
    tune(client.transport)
    assert client.transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    assert client.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
    await end(client)
    far.close()


async def test_tune_knows_transports_without_a_socket() -> None:
    pair = memory_pair(Recorder(), Recorder())
    tune(pair.left)
    assert pair.left.get_write_buffer_limits() == (16 * 1024, 64 * 1024)


def test_options_a_system_lacks_or_refuses_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as sock:
        monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")
        sockets._tune_socket(sock)
        monkeypatch.undo()
        assert options_of(sock) == TUNED | {"TCP_USER_TIMEOUT": 0}
    sockets._tune_socket(sock)


async def test_tuned_hands_over_before_the_protocol_knows() -> None:
    seen: list[object] = []

    class Server(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            seen.append((self.transport.get_protocol() is self, self.transport.get_write_buffer_limits()))

    server = Server()
    make = tuned(lambda: server)
    assert make() is not make()
    pair = memory_pair(Recorder(), make())
    assert seen == [(True, (16 * 1024, 64 * 1024))]
    pair.left.write(b"x")
    assert await server.received(1) == b"x"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """The sockets that dialling makes; every one of them must be closed at the end of the test."""
    made: list[socket.socket] = []

    class Watched(socket.socket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    names = {name: value for name, value in vars(socket).items() if not name.startswith("__")}
    monkeypatch.setattr(sockets, "socket", types.SimpleNamespace(**names | {"socket": Watched}))
    yield made
    assert made and [sock.fileno() for sock in made] == [-1] * len(made)


async def turns() -> None:
    """Let the loop finish what it has begun to close."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, so that nobody else gets it, and refuses connections."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


Opened = list[socket.socket]


@pytest.mark.parametrize("with_tls", [False, True])
async def test_a_refused_dial(closed_port: int, with_tls: bool, opened: Opened) -> None:
    context = client_context(TlsOptions()) if with_tls else None
    with pytest.raises(ConnectionRefusedError) as caught:
        await dial_tcp("127.0.0.1", closed_port, Recorder, timeout=30, context=context)
    assert caught.value.errno == errno.ECONNREFUSED
    assert caught.value.strerror == f"cannot connect to 127.0.0.1:{closed_port}: connection refused"


async def test_a_dial_nobody_answers(full_port: int, opened: Opened) -> None:
    with pytest.raises(TimeoutError) as caught:
        await dial_tcp("127.0.0.1", full_port, Recorder, timeout=0.05)
    assert caught.value.errno == errno.ETIMEDOUT
    assert caught.value.strerror == f"no connection to 127.0.0.1:{full_port} within 0.05 s"


async def test_a_handshake_nobody_answers(silent_port: int, opened: Opened) -> None:
    with pytest.raises(TimeoutError, match=f"no connection to 127.0.0.1:{silent_port} within 0.1 s"):
        await dial_tcp("127.0.0.1", silent_port, Recorder, timeout=0.1, context=client_context(TlsOptions()))
    await turns()


async def test_a_handshake_has_a_deadline_of_its_own(
    silent_port: int, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "HANDSHAKE_TIMEOUT", 0.05)
    with pytest.raises(ConnectionAbortedError) as caught:
        await dial_tcp("127.0.0.1", silent_port, Recorder, timeout=30, context=client_context(TlsOptions()))
    assert caught.value.strerror == f"127.0.0.1:{silent_port} did not finish the TLS handshake within 0.05 s"
    await turns()


async def test_cancelling_a_connect(full_port: int, opened: Opened) -> None:
    dialling = asyncio.ensure_future(dial_tcp("127.0.0.1", full_port, Recorder, timeout=30))
    while not opened:
        await asyncio.sleep(0)
    await turns()
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    await turns()


class Answering(asyncio.Protocol):
    """A server that does something to whoever says something."""

    def __init__(self, answer: Callable[[asyncio.Transport], None]) -> None:
        self.answer = answer
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.answer(self.transport)


@contextlib.asynccontextmanager
async def serve(answer: Callable[[asyncio.Transport], None]) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(lambda: Answering(answer), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await turns()


async def test_cancelling_a_handshake(opened: Opened) -> None:
    greeted = asyncio.Event()
    kept: list[asyncio.Transport] = []

    def hold(transport: asyncio.Transport) -> None:
        kept.append(transport)
        greeted.set()

    async with serve(hold) as port:
        context = client_context(TlsOptions())
        dialling = asyncio.ensure_future(dial_tcp("127.0.0.1", port, Recorder, timeout=30, context=context))
        await greeted.wait()
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling
        kept[0].abort()


def hang_up(transport: asyncio.Transport) -> None:
    transport.close()


def reset(transport: asyncio.Transport) -> None:
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    transport.abort()


def speak_plainly(transport: asyncio.Transport) -> None:
    transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    transport.close()


@pytest.mark.parametrize(
    ("answer", "kind", "line"),
    [
        (hang_up, ConnectionResetError, "{where} closed the connection during the TLS handshake"),
        (reset, ConnectionResetError, "{where} closed the connection during the TLS handshake"),
        (speak_plainly, ssl.SSLError, "TLS with {where} failed: wrong version number"),
    ],
)
async def test_servers_that_speak_no_tls(
    answer: Callable[[asyncio.Transport], None], kind: type[OSError], line: str, opened: Opened
) -> None:
    async with serve(answer) as port:
        with pytest.raises(kind) as caught:
            await dial_tcp("127.0.0.1", port, Recorder, timeout=30, context=client_context(TlsOptions()))
    assert caught.value.strerror == line.format(where=f"127.0.0.1:{port}")
    assert caught.value.errno


async def test_a_factory_that_fails(listener: SocketListener, opened: Opened) -> None:
    def broken() -> asyncio.Protocol:
        raise LookupError("no protocol today")

    with pytest.raises(LookupError, match="no protocol today"):
        await dial_tcp("127.0.0.1", port_of(listener), broken, timeout=30)


async def test_a_dialled_connection_is_tuned_and_closes(listener: SocketListener, opened: Opened) -> None:
    client = Recorder()
    transport, protocol = await dial_tcp("127.0.0.1", port_of(listener), lambda: client, timeout=30)
    assert protocol is client and client.transport is transport
    assert options_of(transport.get_extra_info("socket")) == TUNED
    assert client.transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    await end(client)
    await turns()


async def test_tls_on_both_ends(certificates: Certificates, opened: Opened) -> None:
    servers: asyncio.Queue[Recorder] = asyncio.Queue()

    def accept() -> Recorder:
        servers.put_nowait(Recorder())
        return servers._queue[-1]  # type: ignore[attr-defined]

    listening = await listen_tcp(
        parse("tcp://127.0.0.1:0"), accept, backlog=8, context=server_context(certificates.server)
    )
    context, port = client_context(certificates.client), port_of(listening)
    client = Recorder()
    await dial_tcp("127.0.0.1", port, lambda: client, timeout=30, context=context)
    server = await servers.get()
    for one in (client, server):
        assert one.transport.get_extra_info("ssl_object").version() == "TLSv1.3"
        assert one.transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        assert options_of(one.transport.get_extra_info("socket")) == TUNED
    client.transport.write(b"hello")
    assert await server.received(5) == b"hello"
    with pytest.raises(ssl.SSLCertVerificationError, match=r"the certificate of 127\.0\.0\.1:\d+ is not trusted: .+"):
        await dial_tcp("127.0.0.1", port, Recorder, timeout=30, context=context, server_name="hub.example")
    await end(client, server)
    listening.close()
    await listening.wait_closed()
    await turns()


class Names:
    """The running loop, but names have the given addresses, and connecting to some of them fails."""

    def __init__(self, addresses: list[str], failures: dict[str, OSError]) -> None:
        self._loop = asyncio.get_running_loop()
        self.addresses = addresses
        self.failures = failures
        self.tried: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def getaddrinfo(self, host: str, port: int, **kwargs: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]

    async def sock_connect(self, sock: socket.socket, address: tuple[str, int]) -> None:
        self.tried.append(address[0])
        if address[0] in self.failures:
            raise self.failures[address[0]]
        await self._loop.sock_connect(sock, address)


async def dial_names(names: Names, port: int, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    client = Recorder()
    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "get_running_loop", lambda: names)
        await dial_tcp("hub.example", port, lambda: client, timeout=30)
    return client


REFUSED = OSError(errno.ECONNREFUSED, "x")
UNREACHABLE = OSError(errno.ENETUNREACH, "x")
LATE = TimeoutError()


async def test_the_first_address_that_answers_is_taken(
    listener: SocketListener, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(["192.0.2.1", "192.0.2.2", "127.0.0.1", "192.0.2.3"], {"192.0.2.1": LATE, "192.0.2.2": REFUSED})
    client = await dial_names(names, port_of(listener), monkeypatch)
    assert names.tried == ["192.0.2.1", "192.0.2.2", "127.0.0.1"]
    assert [sock.fileno() == -1 for sock in opened] == [True, True, False]
    await end(client)
    await turns()


@pytest.mark.parametrize(
    ("failures", "kind", "line"),
    [
        ([REFUSED, UNREACHABLE], ConnectionRefusedError, "cannot connect to hub.example:1: connection refused"),
        ([UNREACHABLE, REFUSED], ConnectionRefusedError, "cannot connect to hub.example:1: connection refused"),
        ([LATE, REFUSED], ConnectionRefusedError, "cannot connect to hub.example:1: connection refused"),
        ([UNREACHABLE, LATE], OSError, "cannot connect to hub.example:1: network is unreachable"),
        ([LATE, LATE], TimeoutError, "no connection to hub.example:1 within 30 s"),
    ],
)
async def test_the_failure_that_says_most_is_told(
    failures: list[OSError], kind: type[OSError], line: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(["192.0.2.1", "192.0.2.2"], dict(zip(["192.0.2.1", "192.0.2.2"], failures, strict=True)))
    with pytest.raises(kind) as caught:
        await dial_names(names, 1, monkeypatch)
    assert caught.value.strerror == line
    assert len(opened) == 2


async def test_names_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(socket.gaierror) as caught:
        await dial_names(Names([], {}), 1, monkeypatch)
    assert caught.value.strerror == "cannot resolve hub.example: no address"

    async def unknown(*args: object, **kwargs: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    names = Names([], {})
    monkeypatch.setattr(names, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror) as caught:
        await dial_names(names, 1, monkeypatch)
    assert caught.value.strerror == "cannot resolve hub.example: Name or service not known"


async def test_a_closed_listener_refuses_and_keeps_what_it_accepted() -> None:
    server, client = Recorder(), Recorder()
    listening = await listen_tcp(parse("tcp://127.0.0.1:0"), lambda: server, backlog=8)
    port = port_of(listening)
    assert listening.addresses == [f"tcp://127.0.0.1:{port}"] and port != 0
    await dial_tcp("127.0.0.1", port, lambda: client, timeout=30)
    await server.until(lambda: server.connected)
    assert options_of(server.transport.get_extra_info("socket")) == TUNED
    listening.addresses.clear()
    assert listening.addresses != []
    listening.close()
    listening.close()
    await listening.wait_closed()
    assert listening.addresses == []
    with pytest.raises(ConnectionRefusedError):
        await dial_tcp("127.0.0.1", port, Recorder, timeout=30)
    client.transport.write(b"still here")
    assert await server.received(10) == b"still here"
    # Connections of the closed listener do not keep its port.
    again = await listen_tcp(parse(f"tcp://127.0.0.1:{port}"), Recorder, backlog=8)
    again.close()
    await again.wait_closed()
    await end(client, server)


async def test_ipv6_listeners_name_urls_that_can_be_dialled() -> None:
    listening = await listen_tcp(parse("pigeon://[::1]:0"), Recorder, backlog=8)
    address = parse(listening.addresses[0])
    assert (address.scheme, address.host, address.local) == ("pigeon", "::1", True)
    listening.close()
    await listening.wait_closed()


async def test_addresses_that_cannot_be_had(listener: SocketListener) -> None:
    port = port_of(listener)
    with pytest.raises(OSError) as caught:
        await listen_tcp(parse(f"tcp://127.0.0.1:{port}"), Recorder, backlog=8)
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.strerror == f"cannot listen on 127.0.0.1:{port}: address already in use"
    # TEST-NET-1 (RFC 5737) is nobody's.
    with pytest.raises(OSError) as caught:
        await listen_tcp(parse("tcp://192.0.2.1:0"), Recorder, backlog=8)
    assert caught.value.strerror == "cannot listen on 192.0.2.1:0: cannot assign requested address"
    with pytest.raises(OSError) as caught:
        await listen_tcp(parse("tcp://nowhere.invalid:0"), Recorder, backlog=8)
    assert str(caught.value.strerror).startswith("cannot listen on nowhere.invalid:0: ")
