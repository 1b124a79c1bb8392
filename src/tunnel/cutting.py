"""Ending a connection so that nobody takes it for an end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from yamux import StreamTransport

_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time at all: close() then sends a reset (socket(7))."""


def cut(transport: asyncio.BaseTransport) -> None:
    """End a connection by a reset, queued bytes included. An ``abort()`` of a transport closes its socket, and what the
    kernel makes of that is mostly a FIN: bytes that end with their connection would look whole.

    A stream is reset; the socket below it is its carrier's and goes on.
    """
    if not isinstance(transport, StreamTransport):
        sock = transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()  # type: ignore[attr-defined]
