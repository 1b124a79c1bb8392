"""Bytes that lie unread on a connection which has failed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator

from yamux import StreamTransport

# An early answer or a last word is short.
MOST_UNREAD = 256 * 1024


def unread(transport: asyncio.BaseTransport) -> Iterator[bytes]:
    """What has come on a connection that is about to be closed, and the loop did not read any more.

    Who refuses what is being sent to it answers and closes, which resets the connection. If that shows while we write,
    the loop tells of the failure without having read the answer. Only for plain sockets: a stream has no socket of its
    own, and of TLS the rest cannot be read.

    Yields:
        At most ``MOST_UNREAD`` bytes in all.
    """
    if isinstance(transport, StreamTransport) or transport.get_extra_info("ssl_object") is not None:
        return
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    left = MOST_UNREAD
    with contextlib.suppress(OSError):
        while left > 0 and (data := os.read(sock.fileno(), min(left, 64 * 1024))):
            left -= len(data)
            yield data
