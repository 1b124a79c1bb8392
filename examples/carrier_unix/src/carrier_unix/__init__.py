"""Carrier `unix:///path/to/socket`: a socket in the file system, guarded by its permissions."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from urllib.parse import unquote, urlsplit

from carrier_api import RawUpgrade, SocketListener, hookimpl, tune, tuned
from yamux.carrier import CarrierAddress, Listener, ProtocolFactory, TlsOptions

__all__ = ["UnixCarrier", "tunnel_carriers"]


class UnixCarrier:
    """See `yamux.carrier.Carrier`."""

    name = "unix"
    schemes = ("unix",)
    upgrade = RawUpgrade()

    def parse(self, url: str) -> CarrierAddress:
        """Read `unix:///absolute/path`; blanks and the like are percent-encoded."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ValueError("not a valid URL") from None
        if parts.scheme != "unix" or parts.netloc or parts.query or parts.fragment:
            raise ValueError("expected unix:///absolute/path and nothing else")
        path = unquote(parts.path)
        if not path.startswith("/") or path.endswith("/") or "\0" in path:
            raise ValueError("unix:// needs the absolute path of a socket")
        # The kernel keeps socket paths in 108 bytes.
        if len(os.fsencode(path)) > 107:
            raise ValueError("a socket's path is at most 107 bytes long")
        return CarrierAddress(url=url, scheme="unix", host=path, port=None, path="", secure=False, local=True)

    async def dial(
        self, address: CarrierAddress, factory: ProtocolFactory, *, tls: TlsOptions, timeout: float
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect; TLS options do not apply."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                transport, protocol = await loop.create_unix_connection(factory, address.host)
        except TimeoutError:
            raise TimeoutError(errno.ETIMEDOUT, f"no connection to {address.host} within {timeout:g} s") from None
        except OSError as exc:
            raise _named(exc, f"cannot connect to {address.host}") from exc
        tune(transport)
        return transport, protocol

    async def listen(
        self, address: CarrierAddress, factory: ProtocolFactory, *, tls: TlsOptions | None, backlog: int
    ) -> Listener:
        """Accept connections of this user's processes (mode 0600). A dead socket left behind is replaced."""
        if tls is not None:
            raise ValueError("unix:// has no TLS")
        path = address.host
        _remove_if_dead(path)
        sock = socket.socket(socket.AF_UNIX)
        try:
            _bind_private(sock, path)
            server = await asyncio.get_running_loop().create_unix_server(tuned(factory), sock=sock, backlog=backlog)
        except OSError as exc:
            sock.close()
            raise _named(exc, f"cannot listen on {path}") from exc
        return _UnixListener(server, address.url, path)


class _UnixListener(SocketListener):
    """Takes its socket out of the file system when closed."""

    def __init__(self, server: asyncio.AbstractServer, url: str, path: str) -> None:
        super().__init__(server, [url])
        self._path = path
        self._inode = os.stat(path).st_ino

    def close(self) -> None:
        """Stop accepting; accepted connections go on."""
        # The path may meanwhile be another process' socket.
        with contextlib.suppress(OSError):
            if self.addresses and os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        super().close()


def _bind_private(sock: socket.socket, path: str) -> None:
    """Bind with mode 0600 from the first moment on."""
    before = os.umask(0o177)
    try:
        sock.bind(path)
    finally:
        os.umask(before)


def _remove_if_dead(path: str) -> None:
    """Remove a socket nobody listens on; leave everything else to the bind's error."""
    with contextlib.suppress(OSError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)


def _named(exc: OSError, what: str) -> OSError:
    """The same kind of error, in one line that names the socket."""
    number = exc.errno or errno.EIO
    return OSError(number, f"{what}: {os.strerror(number).lower()}")


@hookimpl
def tunnel_carriers() -> list[UnixCarrier]:
    """This plugin's carrier."""
    return [UnixCarrier()]
