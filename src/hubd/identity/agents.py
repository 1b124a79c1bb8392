"""Decides who may attach: by a token for that id, a join token, or a certificate with that name."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from hook_api import Attach
from hubd.applicant import AttachDenied, AttachRequest, Grant
from hubd.identity.failures import Failures
from hubd.identity.revocations import Revocations
from hubd.identity.visitors import denied
from hubd.reasons import ATTACH_INSECURE, ATTACH_LIMITED, ATTACH_TAKEN, CERTIFICATE_REVOKED, UNAUTHORIZED

if TYPE_CHECKING:
    from hook_api import Hooks
    from hubd.identity.certificates import Authorities
    from hubd.identity.tokens import TokenBook

logger = logging.getLogger("hubd.identity")


class AgentGate:
    """Authorizes attach requests.

    Args:
        book: tokens.
        failures: by source; 10 a minute.
        hooks: plugins, asked last.
        open_to_all: no credentials needed, as with ``--dev``; tokens are known all the same, so that agents can enrol.
        plain: tokens may come over unencrypted connections of other machines.

    Attributes:
        authorities: of agents' certificates; None takes none.
        revocations: certificates with which nobody is let in, whatever else they show.
    """

    def __init__(
        self, book: TokenBook, failures: Failures, hooks: Hooks, *, open_to_all: bool = False, plain: bool = False
    ) -> None:
        self._book = book
        self._failures = failures
        self._hooks = hooks
        self._open = open_to_all
        self._plain = plain
        self.authorities: Authorities | None = None
        self.revocations = Revocations()

    async def __call__(self, request: AttachRequest) -> Grant:
        """Say what an agent was let in by.

        A valid credential is taken whatever else fails at its address: behind one router sit many agents, and 256
        random bits need no lock. What the limit slows down is guessing, and the log.

        Raises:
            AttachDenied: 401 for every credential that is not good, 429 for too many of them, 403 for a certificate that
                was revoked and for a plugin's no.
        """
        grant = self._prove(request)
        if self._hooks.agents:
            await self._ask(request, grant)
            # Whatever it came with may have been revoked meanwhile.
            grant = self._prove(request)
        return grant

    def _prove(self, request: AttachRequest) -> Grant:
        if not (request.private or self._plain):
            raise AttachDenied(ATTACH_INSECURE)
        if self.revocations.hold(request.certificate):
            raise AttachDenied(CERTIFICATE_REVOKED)
        grant = self._by_token(request)
        if grant is None and self.authorities is not None and request.certificate is not None:
            if request.agent_id in self.authorities.names(request.certificate):
                grant = Grant(actor=f"cert/{request.agent_id}")
        if grant is not None:
            return grant
        if self._open:
            return Grant()
        wait = self._failures.note(request.source)
        if wait:
            raise AttachDenied(dataclasses.replace(ATTACH_LIMITED, retry_after=wait))
        raise AttachDenied(UNAUTHORIZED)

    async def _ask(self, request: AttachRequest, grant: Grant) -> None:
        """Raise AttachDenied if a plugin says no. What it raises itself is the caller's to tell."""
        labels = dict(label.split("=", 1) for label in request.labels)
        answer = self._hooks.agent(
            Attach(request.agent_id, request.source, grant.actor, request.instance or "", request.version, labels)
        )
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer is not None:
            raise AttachDenied(denied(answer))

    def _by_token(self, request: AttachRequest) -> Grant | None:
        # The same work for no token, a malformed one and a wrong one.
        row = self._book.verify(_bearer(request.authorization), ("agent", "join"))
        if row is None or row.agent not in ("", request.agent_id):
            return None
        if row.kind == "agent":
            return Grant(row.id, actor=f"tokens/{row.id}")
        if not row.agent and self._book.valid_of(request.agent_id):
            # A join token for anybody must not open the door of somebody.
            raise AttachDenied(ATTACH_TAKEN)
        return Grant(row.id, actor=f"tokens/{row.id}", joining=True)


def _bearer(authorization: bytes | None) -> str:
    scheme, _, value = (authorization or b"").partition(b" ")
    return value.strip(b" ").decode("latin-1") if scheme.lower() == b"bearer" else ""
