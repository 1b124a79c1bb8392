"""Listening sockets that can stop accepting and start again, which asyncio's servers cannot."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable

from carrier_api.inherited import take
from hubd.peers import note_server_name
from tunnel.settings import HostPort

logger = logging.getLogger("hubd.listen")

# asyncio's 60 s would let a silent peer hold a socket nobody can see.
HANDSHAKE_TIMEOUT = 10.0
SHUTDOWN_TIMEOUT = 5.0


class ListenError(Exception):
    """An address cannot be had. The text is one line with the fix."""


def bind(address: HostPort, backlog: int) -> list[socket.socket]:
    """Open listening sockets for every address of a host; port 0 takes a free port, the same for all of them.

    Sockets this process has inherited for the address are used instead.

    Args:
        address: where to listen.
        backlog: the kernel's queue of connections not yet accepted.

    Raises:
        ListenError: one of them cannot be had; none is left open then.
    """
    sockets = take(address.host, address.port)
    if sockets:
        return sockets
    port = address.port
    try:
        found = socket.getaddrinfo(address.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, proto, _, where in dict.fromkeys(found):
            sock = socket.socket(family, kind, proto)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((where[0], port, *where[2:]))
            sock.listen(backlog)
            sock.setblocking(False)
            port = sock.getsockname()[1]
    except OSError as exc:
        for sock in sockets:
            sock.close()
        raise ListenError(_explain(address, exc)) from exc
    return sockets


def _explain(address: HostPort, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return f"{address} is in use: stop what listens there (see ss -ltnp), or choose another with --listen HOST:PORT"
    if exc.errno == errno.EACCES:
        return f"{address}: not allowed; ports under 1024 need CAP_NET_BIND_SERVICE, or choose a higher one"
    if isinstance(exc, socket.gaierror):
        return f"{address}: no such host name"
    return f"cannot listen on {address}: {os.strerror(exc.errno or errno.EINVAL).lower()}"


class Door:
    """One set of listening sockets with a server that can be taken off them and put back.

    Connections wait in the kernel's queue meanwhile. A server closes the socket it has, so it gets duplicates.

    Args:
        sockets: from `bind`; owned by this object.
        factory: makes each connection's protocol.
        context: for TLS.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        backlog: int,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._sockets = sockets
        self._factory = factory
        self._backlog = backlog
        self._context = context
        self._servers: list[asyncio.AbstractServer] = []
        self._scheme = "http" if context is None else "https"
        if context is not None:
            note_server_name(context)

    @property
    def urls(self) -> list[str]:
        """Where it listens."""
        out = []
        for sock in self._sockets:
            host, port = sock.getsockname()[:2]
            out.append(f"{self._scheme}://" + (f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
        return out

    @property
    def descriptors(self) -> list[int]:
        """Of the listening sockets."""
        return [sock.fileno() for sock in self._sockets]

    @property
    def accepting(self) -> bool:
        """Whether connections are accepted now."""
        return bool(self._servers)

    async def open(self) -> None:
        """Accept connections. Harmless if it does already."""
        if self._servers or not self._sockets:
            return
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            if self._context is None:
                server = await loop.create_server(self._factory, sock=sock.dup(), backlog=self._backlog)
            else:
                server = await loop.create_server(
                    self._factory,
                    sock=sock.dup(),
                    backlog=self._backlog,
                    ssl=self._context,
                    ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
                    ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
                )
            self._servers.append(server)

    async def present(self, context: ssl.SSLContext) -> None:
        """Use another certificate from the next connection on.

        Args:
            context: with it.
        """
        note_server_name(context)
        self._context = context
        if self._servers:
            self.pause()
            await self.open()

    async def serve(self, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        """Make connections with another factory from the next one on."""
        self._factory = factory
        if self._servers:
            self.pause()
            await self.open()

    def pause(self) -> None:
        """Accept nothing more; accepted connections go on."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    def close(self) -> None:
        """Stop listening for good; what waits in the kernel's queue is refused."""
        self.pause()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
