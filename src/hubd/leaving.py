"""Ending sessions in good order: drains with a deadline that means it, and evictions.

A drain takes a session out of service, tells its agent, and cuts what is still open at the deadline. Agents that say
which instance they are connect anew before they leave; until that has happened, or a few seconds have passed, requests
for an agent whose last session drains wait instead of failing. Agents that say nothing of themselves are not told:
a GoAway means nothing to them, and some implementations end all their streams at it. They come back when the session
is closed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from yamux import SessionClosed

if TYPE_CHECKING:
    from hubd.sessions import AgentSession
    from hubd.state import Hub

logger = logging.getLogger("hubd.leaving")

# Agents told to leave in a second: each costs the hub it goes to a handshake and a millisecond or more of TLS.
TOLD_PER_SECOND = 20
# An agent told of a drain is back within 1.5 s at the latest (a look every 0.25 s, then its backoff).
SUCCESSOR_SECONDS = 5.0

Notify = Callable[["AgentSession", float, str, float], bool]
"""Tells an agent of a drain on its control stream: session, deadline in seconds since the epoch, reason, and seconds
it should wait before it connects anew. False if it could not."""


def nobody_to_tell(entry: AgentSession, deadline: float, reason: str, reconnect_after: float) -> bool:
    """No control streams here."""
    return False


class Leaving:
    """Drains and evictions of one hub's sessions.

    Args:
        hub: whose sessions.

    Attributes:
        notify: tells agents on their control streams.
        untold: sessions of a drain of the whole hub whose turn has not come.
    """

    def __init__(self, hub: Hub) -> None:
        self.notify: Notify = nobody_to_tell
        self.untold: dict[AgentSession, asyncio.TimerHandle] = {}
        self._hub = hub
        self._cuts: dict[AgentSession, asyncio.TimerHandle] = {}

    # -- one session --------------------------------------------------------------------------------------------------

    def drain(
        self, entry: AgentSession, seconds: float, reason: str, *, actor: str = "hub", reconnect_after: float = 0.0
    ) -> None:
        """Take a session out of service. Repeating it moves the deadline.

        Args:
            entry: the session.
            seconds: until what is still open is cut; 0 cuts now.
            reason: for the agent, the log and the event.
            actor: who wants it.
            reconnect_after: seconds the agent should wait before it connects anew.
        """
        hub = self._hub
        self._forget_turn(entry)
        if entry.id not in hub.roster.live:
            return
        entry.drain_deadline = time.time() + seconds
        entry.close_reason = f"drained: {reason}" if reason else "drained"
        self._tell(entry, reason, reconnect_after)
        if entry.told and entry.instance is not None and not hub.draining:
            entry.awaits = hub.loop.time() + SUCCESSOR_SECONDS
            hub.pools.expect([entry.agent_id], hub.loop.time() + SUCCESSOR_SECONDS)
        hub.pools.withdraw(entry)
        hub.events.emit(
            "session", "session.draining", f"sessions/{entry.id}", f"agent {entry.agent_id} drains: {reason or 'asked'}",
            actor=actor, agent=entry.agent_id, seconds=f"{seconds:g}", streams=entry.open_streams,
        )  # fmt: skip
        old = self._cuts.pop(entry, None)
        if old is not None:
            old.cancel()
        if seconds > 0:
            self._cuts[entry] = hub.loop.call_later(seconds, self._cut, entry)
        else:
            self._cut(entry)

    def _tell(self, entry: AgentSession, reason: str, reconnect_after: float) -> None:
        assert entry.drain_deadline is not None
        if entry.controlled and self.notify(entry, entry.drain_deadline, reason, reconnect_after):
            entry.told = True
        elif entry.instance is not None and not entry.told:
            entry.told = True
            entry.session.go_away()

    def undrain(self, entry: AgentSession) -> bool:
        """Take back a drain; False if the agent knows of it already, or there is none."""
        if entry in self.untold:
            self._forget_turn(entry)
            return True
        if not entry.draining or entry.told or entry.closing or entry.id not in self._hub.roster.live:
            return False
        self._forget_cut(entry)
        entry.drain_deadline = None
        entry.close_reason = ""
        self._hub.pools.restore(entry)
        return True

    def evict(self, entry: AgentSession, reason: str, *, actor: str = "hub") -> int:
        """Reset a session's streams and close it now; returns how many streams that were. Idempotent."""
        hub = self._hub
        self._forget_turn(entry)
        self._forget_cut(entry)
        if entry.id not in hub.roster.live:
            return 0
        streams = entry.open_streams
        entry.close_reason = f"evicted: {reason}" if reason else "evicted"
        hub.events.emit(
            "session", "session.evicted", f"sessions/{entry.id}", f"agent {entry.agent_id} evicted: {reason or 'asked'}",
            actor=actor, agent=entry.agent_id, streams=streams,
        )  # fmt: skip
        self._end(entry)
        return streams

    def _cut(self, entry: AgentSession) -> None:
        """The deadline of a drain."""
        self._forget_cut(entry)
        if entry.id in self._hub.roster.live:
            streams = entry.open_streams
            if streams:
                logger.warning(
                    "drain deadline: cutting what is still open",
                    extra={"agent": entry.agent_id, "session": entry.id, "streams": streams},
                )
            self._end(entry)

    def _end(self, entry: AgentSession) -> None:
        # Out of the pool first: requests that are tried again must not find it.
        self._hub.pools.remove(entry)
        entry.session.abort(SessionClosed(entry.close_reason))

    # -- all of them --------------------------------------------------------------------------------------------------

    def drain_all(self, seconds: float, reason: str, *, actor: str = "hub", at_once: bool = False) -> int:
        """Drain every session, one after the other, at random times within half of the deadline at most.

        With ``at_once`` they are told together: for a hand-over to a process that waits for them. Returns how many there are; `untold` empties as their turns come.
        """
        loop = self._hub.loop
        entries = [entry for entry in self._hub.roster.live.values() if entry not in self.untold]
        spread = 0.0 if at_once else min(seconds / 2, (len(entries) - 1) / TOLD_PER_SECOND)
        for entry in entries:
            delay = random.uniform(0.0, spread) if spread > 0 else 0.0
            if delay:
                self.untold[entry] = loop.call_later(delay, self._turn, entry, seconds - delay, reason, actor)
            else:
                self._turn(entry, seconds, reason, actor)
        return len(entries)

    def _turn(self, entry: AgentSession, seconds: float, reason: str, actor: str) -> None:
        # With nothing left to wait for, the sweep closes it; a deadline of 0 would cut the bytes still on their way.
        self.drain(entry, max(seconds, 0.1), reason, actor=actor)

    def forget(self, entry: AgentSession) -> None:
        """The session is over."""
        self._forget_turn(entry)
        self._forget_cut(entry)

    def close(self) -> None:
        """Stop all timers."""
        for timer in (*self.untold.values(), *self._cuts.values()):
            timer.cancel()
        self.untold.clear()
        self._cuts.clear()

    def _forget_turn(self, entry: AgentSession) -> None:
        timer = self.untold.pop(entry, None)
        if timer is not None:
            timer.cancel()

    def _forget_cut(self, entry: AgentSession) -> None:
        timer = self._cuts.pop(entry, None)
        if timer is not None:
            timer.cancel()
