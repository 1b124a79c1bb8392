"""One hub: dial, attach, run the session, and come back for ever.

An uplink is in one of five states, and the table below holds every step between them:

    CONNECTING  an attempt is under way
    ONLINE      a session takes streams
    WAITING     until the next attempt
    LEAVING     draining: no attempt will follow, open streams go on
    STOPPED     nothing is left

A hub that says GoAway is not lost: its session goes on with the streams it has, and the uplink connects again beside
it, since whoever follows that hub may be there already. A hub that tells of a drain on the control stream has not said
GoAway yet: the session takes new streams until the one that replaces it is there.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from agentd.backoff import STEADY, Backoff
from agentd.explain import explain_end, explain_failure
from agentd.terms import Terms, session_config
from tunnel.attach import AttachFailed, AttachInfo, AttachRefused, attach
from tunnel.settings import SecretFileError
from yamux import Session

if TYPE_CHECKING:
    from agentd.control import Control
    from agentd.hubs import Hub
    from agentd.serve import Server

logger = logging.getLogger("agentd")

# Seconds between looks at a session for a GoAway, which asks for nothing faster: the streams go on.
LOOK = 0.25
# Seconds a session must have lived for its hub's GoAway to count as a planned end.
LEAVE_TAKEN = 1.0
# Seconds a session that is replaced by our own wish takes new streams while the new one attaches.
RENEWAL = 30.0
# Seconds to stay away at least after a refusal that only people can lift, such as a wrong token.
REFUSED = 5.0
# Seconds a session gets for its end when no stream is left: a busy hub may need one to read its last words, and one
# that hangs must not hold up the exit.
LAST_GRACE = 2.0


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


OnDrain = Callable[[float, float], None]
"""Called with the seconds until the session is cut, and those to wait before attaching again."""

Attend = Callable[["Session", OnDrain], "Control"]
"""Opens the control stream of a session whose hub offers one."""


class Uplink:
    """The connection to one hub. ``run`` is its life; ``drain`` and ``close`` are its end.

    Args:
        hub: where to, or several ways to the same hub in order of preference.
        terms: how.
        server: gets the streams.
        backoff: delays between attempts.
        attend: for hubs that offer a control stream; None opens none.

    Attributes:
        state: changed by ``STEPS`` only.
        hub: the way that is used, or tried next.
        terms: for sessions from now on.
        session: the one that takes streams.
        info: what the hub's 101 said.
        last_error: why the last attempt failed, or the last session ended; "" while all is well.
    """

    def __init__(
        self,
        hub: Hub | Sequence[Hub],
        terms: Terms,
        server: Server,
        backoff: Backoff | None = None,
        *,
        attend: Attend | None = None,
    ) -> None:
        self._ways = list(hub) if isinstance(hub, Sequence) else [hub]
        self.hub = self._ways[0]
        self.terms = terms
        self.last_error = ""
        self._attend = attend
        self._controls: dict[Session, Control] = {}
        self._wake = asyncio.Event()
        # When the session is cut and how long to wait first, once its hub has told of a drain.
        self._renewal: tuple[float, float] | None = None
        self.state = State.CONNECTING
        self.session: Session | None = None
        self.info: AttachInfo | None = None
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
            config=session_config(self.terms.streams),
            stream_factory=self._server.exchange,
            on_close=self._over,
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
        self.last_error = ""
        began = asyncio.get_running_loop().time()
        self._greet()
        self._renewal = None
        if self._attend is not None and self.info is not None and self.info.offers("control"):
            self._controls[session] = self._attend(session, lambda left, after: self._drained(session, left, after))
        await self._stay(session)
        self.session = None
        return self._left(session, asyncio.get_running_loop().time() - began)

    def _left(self, session: Session, lived: float) -> float:
        """A session takes no more streams, or is to be replaced; returns the seconds to wait before the next."""
        # A hub that took its leave after a while has not failed: whoever follows it is likely there already.
        self._backoff.lived(STEADY if session.core.remote_go_away and lived >= LEAVE_TAKEN else lived)
        if session.is_closed:
            self._over(session)
            self._step(Step.LOST)
            delay = self._backoff.next()
            self.last_error = explain_end(session.close_reason)
            logger.warning(
                "lost hub %s after %.0f s: %s; connecting again in %.1f s",
                self.hub.place, lived, self.last_error, delay,
            )  # fmt: skip
            return delay
        self._step(Step.HUB_LEAVES)
        until = asyncio.get_running_loop().time()
        if self._renewal is not None:
            # The hub has spread its agents over time itself.
            left, delay = self._renewal
            until += left
        else:
            delay = self._backoff.next()
        logger.info(
            "hub %s takes its leave: %d streams go on there; connecting again in %.1f s",
            self.hub.place, session.num_streams, delay,
        )  # fmt: skip
        self._keep(asyncio.get_running_loop().create_task(self._see_off(session, until)))
        return delay

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _over(self, session: Session) -> None:
        self._sessions.discard(session)
        self._end_control(session)
        self._wake.set()

    def _end_control(self, session: Session) -> None:
        control = self._controls.pop(session, None)
        if control is not None:
            self._keep(control.end())

    def _drained(self, session: Session, left: float, after: float) -> None:
        if session is self.session:
            self.renew(left, after)

    def renew(self, left: float, after: float = 0.0) -> None:
        """Replace the present session by a new one, which attaches first.

        Args:
            left: seconds in which the new one has to be there; then the old one takes no new streams all the same.
            after: seconds to wait first.
        """
        self._renewal = (left, after)
        self._wake.set()

    def prefer(self, schemes: Sequence[str]) -> None:
        """Use the ways to this hub in this order; those it does not name come last, in the order they were given."""
        rank = {scheme: index for index, scheme in enumerate(schemes)}
        best = min(self._ways, key=lambda way: rank.get(way.address.scheme, len(rank)))
        if best is not self.hub:
            self.hub = best
            if self.session is not None:
                self.renew(RENEWAL)

    async def _attach(self, session: Session) -> None:
        terms, hub = self.terms, self.hub
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
        self.last_error = explain_failure(error, self.hub)
        logger.warning("%s; trying again in %.1f s", self.last_error, delay)
        self.hub = self._ways[(self._ways.index(self.hub) + 1) % len(self._ways)]
        return delay

    def _greet(self) -> None:
        hub = self.hub
        server = self.info.server if self.info is not None else None
        logger.info(
            "connected as %s (instance %s) over %s: attached to %s",
            hub.agent_id, self.terms.instance, hub.carrier.name, hub.place,
            extra={"hub": server or "unknown"},
        )  # fmt: skip

    async def _stay(self, session: Session) -> None:
        """Return when the session has ended, or its hub opens no more streams on it, or will stop doing so."""
        while not session.is_closed and session.can_open and self._renewal is None:
            self._wake.clear()
            await self._look()

    async def _look(self) -> None:
        """Wait for something to happen to a session, or a moment."""
        try:
            async with asyncio.timeout(LOOK):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _see_off(self, session: Session, until: float) -> None:
        """Let a session that takes no more streams finish those it has.

        Args:
            session: was the present one.
            until: loop time up to which its hub may still open streams on it.
        """
        loop = asyncio.get_running_loop()
        while session.can_open and loop.time() < until:
            self._wake.clear()
            await self._look()
        self._end_control(session)
        if session.can_open:
            session.go_away()
        while not session.is_closed and session.num_streams:
            try:
                async with asyncio.timeout(LOOK):
                    await session.wait_closed()
            except TimeoutError:
                pass
        await session.close(LAST_GRACE)

    async def quiet(self) -> None:
        """Return when no stream is open. Call drain() first."""
        while self.streams:
            self._wake.clear()
            await self._look()

    # -- for those who look ------------------------------------------------------------------------------------------

    @property
    def control(self) -> Control | None:
        """The control stream of the present session."""
        return self._controls.get(self.session) if self.session is not None else None

    @property
    def streams(self) -> int:
        """Open streams of all sessions, control streams aside."""
        return sum(session.num_streams for session in self._sessions) - sum(
            control.open for control in self._controls.values()
        )

    # -- the end -----------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Take no new streams and connect no more; what is open goes on. Idempotent."""
        if self.state in (State.LEAVING, State.STOPPED):
            return
        self._step(Step.DRAIN)
        if self._task is not None:
            self._task.cancel()
        for session in list(self._sessions):
            self._end_control(session)
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
