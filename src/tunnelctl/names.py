"""From what a user types to names of the API: ids with or without their collection, prefixes that only one id has."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tunnelctl import complete
from tunnelctl.problems import Code, Problem
from tunnelctl.text import plural

if TYPE_CHECKING:
    from tunnelpb.client import Hub
    from tunnelpb.hub.v1 import agent_pb2, session_pb2

# Candidates that one line of an error has room for.
_SHOWN = 5

SessionArgument = Annotated[
    str, typer.Argument(metavar="SESSION", help="Id, or a prefix only one has.", autocompletion=complete.sessions)
]
AgentArgument = Annotated[str, typer.Argument(metavar="AGENT", help="Agent's id.", autocompletion=complete.agents)]
AgentOption = Annotated[
    str | None, typer.Option("--agent", metavar="AGENT", help="Only of this agent.", autocompletion=complete.agents)
]
LabelOption = Annotated[
    list[str] | None, typer.Option("--label", metavar="K=V", help="Only with this label. Repeatable.")
]


def full(collection: str, text: str) -> str:
    """Return ``sessions/x`` for ``x``; a full name as it is.

    Raises Problem for an empty one: it comes of a script's variable that is not set, and would be a prefix of every id.
    """
    ident = text.removeprefix(f"{collection}/")
    if not ident.strip():
        raise Problem(f"an empty name is none of {collection}", code=Code.USAGE, reason="BAD_NAME")
    return f"{collection}/{ident}"


def agent(text: str | None) -> str:
    """Return an agent's name; "" for None."""
    return full("agents", text) if text else ""


def labels(pairs: Sequence[str] | None) -> dict[str, str]:
    """Read ``K=V`` pairs. Raises Problem."""
    found = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise Problem(f"--label {pair}: a label is KEY=VALUE", code=Code.USAGE, reason="BAD_FLAG")
        found[key] = value
    return found


async def session(hub: Hub, text: str) -> session_pb2.Session:
    """Return the session meant. Raises Problem if several ids begin so, HubError if none does."""
    from tunnelpb.client import HubError
    from tunnelpb.hub.v1 import session_pb2

    name = full("sessions", text)
    try:
        return (await hub.sessions.GetSession(session_pb2.GetSessionRequest(name=name))).session
    except HubError as error:
        if error.status.name not in ("NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION"):
            raise
        candidates = [row.name async for row in hub.list_sessions() if row.name.startswith(name)]
        if len(candidates) == 1:
            request = session_pb2.GetSessionRequest(name=candidates[0])
            return (await hub.sessions.GetSession(request)).session
        if candidates:
            raise ambiguous(text, candidates) from None
        raise


def ambiguous(text: str, candidates: Sequence[str]) -> Problem:
    """Return the error of a prefix that several names have."""
    more = f" and {len(candidates) - _SHOWN} more" if len(candidates) > _SHOWN else ""
    return Problem(
        f"{text} is ambiguous: {', '.join(candidates[:_SHOWN])}{more}",
        hint="give more of the name",
        code=Code.USAGE,
        reason="NAME_AMBIGUOUS",
        metadata={"candidates": ",".join(candidates)},
    )


async def token(hub: Hub, text: str) -> str:
    """Return the name of the token meant, among those not ended. Raises Problem if several ids begin so."""
    name = full("tokens", text)
    candidates = [row.name async for row in hub.list_tokens() if row.name.startswith(name)]
    if name in candidates or not candidates:
        return name
    if len(candidates) > 1:
        raise ambiguous(text, candidates)
    return candidates[0]


async def known_agent(hub: Hub, text: str) -> agent_pb2.Agent:
    """Return the agent of exactly this id: a prefix could hit another one. Raises Problem naming the likely one."""
    from tunnelpb.client import HubError
    from tunnelpb.hub.v1 import agent_pb2

    try:
        return (await hub.agents.GetAgent(agent_pb2.GetAgentRequest(name=agent(text)))).agent
    except HubError as error:
        if error.status.name != "NOT_FOUND":
            raise
        ids = [row.name.partition("/")[2] async for row in hub.list_agents()]
        close = difflib.get_close_matches(text.removeprefix("agents/"), ids, n=1)
        hint = f"did you mean {close[0]}?" if close else "tunnelctl agents list shows the agents there are"
        raise Problem(
            f"agent {text.removeprefix('agents/')} not found ({error.reason or 'NOT_FOUND'})",
            hint=hint,
            code=Code.NOT_FOUND,
            status="NOT_FOUND",
            reason=error.reason or "AGENT_NOT_FOUND",
            metadata=error.metadata,
        ) from None


async def choose(
    hub: Hub, given: Sequence[str] | None, agent_id: str | None, pairs: Sequence[str] | None
) -> list[session_pb2.Session]:
    """Return the sessions named, or those of an agent or with labels. Raises Problem."""
    if given and (agent_id or pairs):
        raise Problem("name sessions, or give --agent or --label, not both", code=Code.USAGE, reason="BAD_FLAG")
    if given:
        found = {}
        for text in given:
            row = await session(hub, text)
            found[row.name] = row
        return list(found.values())
    if not agent_id and not pairs:
        raise Problem("which sessions? name them, or give --agent or --label", code=Code.USAGE, reason="BAD_FLAG")
    rows = [row async for row in hub.list_sessions(agent=agent(agent_id), labels=labels(pairs))]
    if not rows:
        raise Problem("no session is so", code=Code.NOT_FOUND, reason="SESSION_NOT_FOUND")
    return rows


def seconds(flag: str, text: str | None) -> float | None:
    """Read a duration given by a flag. Raises Problem."""
    if text is None:
        return None
    from tunnel.fields import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise Problem(f"{flag}: {error}", code=Code.USAGE, reason="BAD_FLAG") from None


def one_of(flag: str, text: str, known: Callable[[], Sequence[str]]) -> str:
    """Return the text in capitals if it is a known word. Raises Problem."""
    words = known()
    if text.upper() not in words:
        raise Problem(f"{flag}: {text} is none of {', '.join(words).lower()}", code=Code.USAGE, reason="BAD_FLAG")
    return text.upper()


def counted(rows: Sequence[object], one: str) -> str:
    """``2 sessions``."""
    return plural(len(rows), one)
