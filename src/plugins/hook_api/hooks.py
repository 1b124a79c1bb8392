"""The hooks and their markers."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass

import pluggy

from hook_api.subjects import Attach, Visit

PROJECT = "tunnel"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class Deny:
    """No.

    Args:
        reason: one line for whoever is refused, and for the log. It is shown, so it must hold no secret.
    """

    reason: str


Answer = Deny | None | Awaitable[Deny | None]
"""None has nothing against it. An awaitable is waited for, with a deadline, while the agent or the request waits."""


class HubHooks:
    """Hook specifications. A plugin implements them as functions of the same name, plain or async.

    The hub's event loop calls them: what takes time must be awaited, never slept or read. One that raises, or takes too
    long, is a no.
    """

    @hookspec
    def authorize_agent(self, attach: Attach) -> Answer:
        """Decide on an agent that wants to attach. Called once for each attach."""

    @hookspec
    def authorize_visitor(self, visit: Visit) -> Answer:
        """Decide on a request. Called once for each request, before anything is sent to the agent."""
