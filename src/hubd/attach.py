"""Attaching: turns an agent's connection into a session and puts it into service.

Who may attach is decided by a callable given to the desk; everything before and after that decision is here.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carrier_api import tune
from hubd.applicant import AttachDenied, AttachRequest, Authorize, Grant, read_request
from hubd.reasons import (
    ATTACH_BUSY,
    ATTACH_DENIED,
    ATTACH_TIMEOUT,
    HUB_DRAINING,
    NOT_FOUND,
    TOO_MANY_SESSIONS,
    Reason,
)
from hubd.sessions import MAX_STREAMS, AgentSession
from tunnel.attach import Accepted, check_upgrade, encode_101
from tunnel.version import VERSION
from yamux import Config, Session, SessionClosed
from yamux.carrier import Upgrade, UpgradeRefused

if TYPE_CHECKING:
    from hubd.front import Front
    from hubd.state import Hub
    from tunnel.http1 import RequestHead

logger = logging.getLogger("hubd.attach")

SESSION = Config(
    # A ping every 15 s and 14 s of silence behind it: a black hole is found within 30 s, timers being a bit late.
    keepalive_interval=15.0,
    keepalive_timeout=14.0,
)
# Agents that say which instance they are acknowledge streams as they arrive. Others queue up to 256 and reset the rest.
PROMPT_SESSION = dataclasses.replace(SESSION, max_unacked=MAX_STREAMS)
# Streams an agent may have refused before its session ends: nothing that works opens any here.
CHURN_LIMIT = 200
CHURN_SECONDS = 10.0
CLOSE_GRACE = 5.0
CONTROL_GRACE = 0.5
# Programs on gorilla/websocket lose what they read together with the 101. They read it at once, so a twentieth of a
# second is enough; where the network delivers both together all the same, the ping that proves the session is repeated.
QUIET_AFTER_101 = 0.05
PROOF_TIMEOUT = 2.0
PROOF_TRIES = 3
# To enrol is one call. More agents at the same time than a rack has are turned away.
GUEST_SECONDS = 30.0
MAX_GUESTS = 64
# Seconds a denied agent is asked to stay away at most: allowed again, it should be back before people wonder.
MAX_RETRY_AFTER = 60.0

# Refusals that are events. Not 429, of which a flood has as many as it likes.
_TOLD = frozenset({401, 403, 409})

_SERVER = b"hubd/" + VERSION.encode()


class RefusedStream(asyncio.Protocol):
    """A stream the agent opened: reset, since the hub offers nothing on such streams."""

    __slots__ = ("_note",)

    def __init__(self, note: Callable[[], None]) -> None:
        self._note = note

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
        self._note()


class AttachDesk:
    """Receives attach requests.

    Args:
        hub: shared state.
        upgrades: known upgrade tokens, from the carrier registry.
        authorize: who may attach.
    """

    def __init__(self, hub: Hub, upgrades: dict[bytes, Upgrade], authorize: Authorize) -> None:
        self._hub = hub
        self._upgrades = upgrades
        self._authorize = authorize
        self._deciding: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def receive(self, front: Front, head: RequestHead) -> None:
        """Take an attach request: refuse it, or decide on it in a task of its own. Synchronous."""
        hub = self._hub
        try:
            accepted = check_upgrade(head, self._upgrades)
            request = read_request(front, head)
        except UpgradeRefused as exc:
            extra = b"".join(b"%b: %b\r\n" % field for field in exc.headers)
            self._refuse(front, head, Reason(exc.code, exc.status, exc.message), extra=extra)
            return
        if request is None:
            self._refuse(front, head, NOT_FOUND)
        elif hub.draining:
            self._refuse(front, head, HUB_DRAINING, request)
        elif len(self._deciding) >= hub.limits.handshakes:
            # After a restart all agents come at once. Those turned away come again, spread by their own jitter.
            self._refuse(front, head, ATTACH_BUSY, request)
        else:
            front.wait_for_attach()
            task = hub.loop.create_task(self._decide(front, head, request, accepted))
            self._deciding.add(task)
            task.add_done_callback(self._deciding.discard)

    async def _decide(self, front: Front, head: RequestHead, request: AttachRequest, accepted: Accepted) -> None:
        try:
            async with asyncio.timeout(self._hub.timeouts.attach):
                grant = await self._authorize(request)
            self._admit(request.agent_id)
        except AttachDenied as exc:
            extra = b"WWW-Authenticate: Bearer\r\n" if exc.reason.status == 401 else b""
            self._refuse(front, head, exc.reason, request, extra)
        except TimeoutError:
            self._refuse(front, head, ATTACH_TIMEOUT, request)
        except Exception:
            logger.exception("deciding on an agent failed")
            self._refuse(front, head, ATTACH_TIMEOUT, request)
        else:
            if not self._hub.quotas.room_for_session(request.agent_id, request.instance):
                self._refuse(front, head, TOO_MANY_SESSIONS, request)
            elif not front.gone:
                self._start(front, request, accepted, grant)

    def _admit(self, agent_id: str) -> None:
        """Raises AttachDenied for an agent that is denied. After authorization: strangers learn nothing of it."""
        left = self._hub.agents.denied_for(agent_id)
        if left is not None:
            raise AttachDenied(dataclasses.replace(ATTACH_DENIED, retry_after=math.ceil(min(left, MAX_RETRY_AFTER))))

    def _refuse(
        self,
        front: Front,
        head: RequestHead,
        reason: Reason,
        request: AttachRequest | None = None,
        extra: bytes = b"",
    ) -> None:
        hub = self._hub
        hub.stats.agents_refused[reason.code] += 1
        front.request_id = front.request_id or hub.next_id()
        agent = request.agent_id if request is not None else ""
        hub.reject(reason.code, "agent refused", front.link.peer, front.request_id.decode("latin-1"), agent)
        if agent and reason.status in _TOLD:
            hub.events.emit(
                "auth", "auth.denied", f"agents/{agent}", f"agent {agent} refused: {reason.message}",
                actor="agent", reason=reason.code, peer=front.link.peer,
            )  # fmt: skip
        if not front.gone:
            front.refuse(reason, head, close=True, extra=extra, count=False)

    def _start(self, front: Front, request: AttachRequest, accepted: Accepted, grant: Grant) -> None:
        hub = self._hub
        transport = front.transport
        leftover = self._take_over(front)
        churn = _Churn(hub.loop.time)
        session = Session(
            client=False,
            config=SESSION if request.instance is None else PROMPT_SESSION,
            stream_factory=lambda: self._agent_stream(entry, churn),
            on_close=lambda _: self._ended(entry),
        )
        entry = AgentSession(
            request.agent_id,
            session,
            instance=request.instance,
            peer=request.peer,
            version=request.version,
            labels=request.labels,
            attached_at=hub.loop.time(),
            ready=request.instance is not None,
            token_id=grant.token_id,
            joining=grant.joining,
            certificate=request.certificate,
            id=hub.ids.next(),
            carrier=accepted.token.decode(),
            folds=request.folds,
        )
        transport.write(encode_101(accepted.token, [*accepted.headers, _about(entry, control=hub.control is not None)]))
        accepted.framing.start(transport, session, leftover)
        if session.is_closed:
            return
        if entry.joining:
            self._welcome(entry)
            return
        entry.epoch = hub.agents.attached(entry.agent_id)
        hub.roster.add(entry)
        replaced = hub.pools.add(entry)
        hub.stats.agents_attached += 1
        in_service = _InService(request, entry.carrier, entry.id, replaces=replaced is not None)
        if entry.ready:
            in_service.tell()
            return
        session.pause_writing()
        task = hub.loop.create_task(self._prove(entry, in_service))
        self._deciding.add(task)
        task.add_done_callback(self._deciding.discard)

    def _take_over(self, front: Front) -> bytes:
        """Make an agent's connection out of a visitor's. Returns what has arrived on it already."""
        leftover = front.reader.take_rest()
        front.hand_over()
        front.resume_reading()
        self._hub.budget.visitors -= 1
        self._hub.budget.agents += 1
        tune(front.transport)
        return leftover

    def _agent_stream(self, entry: AgentSession, churn: _Churn) -> asyncio.BaseProtocol:
        """A protocol for a stream the agent opens: its one control stream, or none."""
        session = entry.session
        control = self._hub.control
        bridge = control.accept(entry) if control is not None else None
        if bridge is None:
            return RefusedStream(lambda: churn.note(session))
        # Taken or not, it costs something each time.
        churn.note(session)
        return bridge

    def _welcome(self, entry: AgentSession) -> None:
        """Keep a session that may only enrol, out of service and not for long."""
        hub = self._hub
        if len(hub.pools.guests) >= MAX_GUESTS:
            entry.session.abort(SessionClosed("too many agents are joining"))
            return
        hub.pools.guests.add(entry)
        logger.info("agent is joining", extra={"agent": entry.agent_id, "peer": entry.peer})
        hub.loop.call_later(GUEST_SECONDS, entry.session.abort, SessionClosed("it did not enrol in time"))

    async def _prove(self, entry: AgentSession, in_service: _InService) -> None:
        """Put an agent that says nothing of itself into service once it has answered a ping."""
        session = entry.session
        await asyncio.sleep(QUIET_AFTER_101)
        session.resume_writing()
        for _ in range(PROOF_TRIES):
            try:
                await session.ping(PROOF_TIMEOUT)
            except TimeoutError:
                continue
            except SessionClosed:
                return
            entry.ready = True
            in_service.tell()
            pool = self._hub.pools.get(entry.agent_id)
            if pool is not None and pool.waiters:
                pool.wake()
            return
        session.abort(SessionClosed("the agent answers no pings"))

    def _ended(self, entry: AgentSession) -> None:
        hub = self._hub
        hub.pools.remove(entry)
        hub.budget.agents -= 1
        hub.on_budget()
        why = entry.session.close_reason
        hub.roster.end(entry, str(why) if why is not None else "")
        hub.agents.seen(entry.agent_id)
        logger.info(
            "agent detached",
            extra={
                "agent": entry.agent_id,
                "session": entry.id,
                "instance": entry.instance or "",
                "peer": entry.peer,
                "seconds": round(hub.loop.time() - entry.attached_at, 1),
                "why": str(why) if why is not None else "",
            },
        )

    def close_idle(self) -> None:
        """Close draining sessions that serve nothing any more. Called by the sweep."""
        for entry in self._hub.pools.draining:
            if entry.active == 0 and not entry.closing and entry.awaits <= self._hub.now:
                entry.closing = True
                # Nothing is left but, with some agents, the control stream, which has no end of its own.
                grace = CONTROL_GRACE if entry.controlled else CLOSE_GRACE
                task = self._hub.loop.create_task(entry.session.close(grace))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def close(self, grace: float) -> None:
        """End every session and every attach in progress.

        Args:
            grace: seconds sessions get for their last bytes; 0 cuts them.
        """
        for task in self._deciding:
            task.cancel()
        sessions = [entry.session for entry in self._hub.pools.sessions()]
        if not grace:
            for session in sessions:
                session.abort()
        await asyncio.gather(*self._deciding, *self._closing, return_exceptions=True)
        await asyncio.gather(*(session.close(grace) for session in sessions), return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _InService:
    """The line that tells of an agent in service."""

    request: AttachRequest
    upgrade: str
    session: str
    replaces: bool

    def tell(self) -> None:
        """Log it."""
        request = self.request
        logger.info(
            "agent attached",
            extra={
                "agent": request.agent_id,
                "session": self.session,
                "instance": request.instance or "",
                "peer": request.peer,
                "version": request.version,
                "upgrade": self.upgrade,
                "replaces": self.replaces,
            },
        )


def _about(entry: AgentSession, *, control: bool) -> tuple[bytes, bytes]:
    """The field that tells an agent who we are, what was agreed on with it, and what else there is."""
    value = _SERVER
    if control:
        value += b"; control=1"
    if entry.folds:
        entry.session.fold()
        value += b"; fold=1"
    return b"Tunnel-Hub", value


class _Churn:
    """Ends a session whose agent keeps opening streams that are refused."""

    __slots__ = ("_clock", "_times")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times: deque[float] = deque(maxlen=CHURN_LIMIT)

    def note(self, session: Session) -> None:
        """One more refusal."""
        now = self._clock()
        if len(self._times) == CHURN_LIMIT and now - self._times[0] < CHURN_SECONDS:
            logger.warning("session ended: its agent opened too many streams")
            session.abort()
        self._times.append(now)
