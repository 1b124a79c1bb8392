"""Dialling and listening on TCP, with or without TLS, the way every socket carrier here does it."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import re
import socket
import ssl
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

from carrier_api.inherited import take
from carrier_api.tls import HANDSHAKE_TIMEOUT, SHUTDOWN_TIMEOUT
from yamux.carrier import CarrierAddress, ProtocolFactory

HIGH_WATER = 64 * 1024
LOW_WATER = 16 * 1024
"""Write marks in bytes, set on every socket: uvloop's default low mark is 16 bytes, TLS transports' high one 512 KiB."""
USER_TIMEOUT_MS = 20_000
"""How long sent bytes may stay unacknowledged. With 15 s pings it finds a black hole within 30 s; the kernel's own
answer takes 15 minutes."""
KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""Seconds, seconds, probes: an idle dead peer is found in 30 s as well."""
MIN_ATTEMPT = 2.0
"""Seconds one of several addresses gets at least, so that a dead first one does not use up the whole deadline."""

# Longer or empty labels have no encoding in DNS (RFC 1035 section 2.3.4), which the resolver reports as a UnicodeError.
_HOST = re.compile(r"(?=.{1,254}\Z)[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_BRACKETED = re.compile(r"\[[^\[\]]*\](?::[0-9]*)?")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*")


def parse_url(url: str, *, schemes: tuple[str, ...], default_port: int | None, secure: bool) -> CarrierAddress:
    """Read `scheme://host[:port][/base/path]`.

    Args:
        url: at most 2048 characters.
        schemes: schemes to accept.
        default_port: used when the URL has none; None makes the port mandatory.
        secure: what `CarrierAddress.secure` becomes.

    Raises:
        ValueError: one line; never repeats user info or a query, which may hold secrets.
    """
    if len(url) > 2048:
        raise ValueError("a carrier URL is at most 2048 characters long")
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError("a carrier URL is made of printable ASCII characters without blanks")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("not a valid URL: check host and port") from None
    if parts.scheme not in schemes:
        raise ValueError(f"expected a URL starting with {' or '.join(s + '://' for s in schemes)}")
    host = _checked_host(parts)
    if port is None:
        port = default_port
    if port is None:
        raise ValueError(
            f"{parts.scheme}://{_bracketed(host)} needs a port, as in {parts.scheme}://{_bracketed(host)}:8882"
        )
    if not _PATH.fullmatch(parts.path):
        raise ValueError("the URL's path has characters that must be percent-encoded")
    return CarrierAddress(
        url=url,
        scheme=parts.scheme,
        host=host,
        port=port,
        path=parts.path.rstrip("/"),
        secure=secure,
        local=is_loopback(host),
    )


def _checked_host(parts: SplitResult) -> str:
    if "@" in parts.netloc:
        raise ValueError("a carrier URL takes no user or password; tokens are read from a file")
    if parts.query or parts.fragment:
        raise ValueError("a carrier URL takes no query or fragment; tokens are read from a file")
    # The parser drops whatever stands beside the brackets.
    if "[" in parts.netloc and not _BRACKETED.fullmatch(parts.netloc):
        raise ValueError("not a valid URL: check host and port")
    host = parts.hostname or ""
    if not host:
        raise ValueError(f"{parts.scheme}:// needs a host")
    if ":" in host or "[" in parts.netloc:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError("the URL's host is not a valid IPv6 address") from None
    elif not _HOST.fullmatch(host):
        raise ValueError("the URL's host has characters a host name cannot have")
    return host


