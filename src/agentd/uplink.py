"""One hub: dial, attach, run the session, and come back for ever.

An uplink is in one of five states, and the table below holds every step between them:

    CONNECTING  an attempt is under way
    ONLINE      a session takes streams
    WAITING     until the next attempt
    LEAVING     draining: no attempt will follow, open streams go on
    STOPPED     nothing is left

A hub that says GoAway is not lost: its session goes on with the streams it has, and the uplink connects again beside
it, since whoever follows that hub may be there already.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentd.backoff import STEADY, Backoff
from agentd.explain import explain_end, explain_failure
from tunnel.attach import AttachFailed, AttachInfo, AttachRefused, attach
from tunnel.settings import SecretFileError, read_secret_file
from tunnel.version import VERSION
from yamux import Config, Session
from yamux.carrier import TlsOptions

if TYPE_CHECKING:
    from agentd.hubs import Hub
    from agentd.serve import Server
    from tunnel.logs import Secret

logger = logging.getLogger("agentd")

# Seconds between looks at a session for a GoAway, which asks for nothing faster: the streams go on.
LOOK = 0.25
# Seconds a session must have lived for its hub's GoAway to count as a planned end.
LEAVE_TAKEN = 1.0
# Seconds to stay away at least after a refusal that only people can lift, such as a wrong token.
REFUSED = 5.0
# Seconds the last bytes of a session get at the end, when no exchange is left.
LAST_GRACE = 0.3


def session_config(streams: int) -> Config:
    """Settings of the agent's side of a session.

    Args:
        streams: that the hub may hold open.
    """
    return Config(
        # A ping every 15 s and 14 s of silence behind it: a black hole is found within 30 s, timers being a bit late.
        keepalive_interval=15.0,
        keepalive_timeout=14.0,
        max_inbound_streams=streams,
        # Streams are accepted as they are read, and one read may bring hundreds.
        accept_backlog=streams,
        # The hub opens one stream a request and resets those whose visitor left. A crowd that leaves at once is no
        # attack, and the hub is the side we trust with our requests anyway.
        reset_burst=100_000,
        resets_per_second=10_000.0,
        idle_frames_per_second=50_000.0,
    )


class State(enum.Enum):
    """Where an uplink is; see above."""

    CONNECTING = "connecting"
    ONLINE = "online"
    WAITING = "waiting"
    LEAVING = "leaving"
    STOPPED = "stopped"


class Step(enum.Enum):
    """What happens to it."""

    ATTACHED = "attached"
    FAILED = "failed"
    LOST = "lost"
    HUB_LEAVES = "hub leaves"
    DUE = "due"
    DRAIN = "drain"
    ENDED = "ended"


STEPS: dict[tuple[State, Step], State] = {
    (State.CONNECTING, Step.ATTACHED): State.ONLINE,
    (State.CONNECTING, Step.FAILED): State.WAITING,
    (State.CONNECTING, Step.DRAIN): State.LEAVING,
    (State.ONLINE, Step.LOST): State.WAITING,
    (State.ONLINE, Step.HUB_LEAVES): State.WAITING,
    (State.ONLINE, Step.DRAIN): State.LEAVING,
    (State.WAITING, Step.DUE): State.CONNECTING,
    (State.WAITING, Step.DRAIN): State.LEAVING,
    (State.LEAVING, Step.ENDED): State.STOPPED,
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What is the same for all uplinks of a process.

    Args:
        instance: random, tells the hub which sessions are one process.
        labels: ``key=value``.
        token_file: where the token is; None sends none.
        token: read already, because it came from standard input.
        tls: towards the hub.
        timeout: seconds for one attempt.
        streams: that a hub may hold open on a session.
    """

    instance: str
    labels: tuple[str, ...] = ()
    token_file: str | None = None
    token: Secret | None = field(default=None, repr=False)
    tls: TlsOptions = field(default_factory=TlsOptions)
    timeout: float = 15.0
    streams: int = 2000

    def headers(self) -> list[tuple[str, str]]:
        """Fields of the attach request."""
        own = [("X-Agent-Instance", self.instance), ("Agent-Version", VERSION), ("Tunnel-Agent", "fold")]
        return own + [("X-Agent-Label", label) for label in self.labels]

    def read_token(self) -> str | None:
        """The token as it is now.

        Raises:
            SecretFileError: the file cannot be used.
        """
        if self.token is not None:
            return self.token.reveal()
        return read_secret_file(self.token_file).reveal() if self.token_file is not None else None


