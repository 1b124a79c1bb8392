"""A yamux stream as the transport of a gRPC channel: grpcio takes none of ours, so it connects to a socket of ours.

The socket takes one connection, from this process and nobody else, which is joined to a new stream. Then it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import struct
import sys
import tempfile
from typing import TYPE_CHECKING, cast

from tunnel.splice import Splice

if TYPE_CHECKING:
    from yamux import Session


class Stitch:
    """A listening socket whose one connection is joined to a stream of a session.

    Args:
        session: opens the stream when the connection comes.
        abstract: use Linux' abstract namespace instead of a file in a private directory.

    Attributes:
        target: what gRPC is to connect to.
        open: the stream is open.
    """

    def __init__(self, session: Session, *, abstract: bool = sys.platform == "linux") -> None:
        self._session = session
        self._folder = ""
        self._server: asyncio.Server | None = None
        self._splice: Splice | None = None
        self.open = False
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if abstract:
                name = f"agentd-{secrets.token_hex(16)}"
                self._sock.bind(f"\0{name}")
                self.target = f"unix-abstract:{name}"
            else:
                # Made with mode 0700: nobody else gets at what is inside.
                self._folder = tempfile.mkdtemp(prefix="agentd-")
                self._sock.bind(f"{self._folder}/s")
                self.target = f"unix:{self._folder}/s"
        except BaseException:
            self._sock.close()
            self._tidy()
            raise

    async def start(self) -> None:
        """Wait for the connection from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Arrival(self), sock=self._sock)

    def arrived(self, transport: asyncio.Transport) -> None:
        """Somebody has connected."""
        if self.open or not _is_own(transport):
            # Anybody may connect to an abstract name.
            transport.abort()
            return
        self.open = True
        self._stop_listening()
        try:
            stream = self._session.open_stream(asyncio.Protocol())
        except Exception:
            # The session has ended, or takes no streams: the channel finds its connection closed.
            self.open = False
            transport.abort()
            return
        self._splice = Splice(stream, transport, on_end=self._ended)

    def _ended(self, splice: Splice) -> None:
        self.open = False

    def close(self) -> None:
        """Cut the stream and forget the socket. Harmless when repeated."""
        self._stop_listening()
        if self._splice is not None and self.open:
            self._splice.abort()

    def _stop_listening(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        else:
            self._sock.close()
        self._tidy()

    def _tidy(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""


class _Arrival(asyncio.Protocol):
    def __init__(self, stitch: Stitch) -> None:
        self._stitch = stitch

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._stitch.arrived(cast(asyncio.Transport, transport))  # uvloop's transports do not inherit from asyncio's


def _is_own(transport: asyncio.Transport) -> bool:
    """Whether the other end is this process, where the kernel can tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    sock = transport.get_extra_info("socket")
    if option is None or sock is None:
        return True
    with contextlib.suppress(OSError):
        (process, _, _) = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
        return bool(process == os.getpid())
    return False
