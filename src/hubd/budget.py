"""File descriptors: how many connections the hub takes, and when it stops accepting.

uvloop hides EMFILE: it accepts and closes with a spare descriptor, so visitors would see an EOF and nobody an error.
Hence an own count, which stops the listeners before the limit is reached.
"""

from __future__ import annotations

import resource

# Descriptors kept for agents and the administration: visitors alone cannot keep an agent from coming back.
RESERVE = 256
# Each visitor may hold a descriptor here and one at an agent on the same machine; 4,096 is Debian's hard limit of old.
LEAST_LIMIT = 4096
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
        visitors: as for `allow`.

    Attributes:
        visitors: connections that are not agents' sessions.
        agents: connections that carry a session.
        open: descriptors at the last look, whoever holds them.
        arrived: connections accepted since.
        stop: at this many connections together nothing is accepted any more (90 % of the limit).
        resume: at this many accepting starts again.
        visitors_max: at this many visitors, new connections may only attach.
    """

    __slots__ = (
        "_ceiling",
        "_floor",
        "_wanted",
        "agents",
        "arrived",
        "limit",
        "open",
        "resume",
        "stop",
        "visitors",
        "visitors_max",
    )

    def __init__(self, limit: int, visitors: int = 0) -> None:
        self.limit = limit
        self._ceiling = limit * 95 // 100
        self._floor = limit * 93 // 100
        self.open = self.arrived = 0
        self.stop = max(8, limit * 9 // 10 - OWN_USE)
        self.resume = self.stop - max(1, self.stop // 50)
        self.visitors_max = 0
        self.visitors = 0
        self.agents = 0
        self.allow(visitors)

    def allow(self, visitors: int) -> None:
        """Set the most visitors at once; 0 is what the descriptors allow."""
        self._wanted = visitors
        room = self.stop - min(RESERVE, self.stop // 4)
        self.visitors_max = min(visitors, room) if visitors else room

    def looked(self, count: int) -> None:
        """Take a true count of open descriptors, those of TLS handshakes, the API and the store among them."""
        self.open = count
        self.arrived = 0

    @property
    def full(self) -> bool:
        """Whether accepting must stop."""
        return self.visitors + self.agents >= self.stop or self.open + self.arrived >= self._ceiling

    @property
    def roomy(self) -> bool:
        """Whether accepting may start again."""
        return self.visitors + self.agents <= self.resume and self.open + self.arrived <= self._floor

    @property
    def agents_only(self) -> bool:
        """Whether the visitors' share is used up."""
        return self.visitors > self.visitors_max

    @property
    def tight(self) -> bool:
        """Whether the limit is too low for a hub that means business: twice its connections and some."""
        return self.limit < LEAST_LIMIT or (self._wanted > 0 and self.limit < 2 * self._wanted + 512)

    def describe(self) -> str:
        """The effective limits, for the start-up line."""
        return f"limits: {self.limit} open files: up to {self.visitors_max} visitors, {self.stop} connections in all"
