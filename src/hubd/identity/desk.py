"""All of a hub's identity in one place, for the composition root: tokens, who attaches, who administers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from carrier_api import renew_server_contexts
from hubd.identity.agents import AgentGate
from hubd.identity.certificates import Authorities
from hubd.identity.failures import Failures
from hubd.identity.tokens import TokenBook
from hubd.listeners import ListenError
from yamux import SessionClosed

if TYPE_CHECKING:
    from hubd.config import HubConfig
    from hubd.state import Hub
    from hubd.store import Database

logger = logging.getLogger("hubd.identity")


class Identity:
    """Tokens and certificates of one hub.

    Args:
        hub: whose sessions end with their tokens.
        database: the store.

    Attributes:
        tokens: all of them.
        agents: decides who attaches.

    Raises:
        ListenError: a file of authorities cannot be used.
    """

    def __init__(self, hub: Hub, database: Database) -> None:
        config = hub.config
        self._hub = hub
        self.tokens = TokenBook(database)
        self.tokens.on_ended = self._ended
        self.agents = AgentGate(
            self.tokens, Failures(hub.loop.time), open_to_all=config.dev, plain=config.insecure_plain_agents
        )
        self.trust(load_authorities(config))

    def trust(self, authorities: Authorities | None) -> None:
        """Take certificates of these authorities from now on, and read renewed files for the carriers' listeners.

        Args:
            authorities: from `load_authorities`.
        """
        self.agents.authorities = authorities
        for fault in renew_server_contexts():
            logger.error("TLS: %s", fault)

    def poll(self) -> None:
        """Once a second: see what expired and what other processes revoked."""
        self.tokens.poll()

    def close(self) -> None:
        """Write down what is not yet, before the store closes."""
        self.tokens.flush()

    def _ended(self, ended: set[str], revoked: bool) -> int:
        """Tokens can be used no more: end the sessions that came with them.

        Those whose token was revoked are cut. Those whose token expired finish what they have: nobody is suspected.
        """
        hub = self._hub
        evicted = 0
        for entry in hub.pools.sessions():
            if entry.token_id not in ended:
                continue
            logger.warning(
                "token %s: ending its session", "revoked" if revoked else "expired",
                extra={"agent": entry.agent_id, "token": entry.token_id, "peer": entry.peer},
            )  # fmt: skip
            if entry.joining:
                entry.session.abort(SessionClosed("its token was revoked"))
                evicted += 1
            elif revoked:
                hub.evict_session(entry, "its token was revoked", actor=f"tokens/{entry.token_id}")
                evicted += 1
            elif not entry.draining:
                hub.drain_session(entry, hub.timeouts.drain, "its token has expired")
        return evicted


def load_authorities(config: HubConfig) -> Authorities | None:
    """Who signs agents' certificates, as the settings say; None if agents have none.

    Raises:
        ListenError: a file cannot be used.
    """
    if not config.auth.agent_certificates or config.tls is None or config.tls.client_ca is None:
        return None
    try:
        return Authorities(config.tls.client_ca)
    except ValueError as exc:
        raise ListenError(f"TLS: {exc}") from exc
