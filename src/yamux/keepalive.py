"""Pings: finding a dead peer and measuring the round trip."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .config import Config
from .corestream import Buffer
from .errors import KeepaliveTimeout, YamuxError
from .frames import PING, SYN, pack

# Pings of the application that may be unanswered at a time; go-yamux's PingBacklog.
MAX_PINGS = 32

# The round trip is the least of the last few samples: queued data can only make a sample longer, never shorter.
SAMPLES = 8

# A deadline noticed this many seconds late means that the process was held up, and what the peer sent meanwhile may lie
# unread: uvloop runs timers before it reads. The peer then gets another round.
LATE = 0.05


class Keepalive:
    """Sends pings, notices their absence. ``rtt`` is in seconds, None until the first answer.

    ``owed`` counts replies asked for and not yet written; whoever writes sets it back to 0. Any byte from the peer
    counts as a sign of life, so that a pong delayed behind data on a slow pipe does not end a session that works; so does
    ``drained``, the number of times a full carrier got room again, since only the peer's reading can give it.
    """

    __slots__ = (
        "_clock",
        "_extra",
        "_heard",
        "_interval",
        "_next_id",
        "_pending",
        "_ping_id",
        "_samples",
        "_timeout",
        "bytes_in",
        "deadline",
        "drained",
        "owed",
        "rtt",
    )

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._interval = config.keepalive_interval
        self._timeout = config.keepalive_timeout
        self._next_id = 0
        self._pending: dict[int, float] = {}
        self._ping_id: int | None = None
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._heard = 0
        self._extra = False
        self.bytes_in = 0
        self.drained = 0
        self.owed = 0
        self.rtt: float | None = None
        # The first ping goes out at once: windows grow only once a round trip has been measured.
        self.deadline: float | None = clock() if self._interval else None

    def ping(self, control: list[Buffer]) -> int:
        """Queue a ping and return its id. Raises YamuxError when too many are unanswered."""
        if len(self._pending) >= MAX_PINGS:
            raise YamuxError(f"{MAX_PINGS} pings are unanswered")
        ping_id = self._next_id
        self._next_id = (ping_id + 1) & 0xFFFF_FFFF
        self._pending[ping_id] = self._clock()
        control.append(pack(PING, SYN, 0, ping_id))
        return ping_id

    def forget(self, ping_id: int) -> None:
        """Stop waiting for an answer; a late one is ignored."""
        self._pending.pop(ping_id, None)

    def answered(self, ping_id: int) -> float | None:
        """Take a pong: its round trip, or None for one nobody waits for."""
        sent = self._pending.pop(ping_id, None)
        if sent is None:
            return None
        now = self._clock()
        sample = now - sent
        samples = self._samples
        gone = samples[0] if len(samples) == SAMPLES else None
        samples.append(sample)
        if self.rtt is None or sample <= self.rtt:
            self.rtt = sample
        elif gone == self.rtt:
            self.rtt = min(samples)
        if ping_id == self._ping_id:
            self._ping_id = None
            self.deadline = now + self._interval
        return sample

    def handle(self, now: float, control: list[Buffer]) -> None:
        """Do what is due at ``now``. Raises KeepaliveTimeout when the peer is dead.

        A process that was stopped finds every deadline long past and the peer's bytes still unread, so a deadline that
        is noticed late gives the peer one more round, and one noticed very late does so again.
        """
        if self.deadline is None or now < self.deadline:
            return
        late = now - self.deadline
        heard = self.bytes_in + self.drained
        if self._ping_id is None:
            if len(self._pending) < MAX_PINGS:
                self._ping_id = self.ping(control)
            self._extra = False
        elif heard == self._heard:
            if late <= LATE or (self._extra and late <= self._timeout):
                raise KeepaliveTimeout(f"nothing came from the peer for {self._timeout:g} s after a keepalive ping")
            self._extra = True
        else:
            self._extra = False
        self._heard = heard
        self.deadline = now + self._timeout
