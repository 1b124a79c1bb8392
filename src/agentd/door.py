"""The agent's own socket, for commands on its machine.

Listening costs nothing: the gRPC server behind it is made for the first caller, since it takes 12 MiB that most agents
never need. Callers are joined to it byte by byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tunnel.splice import Splice, Waiting

if TYPE_CHECKING:
    from agentd.app import App
    from agentd.local import LocalServer

logger = logging.getLogger("agentd.local")

# The kernel's limit for the path of a socket, less its final zero (unix(7)), and less what the inner one's name has more.
LONGEST = 107 - len(".api")
# People and their scripts; each has a connection for as long as its command runs.
MAX_CALLERS = 32


class DoorError(Exception):
    """The socket cannot be had; one line for people."""


def runtime_folder(environ: Mapping[str, str]) -> Path | None:
    """Where the sockets of agents are unless their settings say otherwise; None if there is no good place.

    Args:
        environ: of the process.
    """
    # systemd gives several separated by colons, and they are this service's own.
    given = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    if environ.get("XDG_RUNTIME_DIR"):
        return Path(environ["XDG_RUNTIME_DIR"], "agentd")
    return Path("/run/agentd") if os.geteuid() == 0 else None


def socket_path(setting: str | None, agent_id: str, environ: Mapping[str, str]) -> Path | None:
    """Where an agent's socket is; None if it has none.

    Args:
        setting: ``local.socket``.
        agent_id: of its first hub.
        environ: of the process.
    """
    if setting is not None:
        return None if setting == "none" else Path(setting)
    folder = runtime_folder(environ)
    return folder / f"{agent_id}.sock" if folder is not None else None


def is_live(path: Path) -> bool:
    """Whether somebody listens on a socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(str(path))
        except OSError:
            return False
        return True


class Door:
    """The socket.

    Args:
        path: where it is to be; another agent's there is left alone, and this one's gets the process id into its name.
        app: answers.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: Path, app: App) -> None:
        self.path = path
        self._app = app
        self._server: asyncio.Server | None = None
        self._inner: asyncio.Task[LocalServer] | None = None
        self._callers: set[_Caller] = set()

    async def open(self) -> None:
        """Listen.

        Raises:
            DoorError: it cannot be had.
        """
        try:
            _make_folder(self.path.parent)
            with _claimed(self.path.parent):
                if is_live(self.path):
                    self.path = self.path.with_name(f"{self.path.stem}-{os.getpid()}.sock")
                if len(os.fsencode(self.path)) > LONGEST:
                    raise DoorError(f"the socket's path {self.path} has more than {LONGEST} bytes: set local.socket")
                with contextlib.suppress(FileNotFoundError):
                    self.path.unlink()
                sock = _bind(self.path)
        except OSError as exc:
            raise DoorError(f"cannot listen on {self.path}: {exc.strerror}") from exc
        self._server = await asyncio.get_running_loop().create_unix_server(self._caller, sock=sock)

    def _caller(self) -> _Caller:
        return _Caller(self)

    def enter(self, caller: _Caller) -> bool:
        """Somebody comes; False if too many are here."""
        if len(self._callers) >= MAX_CALLERS:
            return False
        self._callers.add(caller)
        return True

    def leave(self, caller: _Caller) -> None:
        """Somebody is gone."""
        self._callers.discard(caller)

    async def inner(self) -> str:
        """The path of the gRPC server's own socket, which is started if need be."""
        if self._inner is None:
            self._inner = asyncio.get_running_loop().create_task(self._start_inner())
        # gRPC does not take it well when its start is cancelled, as it would be with a caller that leaves.
        return str((await asyncio.shield(self._inner)).path)

    async def _start_inner(self) -> LocalServer:
        from agentd.local import LocalServer

        inner = LocalServer(self._app, self.path.with_name(self.path.name + ".api"))
        await inner.start()
        return inner

    async def close(self) -> None:
        """Stop listening and end every call."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                self.path.unlink()
        if self._inner is not None:
            await (await self._inner).stop()
        for caller in list(self._callers):
            await caller.end()


class _Caller(asyncio.Protocol):
    """One connection until it is joined to the gRPC server, and its handle from then on."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._splice: Splice | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's
        if not self._door.enter(self):
            self._transport.abort()
            return
        self._early = bytearray()

    def data_received(self, data: bytes) -> None:
        # Callers speak first. Who says nothing only wants to know whether somebody listens.
        self._early += data
        self._transport.pause_reading()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._join())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()
        else:
            self._door.leave(self)

    async def _join(self) -> None:
        try:
            path = await self._door.inner()
            _, inner = await asyncio.get_running_loop().create_unix_connection(Waiting, path)
        except BaseException as exc:
            self._transport.abort()
            self._door.leave(self)
            if isinstance(exc, asyncio.CancelledError):
                return
            logger.exception("cannot answer on the local socket")
            return
        self._splice = inner.join(self._transport, to_right=bytes(self._early), on_end=lambda _: self._door.leave(self))

    async def end(self) -> None:
        """Cut it."""
        if self._splice is not None:
            self._splice.abort()
        elif self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        else:
            self._transport.abort()


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise DoorError(f"{folder} is not ours alone to write: the socket in it could be anybody's; set local.socket")


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Hold a folder against other agents that start at this moment: each would take the other's socket for a dead one's."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _bind(path: Path) -> socket.socket:
    """A listening socket only we may open, at no moment of a wider mode."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
        sock.listen(MAX_CALLERS)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock
