"""``tunnelctl agents config``."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunnelctl import names, rows
from tunnelctl.command import command, group
from tunnelctl.names import AgentArgument
from tunnelctl.problems import Code, Problem
from tunnelctl.run import Run

if TYPE_CHECKING:
    from tunnelctl.configfile import Given
    from tunnelpb.client import Hub
    from tunnelpb.hub.v1 import agent_config_pb2

Comment = Annotated[str, typer.Option(help="Kept with the version.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until the agent's sessions have answered.")]

# Agents answer a push within a second or two; one that has not by then is told of, and may do so later.
_ANSWERS = 10.0
_POLL = 0.1

_HEADING = "# Configuration of {}, version {}. It is pushed when the editor ends; unchanged, nothing happens.\n"


async def get(
    run: Run, agent: AgentArgument, version: Annotated[int, typer.Option(min=0, help="An older one.")] = 0
) -> None:
    """Show what an agent shall run, as a file, and how far its sessions are."""
    from tunnelctl import configfile
    from tunnelctl.render import table, terminal
    from tunnelpb.hub.v1 import agent_config_pb2

    async with run.hub() as hub:
        request = agent_config_pb2.GetAgentConfigRequest(agent=names.agent(agent), version=version)
        answer = await hub.agent_configs.GetAgentConfig(request)
    if answer.config.version == 0:
        raise Problem(
            f"{request.agent} has no configuration of the hub's, and runs its own file",
            hint=f"tunnelctl agents config set {agent} -f FILE gives it one",
            code=Code.NOT_FOUND,
            reason="CONFIG_NOT_FOUND",
        )
    found = rows.config_version(answer.config)
    status = [rows.config_status(row) for row in answer.status]
    if not run.output.for_people:
        run.show_one("config_version", found | {"status": status})
        return
    print(f"# {found['name']} by {found['author']}", end="")
    print(f": {found['comment']}" if found["comment"] else "")
    print(configfile.to_toml(found["config"]), end="")
    if status:
        for line in table("config_status", status, limit=terminal()):
            run.note(line)


async def set_(
    run: Run,
    agent: AgentArgument,
    file: Annotated[str, typer.Option("-f", "--file", metavar="FILE", help="TOML; - is standard input.")],
    comment: Comment = "",
    etag: Annotated[str, typer.Option(help="Only if the present version has this etag.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check it.")] = False,
    wait: Wait = True,
) -> None:
    """Store a configuration and push it to the agent."""
    from tunnelctl import configfile

    given = configfile.read(file)
    async with run.hub() as hub:
        if dry_run:
            await _check(hub, agent, given)
            run.note(f"{file} is good; nothing was changed")
            return
        stored = await _store(hub, agent, given, comment=comment, etag=etag)
        await _answered(run, hub, agent, stored, wait=wait)


async def edit(run: Run, agent: AgentArgument, comment: Comment = "", wait: Wait = True) -> None:
    """Change an agent's configuration in $EDITOR."""
    from tunnelctl import configfile
    from tunnelpb.hub.v1 import agent_config_pb2

    name = names.agent(agent)
    async with run.hub() as hub:
        request = agent_config_pb2.GetAgentConfigRequest(agent=name)
        present = (await hub.agent_configs.GetAgentConfig(request)).config
    row = rows.config_version(present)
    heading = _HEADING.format(name, present.version)
    changed = configfile.edit(heading + configfile.to_toml(row["config"]), run.environ)
    if changed is None:
        run.note("nothing was changed")
        return
    # Kept where the user finds it: an hour of editing must not be lost to one bad line.
    with tempfile.NamedTemporaryFile("w", prefix="tunnelctl-", suffix=".toml", delete=False, encoding="utf-8") as kept:
        kept.write(changed)
    try:
        given = configfile.read(kept.name)
        async with run.hub() as hub:
            stored = await _store(hub, agent, given, comment=comment, etag=present.etag)
    except Problem as problem:
        problem.hint = f"your text is in {kept.name}: mend it, then tunnelctl agents config set {agent} -f {kept.name}"
        raise
    os.unlink(kept.name)
    async with run.hub() as hub:
        await _answered(run, hub, agent, stored, wait=wait)


async def history(run: Run, agent: AgentArgument) -> None:
    """List the versions of an agent's configuration, newest first."""
    async with run.hub() as hub:
        await names.known_agent(hub, agent)
        found = [rows.config_version(row) async for row in hub.list_config_versions(names.agent(agent))]
    run.show("config_version", found)


async def rollback(
    run: Run,
    agent: AgentArgument,
    version: Annotated[int, typer.Option(min=0, help="Which one; else the one before.")] = 0,
    comment: Comment = "",
    wait: Wait = True,
) -> None:
    """Store an old version again and push it."""
    from tunnelpb.hub.v1 import agent_config_pb2

    async with run.hub() as hub:
        request = agent_config_pb2.RollbackAgentConfigRequest(
            agent=names.agent(agent), version=version, comment=comment
        )
        stored = (await hub.agent_configs.RollbackAgentConfig(request)).config
        await _answered(run, hub, agent, stored, wait=wait)


async def _store(hub: Hub, agent: str, given: Given, *, comment: str, etag: str) -> agent_config_pb2.AgentConfigVersion:
    from tunnelpb.client import HubError
    from tunnelpb.hub.v1 import agent_config_pb2

    request = agent_config_pb2.UpdateAgentConfigRequest(
        agent=names.agent(agent), config=given.config, comment=comment, etag=etag
    )
    try:
        return (await hub.agent_configs.UpdateAgentConfig(request)).config
    except HubError as error:
        if error.status.name == "INVALID_ARGUMENT" and error.fields:
            raise _bad(given, list(error.fields)) from None
        raise


async def _check(hub: Hub, agent: str, given: Given) -> None:
    from tunnelpb.hub.v1 import agent_config_pb2

    request = agent_config_pb2.ValidateAgentConfigRequest(agent=names.agent(agent), config=given.config)
    answer = await hub.agent_configs.ValidateAgentConfig(request)
    if answer.faults:
        raise _bad(given, [(fault.field, fault.description) for fault in answer.faults])


def _bad(given: Given, faults: list[tuple[str, str]]) -> Problem:
    lines = []
    for field, description in faults:
        key = field.removeprefix("config.")
        lines.append(f"{given.where(key)}: {key}: {description}")
    return Problem(*lines, code=Code.CONFIG, status="INVALID_ARGUMENT", reason="FIELD_INVALID", fields=faults)


async def _answered(run: Run, hub: Hub, agent: str, stored: agent_config_pb2.AgentConfigVersion, *, wait: bool) -> None:
    """Say what was stored, and what the agent's sessions made of it. Raises Problem if one refused it."""
    row = rows.config_version(stored)
    if run.output.for_people:
        again = f", which is version {row['rollback_of']} again" if row["rollback_of"] else ""
        print(f"stored version {row['version']}{again}", flush=True)
    else:
        run.show_one("config_version", row)
    if not wait:
        return
    status = await _status(hub, agent, stored.version)
    refused = [one for one in status if one["last_error"] and one["desired_version"] == stored.version]
    if refused:
        back = f"; tunnelctl agents config rollback {agent} takes this back" if stored.version > 1 else ""
        raise Problem(
            *(f"{one['session']} refused it: {one['last_error']}" for one in refused),
            hint=f"the agent keeps what it ran before{back}",
            code=Code.CONFLICT,
            reason="CONFIG_REFUSED",
        )
    silent = [one["session"] for one in status if one["applied_version"] != stored.version]
    if silent:
        run.note(f"not answered yet: {', '.join(silent)}")
    elif status:
        run.note(f"applied by {names.counted(status, 'session')}")
    else:
        run.note("the agent is away; it gets this version when it comes")


async def _status(hub: Hub, agent: str, version: int) -> list[dict[str, Any]]:
    """Return how far the sessions are, once all have answered or the time is up."""
    from tunnelpb.hub.v1 import agent_config_pb2

    request = agent_config_pb2.GetAgentConfigRequest(agent=names.agent(agent))
    end = time.monotonic() + _ANSWERS
    while True:
        status = [rows.config_status(row) for row in (await hub.agent_configs.GetAgentConfig(request)).status]
        if time.monotonic() > end or all(
            one["applied_version"] == version or (one["last_error"] and one["desired_version"] == version)
            for one in status
        ):
            return status
        await asyncio.sleep(_POLL)


def add_to(agents: typer.Typer) -> None:
    """Add the group below ``agents``."""
    config = group(agents, "config", "What agents run, kept by the hub and pushed to them.")
    command(config, "get")(get)
    command(config, "set")(set_)
    command(config, "edit")(edit)
    command(config, "history")(history)
    command(config, "rollback")(rollback)
