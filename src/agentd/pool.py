"""Connections to one target, kept for the next request. Taking an idle one is synchronous; only dialling waits."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from agentd.dial import DialError, dial
from agentd.guard import Guard
from agentd.reasons import INTERNAL, TARGET_CLOSED
from tunnel.http1 import Answers, Limits, ResponseReader
from tunnel.targets import Target
from tunnel.unread import unread
from yamux.carrier import TlsOptions

logger = logging.getLogger("agentd.pool")

# Two sweeps: the clock here may be one behind when a connection becomes idle, and another when it is taken.
MARGIN = 2
# A hint of apache, node and others, e.g. "timeout=5, max=100".
_HINT = re.compile(rb"\btimeout=(\d{1,6})(?!\d)")
_ESTABLISHED = 1
"""State of a live socket, in the first byte of TCP_INFO (linux/tcp.h)."""


class User(Protocol):
    """Who has, or waits for, a connection."""

    def target_ready(self, connection: TargetConnection) -> None:
        """A connection that was waited for; its ``user`` is set."""

    def target_failed(self, error: DialError) -> None:
        """There will be no connection."""

    def target_data(self, data: bytes) -> None:
        """Bytes of the response."""

    def target_eof(self) -> None:
        """The target sends nothing more. The connection closes itself."""

    def target_lost(self, exc: Exception | None) -> None:
        """The connection is gone, without an end before."""

    def target_full(self) -> None:
        """The target does not read fast enough."""

    def target_drained(self) -> None:
        """It has caught up."""


class TargetConnection(asyncio.Protocol):
    """One connection to a target. Belongs to one user at a time, or is idle.

    Attributes:
        user: whose exchange it carries.
        reader: for its responses, one after the other.
        reused: it has carried an exchange before.
        paused: its user asked it to stop reading.
        full: the target does not read fast enough what was written.
        expires: monotonic seconds from which on it is not used again, while idle.
    """

    __slots__ = ("expires", "full", "paused", "pool", "reader", "reused", "transport", "user")

    transport: asyncio.Transport

    def __init__(self, pool: TargetPool, user: User | None = None) -> None:
        self.pool = pool
        self.reader = ResponseReader(pool.limits, pool.answers)
        self.user = user
        self.reused = self.paused = self.full = False
        self.expires = 0.0

    def __repr__(self) -> str:
        return f"<TargetConnection {self.pool.target.url} {'busy' if self.user is not None else 'idle'}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.pool.open.add(self)

    def data_received(self, data: bytes) -> None:
        if self.user is not None:
            self.user.target_data(data)
        else:
            # Nobody asked: what comes next on this connection cannot be trusted to answer the next request.
            self.pool.discard(self)

    def eof_received(self) -> None:
        if self.user is not None:
            self.user.target_eof()
        else:
            self.pool.forget(self)

    def connection_lost(self, exc: Exception | None) -> None:
        user = self.user
        self.pool.forget(self)
        if user is not None and exc is not None:
            # A target that answers early and closes resets the connection. If that shows while we write, its answer may
            # lie unread.
            for data in unread(self.transport):
                user.target_data(data)
                if self.user is not user:
                    return
        if user is not None:
            self.user = None
            user.target_lost(exc)

    def pause_writing(self) -> None:
        self.full = True
        if self.user is not None:
            self.user.target_full()

    def resume_writing(self) -> None:
        self.full = False
        if self.user is not None:
            self.user.target_drained()

    def pause_reading(self) -> None:
        """Read no more until resume_reading()."""
        if not self.paused:
            self.paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        if self.paused:
            self.paused = False
            self.transport.resume_reading()

    def is_alive(self) -> bool:
        """Ask the kernel whether the target has closed already, before the loop comes to tell."""
        sock = self.transport.get_extra_info("socket")
        question = getattr(socket, "TCP_INFO", None)
        if question is None or sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return True
        try:
            state: bytes = sock.getsockopt(socket.IPPROTO_TCP, question, 1)
        except OSError:
            return False
        return state[0] == _ESTABLISHED


class TargetPool:
    """Connections to one target.

    Whoever waits gets whichever connection is there first: a new one, or one that becomes free. There are always at
    least as many dials under way as there are users waiting.

    Args:
        target: where to.
        limits: for responses.
        max_idle: connections kept.
        idle_seconds: how long they are kept.
        dial_seconds: deadline for a new one.
        tls: for ``https://``.
        guard: knows the agent's own places.

    Attributes:
        answers: heads of responses met before.
        open: all connections that stand and were not handed over.
        now: monotonic seconds as of the last sweep.
        max_idle: as given; may be changed.
    """

    def __init__(
        self,
        target: Target,
        *,
        limits: Limits,
        max_idle: int,
        idle_seconds: float,
        dial_seconds: float,
        tls: TlsOptions,
        clock: Callable[[], float],
        guard: Guard | None = None,
    ) -> None:
        self.target = target
        self._guard = guard
        self.limits = limits
        self.answers = Answers()
        self.open: set[TargetConnection] = set()
        self.now = clock()
        self.max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._dial_seconds = dial_seconds
        self._tls = tls
        self._idle: list[TargetConnection] = []
        self._waiting: deque[User] = deque()
        self._dials: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<TargetPool {self.target.url} open={len(self.open)} idle={len(self._idle)} dials={self._under_way}>"

    @property
    def idle(self) -> int:
        """Connections waiting for a request."""
        return len(self._idle)

    # -- taking ------------------------------------------------------------------------------------------------------

    def acquire(self, user: User, *, sure: bool = False) -> TargetConnection | None:
        """An idle connection, the one used last; None if there is none: then call wait().

        Args:
            user: gets it.
            sure: ask the kernel first whether it still stands. For requests that must not be sent twice.
        """
        idle = self._idle
        while idle:
            connection = idle.pop()
            stale = self.now >= connection.expires or connection.transport.is_closing() or connection.full
            if stale or (sure and not connection.is_alive()):
                self.discard(connection)
                continue
            connection.user = user
            return connection
        return None

    def wait(self, user: User) -> None:
        """Have ``target_ready`` or ``target_failed`` called, never before this returns."""
        self._waiting.append(user)
        self._under_way += 1
        task = asyncio.get_running_loop().create_task(self._dial())
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    def withdraw(self, user: User) -> None:
        """Wait no longer. The dial goes on; its connection serves another."""
        if user in self._waiting:
            self._waiting.remove(user)

    async def _dial(self) -> None:
        made: list[TargetConnection] = []

        def factory() -> TargetConnection:
            made.append(TargetConnection(self))
            return made[-1]

        failure: DialError | None = None
        try:
            await dial(self.target, factory, timeout=self._dial_seconds, tls=self._tls, guard=self._guard)
        except DialError as error:
            failure = error
        except Exception as error:
            logger.exception("dialling %s failed", self.target.url)
            failure = DialError(INTERNAL, str(error))
        except asyncio.CancelledError:
            # uvloop closes a connection whose making is cancelled, and does not tell its protocol.
            self.open.difference_update(made)
            raise
        finally:
            self._under_way -= 1
        if failure is None and made[-1] not in self.open:
            failure = DialError(TARGET_CLOSED, f"{self.target.place} closed the connection at once")
        if failure is None:
            self._offer(made[-1], self._idle_seconds)
        elif len(self._waiting) > self._under_way:
            # No other dial is under way for the one who waits longest.
            self._waiting.popleft().target_failed(failure)

    def _offer(self, connection: TargetConnection, seconds: float) -> None:
        if self._waiting:
            user = self._waiting.popleft()
            connection.user = user
            user.target_ready(connection)
        elif len(self._idle) < self.max_idle and not self._closed:
            connection.expires = self.now + seconds
            self._idle.append(connection)
        else:
            self.discard(connection)

    # -- giving back -------------------------------------------------------------------------------------------------

    def release(self, connection: TargetConnection, hint: list[bytes] | None = None) -> None:
        """Take back a connection whose exchange is complete in both directions.

        Args:
            hint: values of the response's ``Keep-Alive``. Who ends an idle connection just when it is used again costs
                a second try or, for what cannot be repeated, the request.
        """
        connection.user = None
        if connection.paused:
            connection.resume_reading()
        if connection.transport.is_closing():
            self.forget(connection)
            return
        if connection.full:
            # It answered without reading the upload, and may never read it. The next user would not be told that it is full.
            self.discard(connection)
            return
        connection.reused = True
        self._offer(connection, self._idle_seconds if hint is None else self._hinted(hint[0]))

    def _hinted(self, hint: bytes) -> float:
        """Seconds a connection may be idle by the target's own word, less what our clock may be behind."""
        found = _HINT.search(hint)
        return self._idle_seconds if found is None else min(self._idle_seconds, int(found[1]) - MARGIN)

    def discard(self, connection: TargetConnection) -> None:
        """Close a connection; what is still queued for it belongs to no one any more."""
        connection.user = None
        self.forget(connection)
        if connection.transport.get_write_buffer_size():
            connection.transport.abort()
        else:
            connection.transport.close()

    def forget(self, connection: TargetConnection) -> None:
        """Let go of a connection that is gone, or that somebody else took over."""
        self.open.discard(connection)
        if connection.user is None and connection in self._idle:
            self._idle.remove(connection)

    # -- keeping -----------------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Close connections that have been idle too long.

        Args:
            now: monotonic seconds.
        """
        self.now = now
        for connection in [connection for connection in self._idle if now >= connection.expires]:
            self.discard(connection)

    def retire(self) -> None:
        """Keep no idle connection any more: who has or waits for one is served, and nobody else will come."""
        self._closed = True
        for connection in list(self._idle):
            self.discard(connection)

    @property
    def is_over(self) -> bool:
        """Whether no connection stands and none is being made."""
        return not self.open and not self._dials

    async def close(self) -> None:
        """Close everything, also what is in use, and wait for the dials to be gone."""
        self._closed = True
        for task in self._dials:
            task.cancel()
        await asyncio.gather(*self._dials, return_exceptions=True)
        for connection in list(self.open):
            connection.transport.abort()
        self._idle.clear()
        self._waiting.clear()