class Uplink:
    """The connection to one hub. ``run`` is its life; ``drain`` and ``close`` are its end.

    Args:
        hub: where to.
        terms: how.
        server: gets the streams.
        backoff: delays between attempts.

    Attributes:
        state: changed by ``STEPS`` only.
        session: the one that takes streams.
        info: what the hub's 101 said.
    """

    def __init__(self, hub: Hub, terms: Terms, server: Server, backoff: Backoff | None = None) -> None:
        self.hub = hub
        self.state = State.CONNECTING
        self.session: Session | None = None
        self.info: AttachInfo | None = None
        self._terms = terms
        self._server = server
        self._backoff = backoff or Backoff()
        self._failing = False
        # The present session and those whose hub is leaving.
        self._sessions: set[Session] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Uplink {self.hub.place} {self.state.value} sessions={len(self._sessions)}>"

    def _step(self, step: Step) -> None:
        self.state = STEPS[self.state, step]

    def start(self) -> None:
        """Connect, in a task of its own, and stay connected."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(_tell)

    # -- staying connected -------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            # Each failure has its own line, which says when the next attempt is.
            level = logging.DEBUG if self._failing else logging.INFO
            logger.log(level, "connecting to %s as %s", self.hub.place, self.hub.agent_id)
            delay = await self._once()
            await asyncio.sleep(delay)
            self._step(Step.DUE)

    async def _once(self) -> float:
        """One attempt and the session that comes of it; returns the seconds to wait before the next."""
        session = Session(
            client=True,
            config=session_config(self._terms.streams),
            stream_factory=self._server.exchange,
            on_close=self._sessions.discard,
        )
        try:
            await self._attach(session)
        except (AttachFailed, AttachRefused, SecretFileError) as error:
            return self._failed(error, _wish(error))
        except Exception as error:
            # A carrier plugin's own mistake must not end the agent.
            return self._failed(error, None)
        self._step(Step.ATTACHED)
        self._failing = False
        began = asyncio.get_running_loop().time()
        self._greet()
        await self._stay(session)
        self.session = None
        if session.is_closed:
            self._sessions.discard(session)
        lived = asyncio.get_running_loop().time() - began
        # A hub that took its leave after a while has not failed: whoever follows it is likely there already.
        self._backoff.lived(STEADY if session.core.remote_go_away and lived >= LEAVE_TAKEN else lived)
        delay = self._backoff.next()
        if session.is_closed:
            self._step(Step.LOST)
            why = explain_end(session.close_reason)
            logger.warning(
                "lost hub %s after %.0f s: %s; connecting again in %.1f s", self.hub.place, lived, why, delay
            )
        else:
            self._step(Step.HUB_LEAVES)
            logger.info(
                "hub %s takes its leave: %d streams go on there; connecting again in %.1f s",
                self.hub.place, session.num_streams, delay,
            )  # fmt: skip
            task = asyncio.get_running_loop().create_task(self._see_off(session))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        return delay

    async def _attach(self, session: Session) -> None:
        terms, hub = self._terms, self.hub
        self.info = await attach(
            hub.carrier,
            hub.address,
            hub.agent_id,
            session,
            tls=terms.tls,
            token=terms.read_token(),
            headers=terms.headers(),
            timeout=terms.timeout,
        )
        if self.info.offers("fold"):
            session.fold()
        self.session = session
        self._sessions.add(session)

    def _failed(self, error: Exception, wished: float | None) -> float:
        self._step(Step.FAILED)
        self._failing = True
        delay = self._backoff.next(wished)
        logger.warning("%s; trying again in %.1f s", explain_failure(error, self.hub), delay)
        return delay

    def _greet(self) -> None:
        hub = self.hub
        server = self.info.server if self.info is not None else None
        logger.info(
            "connected as %s (instance %s) over %s: attached to %s",
            hub.agent_id, self._terms.instance, hub.carrier.name, hub.place,
            extra={"hub": server or "unknown"},
        )  # fmt: skip

    async def _stay(self, session: Session) -> None:
        """Return when the session has ended, or its hub opens no more streams on it."""
        while not session.is_closed and session.can_open:
            try:
                async with asyncio.timeout(LOOK):
                    await session.wait_closed()
            except TimeoutError:
                pass

    async def _see_off(self, session: Session) -> None:
        """Let a session that takes no more streams finish those it has."""
        while not session.is_closed and session.num_streams:
            try:
                async with asyncio.timeout(LOOK):
                    await session.wait_closed()
            except TimeoutError:
                pass
        await session.close(LAST_GRACE)

    # -- the end -----------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Take no new streams and connect no more; what is open goes on. Idempotent."""
        if self.state in (State.LEAVING, State.STOPPED):
            return
        self._step(Step.DRAIN)
        if self._task is not None:
            self._task.cancel()
        for session in self._sessions:
            session.go_away()

    async def close(self, *, now: bool = False) -> None:
        """End every session. Call drain() first, and let the exchanges end.

        Args:
            now: reset what is still open instead of letting last bytes leave.
        """
        self.drain()
        tasks = [*self._leaving, *([self._task] if self._task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(self._end(session, now) for session in list(self._sessions)))
        if self.state is State.LEAVING:
            self._step(Step.ENDED)

    async def _end(self, session: Session, now: bool) -> None:
        try:
            async with asyncio.timeout(0 if now else LAST_GRACE):
                await session.close(LAST_GRACE)
        except TimeoutError:
            pass
        # A hub that does not close its side must not hold up the exit.
        session.abort()
        await session.wait_closed()


def _wish(error: Exception) -> float | None:
    """Seconds the hub wants us to stay away: as it says, or some for an answer that will hardly change."""
    if not isinstance(error, AttachRefused):
        return None
    if error.retry_after is None and 400 <= error.status < 500:
        return REFUSED
    return error.retry_after


def _tell(task: asyncio.Task[None]) -> None:
    """An uplink runs until it is cancelled; if it did not, that is a fault of this program and must be seen."""
    if not task.cancelled() and task.exception() is not None:
        logger.error("an uplink has failed", exc_info=task.exception())
