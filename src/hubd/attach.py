"""Attaching: turns an agent's connection into a session and puts it into service.

Who may attach is decided by a callable given to the desk; everything before and after that decision is here.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carrier_api import tune
from hubd.reasons import (
    ATTACH_BUSY,
    ATTACH_CLOSED,
    ATTACH_TIMEOUT,
    HUB_DRAINING,
    NOT_FOUND,
    Reason,
)
from hubd.sessions import MAX_STREAMS, AgentSession
from tunnel.attach import Accepted, check_upgrade, encode_101, parse_attach_path
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
# Programs on gorilla/websocket lose what they read together with the 101. They read it at once, so a twentieth of a
# second is enough; where the network delivers both together all the same, the ping that proves the session is repeated.
QUIET_AFTER_101 = 0.05
PROOF_TIMEOUT = 2.0
PROOF_TRIES = 3
MAX_LABELS = 32

_SERVER = (b"Tunnel-Hub", b"hubd/" + VERSION.encode())
_INSTANCE = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}=[A-Za-z0-9._:/@-]{0,128}")
_TEXT = re.compile(r"[\x21-\x7e]{1,64}")


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """What an agent says of itself, before anybody believed it.

    Args:
        agent_id: from the path; letters, digits, ``.``, ``_``, ``~`` and ``-``.
        peer: its address, "" on sockets in the file system.
        secure: the connection has TLS.
        authorization: value of Authorization, or None. Secret.
        instance: ``X-Agent-Instance``, or None.
        version: ``Agent-Version``, or "".
        labels: ``X-Agent-Label`` values, ``key=value``.
    """

    agent_id: str
    peer: str
    secure: bool
    authorization: bytes | None
    instance: str | None
    version: str
    labels: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<AttachRequest {self.agent_id} from {self.peer or 'a local socket'}>"


class AttachDenied(Exception):
    """The agent may not attach.

    Args:
        reason: what it is told.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.message)
        self.reason = reason


Authorize = Callable[[AttachRequest], Awaitable[None]]
"""Returns if the agent may attach; raises AttachDenied otherwise."""


async def allow_all(request: AttachRequest) -> None:
    """Any agent under any id: for ``--dev``, whose listeners are loopback only."""


