"""One stream that an agent opened, joined to a connection to the private gRPC listener."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hubd.control.names import bind, unbind
from tunnel.splice import Splice, Waiting

if TYPE_CHECKING:
    from hubd.sessions import AgentSession
    from yamux import StreamTransport

logger = logging.getLogger("hubd.control")

# Seconds between tries while the listener's queue is full, which a thousand agents that come at once can do.
AGAIN = 0.02
# Seconds for it to take the connection.
PATIENCE = 10.0


class Bridge(asyncio.Protocol):
    """Protocol of the stream until it is joined, and its handle from then on.

    Args:
        entry: session that carries the stream.
        folder: the private directory.
        path: of the listener's socket.
        named: called with the bridge once it has a name, before anything is sent.
        ended: called once with the bridge when nothing is left of it.

    Attributes:
        peer: what gRPC calls the other end; "" before it has a name.
    """

    __slots__ = ("_ended", "_folder", "_named", "_over", "_path", "_splice", "_stream", "_task", "entry", "peer")

    def __init__(
        self,
        entry: AgentSession,
        folder: Path,
        path: str,
        named: Callable[[Bridge], None],
        ended: Callable[[Bridge], None],
    ) -> None:
        self.entry = entry
        self.peer = ""
        self._folder = folder
        self._path = path
        self._named = named
        self._ended: Callable[[Bridge], None] | None = ended
        self._splice: Splice | None = None
        self._task: asyncio.Task[None] | None = None
        self._over = False

    def __repr__(self) -> str:
        return f"<Bridge {self.entry.agent_id} {self.peer or 'without a name'}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._stream = cast("StreamTransport", transport)
        # What the agent sends meanwhile waits in the stream's window.
        self._stream.pause_reading()
        self._task = asyncio.get_running_loop().create_task(self._join())

    def connection_lost(self, exc: Exception | None) -> None:
        self.end()

    async def _join(self) -> None:
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            self.peer = bind(sock, self._folder, self.entry.id)
            self._named(self)
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        sock.connect(self._path)
                        break
                    except BlockingIOError:
                        await asyncio.sleep(AGAIN)
            _, inner = await loop.create_unix_connection(Waiting, sock=sock)
        except BaseException as exc:
            sock.close()
            if isinstance(exc, OSError | TimeoutError):
                logger.error("cannot reach the hub's own socket for agents: %s", exc)  # noqa: TRY400 - one line says it all
            elif not isinstance(exc, asyncio.CancelledError):
                raise
            self._task = None
            self.end()
            return
        self._task = None
        self._splice = inner.join(self._stream, on_end=self._gone)
        if self._over:
            self._splice.abort()

    def end(self) -> None:
        """Cut it. Idempotent."""
        self._over = True
        if self._splice is not None:
            self._splice.abort()
        elif self._task is not None:
            self._task.cancel()
        else:
            self._stream.abort()
            self._gone(None)

    def _gone(self, splice: Splice | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self)
            unbind(self.peer)
