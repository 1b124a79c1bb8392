"""``tunnelctl agents visitors``: who may visit an agent's services."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from tunnelctl import names, rows
from tunnelctl.command import command
from tunnelctl.names import AgentArgument
from tunnelctl.problems import Code, Problem
from tunnelctl.run import Run


async def visitors(
    run: Run,
    agent: AgentArgument,
    mode: Annotated[
        str | None, typer.Option(help="open, bearer, basic, certificate, or unspecified: the hub's own.")
    ] = None,
    network: Annotated[list[str] | None, typer.Option(help="Only from here, as 10.0.0.0/8. Repeatable.")] = None,
    any_network: Annotated[bool, typer.Option("--any-network", help="From anywhere again.")] = False,
    user: Annotated[str | None, typer.Option(help="Make a user for basic, or give it another password.")] = None,
    password_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="The user's password; - is standard input.")
    ] = None,
    remove_user: Annotated[list[str] | None, typer.Option(metavar="USER", help="Repeatable.")] = None,
) -> None:
    """Change who may visit an agent's services, or show it if nothing is given."""
    from tunnelpb.hub.v1.agent_pb2 import Agent, UpdateAgentRequest, VisitorAccess

    if network and any_network:
        raise Problem("give --network or --any-network, not both", code=Code.USAGE, reason="BAD_FLAG")
    if (user is None) is not (password_file is None):
        raise Problem("--user needs --password-file, and the reverse", code=Code.USAGE, reason="BAD_FLAG")
    password = _password(run, password_file) if password_file is not None else ""
    words = [rows.enum(VisitorAccess.Mode, number) for number in VisitorAccess.Mode.values()]
    async with run.hub() as hub:
        found = await names.known_agent(hub, agent)
        wanted = Agent(name=found.name, etag=found.etag)
        wanted.visitors.CopyFrom(found.visitors)
        paths = []
        if mode is not None:
            wanted.visitors.mode = VisitorAccess.Mode.Value(f"MODE_{names.one_of('--mode', mode, lambda: words)}")
            paths.append("visitors.mode")
        if network or any_network:
            wanted.visitors.allow_networks[:] = network or []
            paths.append("visitors.allow_networks")
        if user is not None or remove_user:
            # Users without a password keep the one they have.
            _change_users(wanted.visitors.users, user, password, remove_user or [])
            paths.append("visitors.users")
        if paths:
            request = UpdateAgentRequest(agent=wanted)
            request.update_mask.paths.extend(paths)
            found = (await hub.agents.UpdateAgent(request)).agent
    run.show_one("visitors", {"name": found.name} | rows.agent(found)["visitors"])


def _password(run: Run, file: str) -> str:
    from tunnel.settings import SecretFileError, read_secret_file

    if file == "-" and sys.stdin.isatty():
        run.note("password, then Enter and Ctrl-D:")
    try:
        return read_secret_file(file, environ=run.environ).reveal()
    except SecretFileError as error:
        raise Problem(str(error), code=Code.CONFIG, reason="BAD_PASSWORD_FILE") from None


def _change_users(users: Any, user: str | None, password: str, removed: list[str]) -> None:
    for name in removed:
        if name not in users:
            raise Problem(f"--remove-user {name}: there is no such user", code=Code.NOT_FOUND, reason="USER_NOT_FOUND")
        del users[name]
    if user is not None:
        users[user] = password


def add_to(agents: typer.Typer) -> None:
    """Add the command below ``agents``."""
    command(agents, "visitors")(visitors)
