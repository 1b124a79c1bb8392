"""Handing a hub's work to the process that follows it, without a refused connection or a lost request.

The listening sockets and a channel go to the successor when it is started. From then on:

    successor  READY    settings are good, everything is loaded
    old        GO       it accepts nothing more and has let go of what only one process can have; names its agents
    successor  SERVING  it accepts
    old        VISITOR  one connection, between two requests, with what was read of the next one

Until SERVING the old process can go on as if nothing had been. Visitors' connections move when their request in
progress is answered; those with TLS cannot, and end as at any stop. Agents are asked to leave, and requests for those
named in GO wait at the successor until they are there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING

from carrier_api import inherited
from tunnel.systemd import activated

if TYPE_CHECKING:
    from hubd.connection import Connection
    from hubd.front import Front

logger = logging.getLogger("hubd")

VARIABLE = "HUBD_INHERITED"
"""Descriptors for the successor, as JSON. Set by the process before it and by nobody else."""
ACTIVATED = "HUBD_ACTIVATED"
"""Addresses of sockets the service manager opened, as JSON: settings of this process and those that follow it."""
RESERVED = (VARIABLE, ACTIVATED)

# Starting takes a second of CPU, and a busy machine may give a tenth of one.
START_SECONDS = 60.0
# Agents are back within their first backoff, half a second; Go's take a few.
AGENTS_SECONDS = 10.0
# A message is one datagram: read-ahead (64 KiB at most) and its kind, or a part of the agents' names.
MESSAGE = 96 * 1024
NAMES_PART = 32 * 1024
_PORTS = ("listen", "tls_listen")
_NOT_PASSED = ("LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "WATCHDOG_PID", VARIABLE)

READY, NAMES, GO, SERVING, VISITOR = b"R", b"N", b"G", b"S", b"V"


class HandOverError(Exception):
    """The successor did not come up. One line."""


class Channel:
    """Datagrams between the two processes, each a kind, bytes and at most one descriptor."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        self._readable = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._readable.set)

    def send(self, kind: bytes, data: bytes = b"", fd: int | None = None) -> bool:
        """Send one message; False if the other side has no room for it at the moment."""
        try:
            socket.send_fds(self.sock, [kind + data], [] if fd is None else [fd])
        except BlockingIOError:
            return False
        return True

    async def receive(self) -> tuple[bytes, bytes, int | None]:
        """The next message; kind b"" once the other side is gone."""
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.sock, MESSAGE, 1)
            except BlockingIOError:
                self._readable.clear()
                await self._readable.wait()
            except OSError:
                return b"", b"", None
            else:
                return data[:1], data[1:], fds[0] if fds else None

    async def expect(self, kind: bytes) -> None:
        """Wait for one kind of message.

        Raises:
            HandOverError: the other side is gone, or silent.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                got, _, _ = await self.receive()
        except TimeoutError:
            raise HandOverError("it did not get ready in time") from None
        if got != kind:
            raise HandOverError("it ended while it started; see its own lines in the log")

    def close(self) -> None:
        """End the conversation. Idempotent."""
        if self.sock.fileno() >= 0:
            self._loop.remove_reader(self.sock.fileno())
            self.sock.close()


class Heir:
    """The successor, as the old process sees it.

    Args:
        channel: to it.
        pid: its process id.
    """

    def __init__(self, channel: Channel, pid: int) -> None:
        self.channel = channel
        self.pid = pid
        self.moved = 0

    def kill(self) -> None:
        """End it: it did not come up."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def take(self, front: Connection) -> bool:
        """Move a connection that is between two requests; False if it cannot move, or the successor is gone.

        One that has bytes to send, or finds the channel full, is not read from any more and moves at another call.
        """
        if front.link.secure or front.eof or front.transport.is_closing():
            return False
        sock = front.transport.get_extra_info("socket")
        if sock is None:
            return False
        if not front.read_paused:
            front.read_paused = True
            front.transport.pause_reading()
        if front.transport.get_write_buffer_size():
            return True
        rest = front.reader.unread()
        if len(rest) > MESSAGE - 1:
            return False
        try:
            if self.channel.send(VISITOR, rest, sock.fileno()):
                self.moved += 1
                front.let_go()
        except OSError:
            return False
        return True


