"""What the hub knows of one control stream, and what it sends on it. Nothing here runs while nothing is to be said."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc.aio

from tunnel.logs import clean
from tunnelpb.agent.v1 import config_pb2
from tunnelpb.agent.v1 import control_pb2 as pb

if TYPE_CHECKING:
    from hubd.sessions import AgentSession

logger = logging.getLogger("hubd.control")

# Messages waiting to be written to one agent: a push, a notice and some probes. More means that it does not read.
MAX_QUEUE = 16
# Seconds for an agent to answer a push. It checks, writes a file and applies, which takes milliseconds.
ANSWER_TIMEOUT = 30.0
# Messages an agent may send at once, and a second after that; ours send two in a minute.
BURST = 100
RATE = 10.0
# Lines of an agent's reason that are kept, one a fault.
MAX_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """A configuration to be run, shared by all sessions of its agent.

    Args:
        agent: id.
        version: as stored.
        config: the whole.
        digest: SHA-256 of it, as stored.
    """

    agent: str
    version: int
    config: config_pb2.AgentConfig
    digest: bytes

    def push(self, nonce: str) -> pb.ConnectResponse:
        """The message for one agent."""
        push = pb.ConfigPush(version=self.version, nonce=nonce, config=self.config, digest=self.digest)
        return pb.ConnectResponse(config_push=push)


class Link:
    """The control stream of one session.

    Args:
        entry: the session.
        context: of the call.
        cut: ends the stream.

    Attributes:
        own_labels: the agent's own, by key.
        applied: version the agent runs, 0 for none of this hub's.
        refused: version it refused last, 0 for none.
        last_error: why.
        answered: when it answered last, in seconds since the epoch; None for never.
        allowed: names of services the agent lets the hub set.
        status: as the agent told it last.
    """

    __slots__ = (
        "_allowance", "_context", "_counted", "_cut", "_flight", "_next", "_nonce", "_probes", "_queue", "_sending",
        "_timer", "allowed", "answered", "applied", "entry", "last_error", "own_labels", "refused", "status",
    )  # fmt: skip

    def __init__(self, entry: AgentSession, context: Any, cut: Callable[[], None]) -> None:
        self.entry = entry
        self.own_labels: dict[str, str] = {}
        self.applied = self.refused = 0
        self.last_error = ""
        self.answered: float | None = None
        self.allowed: tuple[str, ...] = ()
        self.status: pb.Status | None = None
        self._context = context
        self._cut = cut
        self._queue: deque[pb.ConnectResponse] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._flight: Wanted | None = None
        self._next: Wanted | None = None
        self._nonce = ""
        self._timer: asyncio.TimerHandle | None = None
        self._probes: dict[str, asyncio.Future[None]] | None = None
        self._allowance = float(BURST)
        self._counted = time.monotonic()

    def __repr__(self) -> str:
        return f"<Link {self.entry.agent_id} applied={self.applied}{' pushing' if self._flight else ''}>"

    # -- sending -----------------------------------------------------------------------------------------------------

    def send(self, message: pb.ConnectResponse) -> bool:
        """Have a message written; False, and the stream cut, if too many wait already."""
        if len(self._queue) >= MAX_QUEUE:
            logger.warning("an agent does not read its control stream", extra={"agent": self.entry.agent_id})
            self._cut()
            return False
        self._queue.append(message)
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._write())
        return True

    async def _write(self) -> None:
        try:
            while self._queue:
                await self._context.write(self._queue.popleft())
        except (grpc.aio.UsageError, grpc.aio.InternalError, asyncio.CancelledError):
            # The call is over, and its end has been or will be told.
            self._queue.clear()
        finally:
            self._sending = None

    def push(self, wanted: Wanted) -> None:
        """Have the agent run this, behind what is in flight. Nothing is sent if it runs it, or has refused it."""
        if self._flight is not None:
            self._next = wanted
        elif wanted.version not in (self.applied, self.refused):
            self._flight = wanted
            self._nonce = secrets.token_hex(8)
            self._timer = asyncio.get_running_loop().call_later(ANSWER_TIMEOUT, self._silent)
            self.send(wanted.push(self._nonce))

    def _silent(self) -> None:
        self.last_error = f"no answer within {ANSWER_TIMEOUT:g} s"
        self._cut()

    # -- what the agent says -----------------------------------------------------------------------------------------

    def may_speak(self) -> bool:
        """Count one message; False if the agent sends too many."""
        now = time.monotonic()
        self._allowance = min(float(BURST), self._allowance + (now - self._counted) * RATE) - 1.0
        self._counted = now
        return self._allowance >= 0

    def answer(self, answer: pb.ConfigAnswer) -> Wanted | None:
        """Take the answer to a push; ``applied`` or ``refused`` then say which it was.

        Returns what was pushed, None if nothing in flight is answered by this.
        """
        flight = self._flight
        if flight is None or answer.nonce != self._nonce:
            return None
        self._flight = None
        self._stop_timer()
        self.answered = time.time()
        if answer.applied_version == flight.version:
            self.applied, self.refused, self.last_error = flight.version, 0, ""
        else:
            self.refused = flight.version
            lines = answer.error_detail.splitlines()[:MAX_FAULTS]
            self.last_error = "\n".join(map(clean, lines)) or "refused without a reason"
        return flight

    def go_on(self) -> None:
        """Push what was wanted meanwhile."""
        wanted, self._next = self._next, None
        if wanted is not None:
            self.push(wanted)

    async def probe(self, timeout: float) -> float:
        """Seconds until the agent's own code answers; a ping of the session asks only its carrier.

        Raises:
            TimeoutError: no answer in time.
            ConnectionError: the stream has ended.
        """
        if self._probes is None:
            self._probes = {}
        name = secrets.token_hex(4)
        answer = self._probes[name] = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        try:
            self.send(pb.ConnectResponse(probe=pb.Probe(id=name)))
            async with asyncio.timeout(timeout):
                await answer
        finally:
            del self._probes[name]
        return time.monotonic() - began

    def probed(self, name: str) -> None:
        """A probe is answered; a late one is ignored."""
        answer = self._probes.get(name) if self._probes is not None else None
        if answer is not None and not answer.done():
            answer.set_result(None)

    # -- the end -----------------------------------------------------------------------------------------------------

    def over(self) -> None:
        """The stream has ended: nothing is sent or waited for any longer."""
        self._queue.clear()
        self._flight = self._next = None
        self._stop_timer()
        if self._sending is not None:
            self._sending.cancel()
        for answer in (self._probes or {}).values():
            if not answer.done():
                answer.set_exception(ConnectionError("the control stream has ended"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
