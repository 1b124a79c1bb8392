"""All of a hub's identity in one place, for the composition root: tokens, who attaches, who administers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carrier_api import renew_server_contexts
from hook_api import HooksError, load_hooks
from hubd.identity.agents import AgentGate
from hubd.identity.certificates import Authorities
from hubd.identity.failures import Failures
from hubd.identity.revocations import Revocations
from hubd.identity.tokens import TokenBook
from hubd.identity.visitors import VisitorGuard
from hubd.listeners import ListenError
from yamux import SessionClosed

if TYPE_CHECKING:
    from hubd.config import HubConfig
    from hubd.sessions import AgentSession
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
        visitors: decides who visits.
        hooks: plugins that have a say in both.
        revocations: client certificates of any kind that were revoked.
        on_admin_ended: called when tokens of the management API have ended, or certificates may have been revoked: what
            watches there has to prove itself anew.

    Raises:
        ListenError: a file of authorities or a plugin cannot be used.
    """

    def __init__(self, hub: Hub, database: Database) -> None:
        config = hub.config
        self._hub = hub
        self.tokens = TokenBook(database)
        self.tokens.on_ended = self._ended
        self.revocations = Revocations()
        self.on_admin_ended: Callable[[], None] = _nobody_watches
        try:
            hooks = self.hooks = load_hooks(config.hooks.disable)
        except HooksError as exc:
            raise ListenError(str(exc)) from exc
        clock = hub.loop.time
        self.agents = AgentGate(
            self.tokens, Failures(clock), hooks, open_to_all=config.dev, plain=config.insecure_plain_agents
        )
        self.visitors = VisitorGuard(hub, database, self.tokens, Failures(clock), hooks)
        self.configure(load_authorities(config))
        if hooks.names:
            logger.info("hook plugins decide on agents and visitors", extra={"plugins": " ".join(hooks.names)})

    def configure(self, authorities: Trusted) -> None:
        """Take the hub's settings, and certificates of these authorities, from now on; read renewed files for the
        carriers' listeners. Sessions that came with a certificate that has been revoked are cut.

        Args:
            authorities: from `load_authorities`.
        """
        self.agents.authorities = authorities.agents
        self.visitors.authorities = authorities.visitors
        news = authorities.revocations != self.revocations
        self.revocations = self.agents.revocations = self.visitors.revocations = authorities.revocations
        self.visitors.configure()
        for fault in renew_server_contexts():
            logger.error("TLS: %s", fault)
        config = self._hub.config
        own = [section.cert for section in (config.tls, config.admin.tls) if section is not None]
        self._hub.expiry.watch(own, self.revocations.due)
        if news:
            self._end_revoked()

    def poll(self) -> None:
        """Once a second: see what expired and what other processes revoked."""
        self.tokens.poll()
        self._hub.expiry.poll()

    def is_revoked(self, der: bytes) -> bool:
        """Whether a client certificate, in DER, opens nothing any more."""
        return self.revocations.hold(der)

    async def close(self) -> None:
        """Decide on nothing more, and write down what is not yet, before the store closes."""
        await self.visitors.close()
        self.tokens.flush()

    def _end_revoked(self) -> None:
        """End what was let in before a certificate was revoked. Visitors are looked at again with their next request."""
        self.on_admin_ended()
        for entry in self._hub.pools.sessions():
            if self.revocations.hold(entry.certificate):
                about = {"agent": entry.agent_id, "peer": entry.peer}
                logger.warning("certificate revoked: ending its session", extra=about)
                self._cut(entry, "its certificate was revoked")

    def _cut(self, entry: AgentSession, why: str) -> None:
        """End a session now: one that only joins has nothing to tell of."""
        if entry.joining:
            entry.session.abort(SessionClosed(why))
        else:
            self._hub.leaving.evict(entry, why)

    def _ended(self, ended: set[str], revoked: bool) -> int:
        """Tokens can be used no more: end the sessions that came with them.

        Those whose token was revoked are cut. Those whose token expired finish what they have: nobody is suspected.
        """
        hub = self._hub
        word = "revoked" if revoked else "expired"
        if any(self.tokens.is_admin(token_id) for token_id in ended):
            self.on_admin_ended()
        evicted = 0
        for entry in hub.pools.sessions():
            if entry.token_id not in ended:
                continue
            logger.warning(
                "token %s: ending its session", word,
                extra={"agent": entry.agent_id, "token": entry.token_id, "peer": entry.peer},
            )  # fmt: skip
            if revoked or entry.joining:
                self._cut(entry, "its token was revoked" if revoked else "its token expired")
                evicted += not entry.joining
            elif not entry.draining:
                hub.leaving.drain(entry, hub.timeouts.drain, "its token expired")
        return evicted


@dataclass(frozen=True, slots=True)
class Trusted:
    """Who signs certificates, of agents and of visitors; None if nobody does. And what they took back."""

    agents: Authorities | None
    visitors: Authorities | None
    revocations: Revocations


def load_authorities(config: HubConfig) -> Trusted:
    """Read the files of authorities and of what they revoked that the settings name. Blocking.

    Raises:
        ListenError: one cannot be used.
    """
    agents = config.tls.client_ca if config.tls is not None and config.auth.agent_certificates else None
    visitors = config.visitors.client_ca
    try:
        return Trusted(
            Authorities(agents) if agents is not None else None,
            Authorities(visitors) if visitors is not None else None,
            Revocations((path, signers) for _, path, signers in config.revocation_lists() if signers is not None),
        )
    except ValueError as exc:
        raise ListenError(f"TLS: {exc}") from exc


def _nobody_watches() -> None:
    """There is no management API."""
