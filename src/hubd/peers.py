"""What a transport can tell about its peer."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl

_TCP_CLOSE = 7
"""State of a socket that is over, in the first byte of TCP_INFO (linux/tcp.h)."""

_PROBE_SECONDS = 10
"""Between questions to a visitor of which only a reset can still come; it costs one small packet each way."""


def address_of(transport: asyncio.BaseTransport) -> tuple[str, bytes]:
    """The peer's address without port ("" for sockets in the file system), and our own as a Host value."""
    peer = transport.get_extra_info("peername")
    own = transport.get_extra_info("sockname")
    name = peer[0] if isinstance(peer, tuple) else ""
    if not isinstance(own, tuple):
        return name, b"localhost"
    host = f"[{own[0]}]" if ":" in own[0] else own[0]
    return name, f"{host}:{own[1]}".encode("ascii", "replace")


def is_here(peer: str) -> bool:
    """Whether a peer's address says that it is on this machine. That tells who could listen, never who it is: what
    comes out of tunnels and proxies comes from here as well."""
    try:
        return not peer or ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


def certificate_of(transport: asyncio.BaseTransport) -> bytes | None:
    """The client's certificate in DER, if the TLS listener asked for one and it was good."""
    tls = transport.get_extra_info("ssl_object")
    return tls.getpeercert(binary_form=True) if tls is not None else None


def is_dead(transport: asyncio.BaseTransport) -> bool:
    """Whether the peer has reset the connection. Loops do not report it while reading is paused or after a FIN.

    Takes the socket's error if there is one: to be asked by who aborts then.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        info: bytes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        # Behind the FINs of both sides the state is the same, and bytes of the peer's may wait to be read.
        return info[0] == _TCP_CLOSE and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
    except OSError:
        return True


def probe(transport: asyncio.BaseTransport) -> None:
    """Have the kernel ask a visitor that has sent its FIN whether it still listens. One that has closed its socket
    answers with a reset once its own kernel has forgotten the connection, on Linux after a minute; see `is_dead`."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_SECONDS)


def note_server_name(context: ssl.SSLContext) -> None:
    """Have every handshake of this context remember the server name it asked for, beside what it does already."""
    before = context.sni_callback

    def remember(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, asked: ssl.SSLContext) -> None:
        connection.hub_server_name = name  # type: ignore[union-attr]
        if before is not None:
            before(connection, name, asked)  # type: ignore[arg-type]

    context.sni_callback = remember


def server_name(transport: asyncio.BaseTransport) -> str | None:
    """The server name of the TLS handshake, if the peer sent one."""
    name = getattr(transport.get_extra_info("ssl_object"), "hub_server_name", None)
    return name if isinstance(name, str) else None