def start_successor(places: list[tuple[str, list[int]]], environ: MutableMapping[str, str]) -> Heir:
    """Start this program anew, with the same words, and give it the listening sockets.

    Args:
        places: from `Doors.heritage`.
        environ: to go by.

    Raises:
        HandOverError: it cannot be started.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        told = json.dumps({"channel": theirs.fileno(), "sockets": places})
        passed = {name: value for name, value in environ.items() if name not in _NOT_PASSED}
        try:
            # The interpreter by its full path: after an upgrade in place it is the new program.
            process = subprocess.Popen(
                [sys.executable, *sys.orig_argv[1:]],
                env=passed | {VARIABLE: told},
                pass_fds=[theirs.fileno(), *(number for _, numbers in places for number in numbers)],
                stdin=subprocess.DEVNULL,
            )
        except OSError as exc:
            ours.close()
            raise HandOverError(f"cannot start {sys.executable}: {exc.strerror}") from exc
    # It outlives this process; nobody waits for it here but for its failure to start.
    process.returncode = 0
    return Heir(Channel(ours), process.pid)


def send_names(channel: Channel, names: list[str]) -> None:
    """Name the agents that will come over, and let the successor go on."""
    part: list[str] = []
    size = 0
    for name in [*names, None]:
        if name is None or size > NAMES_PART:
            channel.send(NAMES, json.dumps(part).encode())
            part, size = [], 0
        if name is not None:
            part.append(name)
            size += len(name) + 4
    channel.send(GO)


class Predecessor:
    """The old process, as the successor sees it.

    Args:
        channel: to it.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def ready(self) -> list[str]:
        """Say that start-up is over but for listening, and wait for the word to go on.

        Returns the names of its agents.

        Raises:
            HandOverError: it is gone.
        """
        self._channel.send(READY)
        names: list[str] = []
        while True:
            async with asyncio.timeout(START_SECONDS):
                kind, data, _ = await self._channel.receive()
            if kind == GO:
                return names
            if kind != NAMES:
                raise HandOverError("the process before this one has gone")
            names += json.loads(data)

    async def receive(self, factory: Callable[[], Front]) -> None:
        """Say that connections are accepted, and take over the visitors' until the old process ends."""
        self._channel.send(SERVING)
        taken = 0
        while True:
            kind, rest, number = await self._channel.receive()
            if kind != VISITOR or number is None:
                break
            sock = socket.socket(fileno=number)
            sock.setblocking(False)
            taken += 1
            try:
                await asyncio.get_running_loop().connect_accepted_socket(partial(_Arrival, factory, rest), sock)
            except OSError:
                sock.close()
        self._channel.close()
        logger.info("the process before this one has ended", extra={"visitors": taken})


class _Arrival(asyncio.Protocol):
    """First protocol of a visitor's connection that moved here: hands it over with what was read before."""

    def __init__(self, factory: Callable[[], Front], rest: bytes) -> None:
        self._factory = factory
        self._rest = rest

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        front = self._factory()
        transport.set_protocol(front)
        front.connection_made(transport)
        if self._rest:
            front.data_received(self._rest)


def inherit(environ: MutableMapping[str, str], flags: dict[str, object]) -> socket.socket | None:
    """Take the sockets that were opened for this process, by the one before it or by the service manager.

    A socket the manager calls ``listen`` or ``tls_listen`` becomes that setting, as if given by a flag; others are used
    by whichever listener has their address.

    Args:
        environ: changed, so that no child takes them again.
        flags: of the command line; changed.

    Returns:
        The channel to the process before this one, None if there is none.
    """
    channel = read_heritage(environ)
    places: dict[str, str] = json.loads(environ.get(ACTIVATED, "{}"))
    for name, sock in activated(environ):
        inherited.adopt("", [sock])
        setting = name.replace("-", "_")
        if setting in _PORTS:
            places.setdefault(setting, inherited.address_of(sock))
    if places:
        environ[ACTIVATED] = json.dumps(places)
    for setting, place in places.items():
        if flags.get(setting) is None:
            flags[setting] = place
    return channel


def read_heritage(environ: MutableMapping[str, str]) -> socket.socket | None:
    """Take what the process before this one has passed on; returns the channel to it, None if there is none."""
    told = environ.pop(VARIABLE, None)
    if told is None:
        return None
    given = json.loads(told)
    for place, numbers in given["sockets"]:
        inherited.adopt(place, [_own(number) for number in numbers])
    return _own(given["channel"])


def _own(number: int) -> socket.socket:
    sock = socket.socket(fileno=number)
    os.set_inheritable(number, False)
    sock.setblocking(False)
    return sock


async def reap(pid: int) -> None:
    """Wait for a successor that failed to start, so that it does not stay in the table of processes."""
    with contextlib.suppress(ChildProcessError):
        await asyncio.get_running_loop().run_in_executor(None, os.waitpid, pid, 0)
