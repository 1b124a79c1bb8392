"""What is the same for all sessions of an agent, whichever hub they are with."""

from __future__ import annotations

from dataclasses import dataclass, field

from tunnel.logs import Secret
from tunnel.settings import read_secret_file
from tunnel.version import VERSION
from yamux import Config
from yamux.carrier import TlsOptions


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
