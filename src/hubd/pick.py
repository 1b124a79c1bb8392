"""Which session of a pool serves the next request. Plain functions, no state but the pool's turn counter.

A policy gets the pool's sessions, of which there is at least one, and returns one whose ``can_open`` holds,
or None when none has it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hubd.sessions import AgentSession, Pool

Policy = Callable[["Pool"], "AgentSession | None"]


def least_streams(pool: Pool) -> AgentSession | None:
    """The session with the fewest exchanges in progress; the longest attached of equals."""
    entries = pool.entries
    if len(entries) == 1:
        entry = entries[0]
        return entry if entry.can_open else None
    best: AgentSession | None = None
    for entry in entries:
        if (best is None or entry.active < best.active) and entry.can_open:
            best = entry
    return best


def random_choice(pool: Pool) -> AgentSession | None:
    """Any session, each as likely as the other."""
    usable = [entry for entry in pool.entries if entry.can_open]
    return random.choice(usable) if usable else None


def round_robin(pool: Pool) -> AgentSession | None:
    """One after the other."""
    entries = pool.entries
    count = len(entries)
    for step in range(count):
        entry = entries[(pool.turn + step) % count]
        if entry.can_open:
            pool.turn = (pool.turn + step + 1) % count
            return entry
    return None


POLICIES: dict[str, Policy] = {
    "least-streams": least_streams,
    "random": random_choice,
    "round-robin": round_robin,
}