def is_loopback(host: str) -> bool:
    """Whether `host` is `localhost` or a loopback IP address. No name is resolved."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def tune(transport: asyncio.BaseTransport) -> None:
    """Set write marks, and on TCP no delay, keepalive and the limit for unacknowledged bytes."""
    # uvloop's transports do not inherit from asyncio's.
    cast(asyncio.WriteTransport, transport).set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        _tune_socket(sock)


def _tune_socket(sock: Any) -> None:
    options = [(socket.IPPROTO_TCP, "TCP_NODELAY", 1), (socket.SOL_SOCKET, "SO_KEEPALIVE", 1)]
    options += [(socket.IPPROTO_TCP, name, value) for name, value in KEEPALIVE]
    options += [(socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", USER_TIMEOUT_MS)]
    for level, name, value in options:
        number = getattr(socket, name, None)
        if number is None:
            continue
        try:
            sock.setsockopt(level, number, value)
        except OSError:
            # The connection may be gone already, which its protocol is about to be told.
            return


async def dial_tcp(
    host: str,
    port: int,
    factory: ProtocolFactory,
    *,
    timeout: float,
    context: ssl.SSLContext | None = None,
    server_name: str | None = None,
) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    """Connect to the first address of `host` that answers; TLS if a context is given.

    Args:
        host: name or IP address.
        port: 1 to 65535.
        factory: makes the protocol.
        timeout: seconds for everything together.
        context: from `client_context`.
        server_name: name to send and check; `host` by default.

    Raises:
        TimeoutError, ConnectionRefusedError, ssl.SSLError or another OSError, each with one line naming the address.

    Cancellation closes what was opened.
    """
    where = f"{_bracketed(host)}:{port}"
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            sock = await _connect(loop, host, port, where, timeout)
            try:
                if context is None:
                    transport, protocol = await loop.create_connection(factory, sock=sock)
                else:
                    transport, protocol = await _start_tls(loop, sock, factory, context, server_name or host, where)
            except BaseException:
                sock.close()
                raise
            tune(transport)
            return transport, protocol
    except TimeoutError:
        raise TimeoutError(errno.ETIMEDOUT, f"no connection to {where} within {timeout:g} s") from None


async def _connect(loop: asyncio.AbstractEventLoop, host: str, port: int, where: str, timeout: float) -> socket.socket:
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise socket.gaierror(exc.errno, f"cannot resolve {host}: {exc.strerror}") from None
    end = loop.time() + timeout
    failure: OSError | None = None
    for left, (family, kind, proto, _, address) in zip(range(len(found), 0, -1), found, strict=True):
        share = max((end - loop.time()) / left, MIN_ATTEMPT)
        try:
            async with asyncio.timeout(share):
                return await _connect_one(loop, family, kind, proto, address)
        except OSError as exc:
            # A refusal says more than the timeout or unreachable network of another address.
            if failure is None or isinstance(exc, ConnectionRefusedError):
                failure = exc
    if failure is None:
        raise socket.gaierror(socket.EAI_NONAME, f"cannot resolve {host}: no address")
    if failure.errno is None:
        raise TimeoutError
    raise OSError(failure.errno, f"cannot connect to {where}: {os.strerror(failure.errno).lower()}")


async def _connect_one(
    loop: asyncio.AbstractEventLoop, family: int, kind: int, proto: int, address: Any
) -> socket.socket:
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        _tune_socket(sock)
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _start_tls(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    factory: ProtocolFactory,
    context: ssl.SSLContext,
    server_name: str,
    where: str,
) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    try:
        return await loop.create_connection(
            factory,
            sock=sock,
            ssl=context,
            server_hostname=server_name,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
            ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
        )
    except ssl.SSLError as exc:
        raise _tls_error(exc, where) from exc
    except ConnectionAbortedError as exc:
        # The loops' own handshake timer; what the kernel reports has a number.
        if exc.errno is None:
            text = f"{where} did not finish the TLS handshake within {HANDSHAKE_TIMEOUT:g} s"
            raise ConnectionAbortedError(errno.ECONNABORTED, text) from exc
        raise _hung_up(exc, where) from exc
    except ConnectionError as exc:
        raise _hung_up(exc, where) from exc


def _hung_up(exc: ConnectionError, where: str) -> ConnectionError:
    # An orderly end in the handshake is a bare ConnectionResetError, without number and text.
    return type(exc)(exc.errno or errno.ECONNRESET, f"{where} closed the connection during the TLS handshake")


def _tls_error(exc: ssl.SSLError, where: str) -> ssl.SSLError:
    if isinstance(exc, ssl.SSLCertVerificationError):
        text = f"the certificate of {where} is not trusted: {exc.verify_message}"
        return ssl.SSLCertVerificationError(exc.errno or 1, text)
    reason = (exc.reason or "handshake failed").replace("_", " ").lower()
    return ssl.SSLError(exc.errno or 1, f"TLS with {where} failed: {reason}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def tuned(factory: ProtocolFactory) -> ProtocolFactory:
    """A factory for a server, whose connections are tuned before `factory`'s protocol learns of them."""
    return lambda: _Tuning(factory)


class _Tuning(asyncio.Protocol):
    """First protocol of an accepted connection: sets its options, then hands it over."""

    __slots__ = ("_factory",)

    def __init__(self, factory: ProtocolFactory) -> None:
        self._factory = factory

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tune(transport)
        protocol = self._factory()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


class SocketListener:
    """A `yamux.carrier.Listener` over asyncio servers."""

    def __init__(self, server: asyncio.AbstractServer, addresses: list[str], *more: asyncio.AbstractServer) -> None:
        self._servers = (server, *more)
        self._addresses = addresses

    @property
    def addresses(self) -> list[str]:
        """URLs with actual ports; empty once closed."""
        return list(self._addresses)

    @property
    def descriptors(self) -> list[int]:
        """Of the listening sockets, for a process that is to go on listening; none once closed."""
        if not self._addresses:
            return []
        sockets = [sock for server in self._servers for sock in getattr(server, "sockets", ())]
        return [sock.fileno() for sock in sockets]

    def close(self) -> None:
        """Stop accepting; accepted connections go on."""
        self._addresses.clear()
        for server in self._servers:
            server.close()

    async def wait_closed(self) -> None:
        """Return once the sockets are closed."""
        # asyncio closes listening sockets in close() itself, uvloop one loop turn later. The server's own
        # wait_closed() waits for every accepted connection from Python 3.12 on.
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def listen_tcp(
    address: CarrierAddress, factory: ProtocolFactory, *, backlog: int, context: ssl.SSLContext | None = None
) -> SocketListener:
    """Accept on `address.host` and `address.port`; TLS if a context is given. Inherited sockets are used first.

    Raises:
        OSError: the address cannot be had; one line naming it.
    """
    loop = asyncio.get_running_loop()
    extra: dict[str, Any] = {}
    if context is not None:
        extra = {"ssl": context, "ssl_handshake_timeout": HANDSHAKE_TIMEOUT, "ssl_shutdown_timeout": SHUTDOWN_TIMEOUT}
    where = f"{_bracketed(address.host)}:{address.port}"
    assert address.port is not None
    given = take(address.host, address.port)
    try:
        servers = [await loop.create_server(tuned(factory), sock=sock, backlog=backlog, **extra) for sock in given] or [
            await loop.create_server(
                tuned(factory), address.host, address.port, backlog=backlog, reuse_address=True, **extra
            )
        ]
    except OSError as exc:
        number = exc.errno or errno.EADDRNOTAVAIL
        reason = exc.strerror if isinstance(exc, socket.gaierror) else os.strerror(number).lower()
        raise OSError(number, f"cannot listen on {where}: {reason}") from exc
    names = [sock.getsockname() for server in servers for sock in server.sockets]
    urls = [f"{address.scheme}://{_bracketed(name[0])}:{name[1]}" for name in names]
    return SocketListener(servers[0], urls, *servers[1:])
