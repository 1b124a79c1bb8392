"""File descriptors: how many connections the hub takes, and when it stops accepting.

uvloop hides EMFILE: it accepts and closes with a spare descriptor, so visitors would see an EOF and nobody an error.
Hence an own count, which stops the listeners before the limit is reached.
"""

from __future__ import annotations

import resource

# Descriptors kept for agents and the administration: visitors alone cannot keep an agent from coming back.
RESERVE = 256
# Listeners, logs, the loop's own, the store.
OWN_USE = 32


def raise_limit() -> int:
    """Raise the soft limit for open files to the hard one and return it.

    Where that is not allowed the present soft limit stays. Unlimited counts as 1,048,576, the kernel's usual ceiling.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            pass
        else:
            soft = hard
    return 1_048_576 if soft == resource.RLIM_INFINITY else soft


class Budget:
    """Counts connections against the limit.

    Args:
        limit: of open files in this process.

    Attributes:
        visitors: connections that are not agents' sessions.
        agents: connections that carry a session.
        stop: at this many connections together nothing is accepted any more (90 % of the limit).
        resume: at this many accepting starts again.
        visitors_max: at this many visitors, new connections may only attach.
    """

    __slots__ = ("agents", "limit", "resume", "stop", "visitors", "visitors_max")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.stop = max(8, limit * 9 // 10 - OWN_USE)
        self.resume = self.stop - max(1, self.stop // 50)
        self.visitors_max = self.stop - min(RESERVE, self.stop // 4)
        self.visitors = 0
        self.agents = 0

    @property
    def full(self) -> bool:
        """Whether accepting must stop."""
        return self.visitors + self.agents >= self.stop

    @property
    def roomy(self) -> bool:
        """Whether accepting may start again."""
        return self.visitors + self.agents <= self.resume

    @property
    def agents_only(self) -> bool:
        """Whether the visitors' share is used up."""
        return self.visitors > self.visitors_max

    def describe(self) -> str:
        """The effective limits, for the start-up line."""
        return f"{self.limit} open files: up to {self.visitors_max} visitors, {self.stop} connections in all"
