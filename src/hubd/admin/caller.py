"""Who makes the call that is being served."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hubd.admin.roles import Role

if TYPE_CHECKING:
    from hubd.sessions import AgentSession


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who was let in.

    Args:
        actor: for logs and events: "admin@unix", "tokens/{id}", "cert/{name}" or "agents/{id}".
        role: what it may do.
        agent: id of the agent, on the agents' API.
        session: that carried the call, on the agents' API.
    """

    actor: str
    role: Role
    agent: str = ""
    session: AgentSession | None = None


AuthenticateAdmin = Callable[[str], Caller | None]
"""Knows the caller by the secret of an ``Authorization: Bearer``; None if it is not good. Synchronous and quick."""

LOCAL = Caller("admin@unix", Role.ADMIN)
"""Whoever may open the hub's own socket."""

_current: ContextVar[Caller] = ContextVar("caller")


def current() -> Caller:
    """The caller of the call in progress. Raises LookupError outside of one."""
    return _current.get()


def enter(caller: Caller) -> None:
    """Make somebody the caller for the rest of this task. gRPC runs every call in a task of its own."""
    _current.set(caller)