async def deny_all(request: AttachRequest) -> None:
    """No agent: what a hub without tokens does."""
    raise AttachDenied(ATTACH_CLOSED)


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
            request = _read(front, head)
        except UpgradeRefused as exc:
            extra = b"".join(b"%b: %b\r\n" % field for field in exc.headers)
            self._refuse(front, head, Reason(exc.code, exc.status, exc.message), extra)
            return
        if request is None:
            self._refuse(front, head, NOT_FOUND)
        elif hub.draining:
            self._refuse(front, head, HUB_DRAINING)
        elif len(self._deciding) >= hub.limits.handshakes:
            # After a restart all agents come at once. Those turned away come again, spread by their own jitter.
            self._refuse(front, head, ATTACH_BUSY)
        else:
            front.wait_for_attach()
            task = hub.loop.create_task(self._decide(front, head, request, accepted))
            self._deciding.add(task)
            task.add_done_callback(self._deciding.discard)

    async def _decide(self, front: Front, head: RequestHead, request: AttachRequest, accepted: Accepted) -> None:
        try:
            async with asyncio.timeout(self._hub.timeouts.attach):
                await self._authorize(request)
        except AttachDenied as exc:
            extra = b"WWW-Authenticate: Bearer\r\n" if exc.reason.status == 401 else b""
            self._refuse(front, head, exc.reason, extra)
        except TimeoutError:
            self._refuse(front, head, ATTACH_TIMEOUT)
        except Exception:
            logger.exception("deciding on an agent failed")
            self._refuse(front, head, ATTACH_TIMEOUT)
        else:
            if not front.gone:
                self._start(front, request, accepted)

    def _refuse(self, front: Front, head: RequestHead, reason: Reason, extra: bytes = b"") -> None:
        self._hub.stats.agents_refused[reason.code] += 1
        if not front.gone:
            front.refuse(reason, head, close=True, extra=extra)

    def _start(self, front: Front, request: AttachRequest, accepted: Accepted) -> None:
        hub = self._hub
        transport = front.transport
        leftover = front.reader.take_rest()
        front.hand_over()
        front.resume_reading()
        hub.budget.visitors -= 1
        hub.budget.agents += 1
        tune(transport)
        churn = _Churn(hub.loop.time)
        session = Session(
            client=False,
            config=SESSION if request.instance is None else PROMPT_SESSION,
            stream_factory=lambda: RefusedStream(lambda: churn.note(session)),
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
        )
        transport.write(encode_101(accepted.token, [*accepted.headers, _SERVER]))
        accepted.framing.start(transport, session, leftover)
        if session.is_closed:
            return
        replaced = hub.pools.add(entry)
        hub.stats.agents_attached += 1
        in_service = _InService(request, accepted.token.decode(), replaces=replaced is not None)
        if entry.ready:
            in_service.tell()
            return
        session.pause_writing()
        task = hub.loop.create_task(self._prove(entry, in_service))
        self._deciding.add(task)
        task.add_done_callback(self._deciding.discard)

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
        logger.info(
            "agent detached",
            extra={
                "agent": entry.agent_id,
                "instance": entry.instance or "",
                "peer": entry.peer,
                "seconds": round(hub.loop.time() - entry.attached_at, 1),
                "why": str(why) if why is not None else "",
            },
        )

    def close_idle(self) -> None:
        """Close draining sessions that serve nothing any more. Called by the sweep."""
        for entry in self._hub.pools.draining:
            if entry.active == 0 and not entry.closing:
                entry.closing = True
                task = self._hub.loop.create_task(entry.session.close(CLOSE_GRACE))
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
    replaces: bool

    def tell(self) -> None:
        """Log it."""
        request = self.request
        logger.info(
            "agent attached",
            extra={
                "agent": request.agent_id,
                "instance": request.instance or "",
                "peer": request.peer,
                "version": request.version,
                "upgrade": self.upgrade,
                "replaces": self.replaces,
            },
        )


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


def _read(front: Front, head: RequestHead) -> AttachRequest | None:
    """The agent's own words, checked; None for an id that cannot be.

    Raises:
        UpgradeRefused: 400 for a field that is not as it should be.
    """
    agent_id = parse_attach_path(head.path)
    if agent_id is None:
        return None
    given: dict[bytes, list[bytes]] = {}
    for name, value in head.fields:
        given.setdefault(name.lower(), []).append(value)
    instance = _one(given, b"x-agent-instance", _INSTANCE)
    version = _one(given, b"agent-version", _TEXT)
    labels = tuple(value.decode("latin-1") for value in given.get(b"x-agent-label", []))
    if len(labels) > MAX_LABELS or not all(_LABEL.fullmatch(label) for label in labels):
        raise UpgradeRefused(400, "bad_label", f"a label is key=value; at most {MAX_LABELS} of them")
    tokens = given.get(b"authorization", [])
    if len(tokens) > 1:
        raise UpgradeRefused(400, "bad_authorization", "more than one Authorization")
    authorization = tokens[0] if tokens else None
    return AttachRequest(agent_id, front.link.peer, front.link.secure, authorization, instance, version or "", labels)


def _one(given: dict[bytes, list[bytes]], name: bytes, form: re.Pattern[str]) -> str | None:
    values = [value.decode("latin-1") for value in given.get(name, [])]
    if not values:
        return None
    if len(values) > 1 or not form.fullmatch(values[0]):
        text = name.decode()
        raise UpgradeRefused(400, "bad_" + text.removeprefix("x-").replace("-", "_"), f"{text} is not valid")
    return values[0]
