"""``tunnelctl agents``."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import typer

from tunnelctl import complete, names, rows
from tunnelctl.command import command, group
from tunnelctl.commands import configs, visitors
from tunnelctl.commands.sessions import DryRun, Yes, each
from tunnelctl.names import AgentArgument, LabelOption
from tunnelctl.run import Run
from tunnelctl.text import plural

Agents = Annotated[list[str], typer.Argument(metavar="AGENT...", help="Agents' ids.", autocompletion=complete.agents)]


async def list_(
    run: Run,
    label: LabelOption = None,
    state: Annotated[list[str] | None, typer.Option(help="online, offline or denied. Repeatable.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay, and show changes.")] = False,
) -> None:
    """List agents."""
    from tunnelctl import live
    from tunnelpb.hub.v1.agent_pb2 import Agent

    words = [rows.enum(Agent.State, number) for number in Agent.State.values()][1:]
    states = [Agent.State.Value(f"STATE_{names.one_of('--state', word, lambda: words)}") for word in state or ()]
    having = names.labels(label)
    async with run.hub() as hub:

        async def fetch() -> list[dict[str, Any]]:
            return [rows.agent(row) async for row in hub.list_agents(labels=having, states=states)]

        if watch:
            await live.poll(run, "agent", fetch)
        found = await fetch()
    run.show("agent", found)
    if run.output.for_people:
        run.note(names.counted(found, "agent"))


async def get(run: Run, agent: AgentArgument) -> None:
    """Show one agent."""
    async with run.hub() as hub:
        found = await names.known_agent(hub, agent)
    run.show_one("agent", rows.agent(found))


async def deny(
    run: Run,
    agents: Agents,
    reason: Annotated[str, typer.Option(help="Shown to whoever asks why.")] = "",
    for_: Annotated[str | None, typer.Option("--for", metavar="TIME", help="Until allowed, if not given.")] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Evict agents and refuse them until they are allowed again."""
    from tunnelpb.hub.v1 import agent_pb2

    duration = names.seconds("--for", for_)

    async def one(hub: Any, row: agent_pb2.Agent) -> dict[str, Any]:
        request = agent_pb2.DenyAgentRequest(name=row.name, reason=reason)
        if duration is not None:
            request.duration.FromTimedelta(dt.timedelta(seconds=duration))
        answer = await hub.agents.DenyAgent(request)
        return rows.agent(answer.agent) | {"evicted_sessions": answer.evicted_sessions}

    async with run.hub() as hub:
        chosen = [await names.known_agent(hub, text) for text in agents]
        if not run.sure("deny", [row.name for row in chosen], yes=yes, dry_run=dry_run, one="agent"):
            return
        done = await each(run, hub, chosen, one)
    run.show_done(
        "agent", done, lambda row: f"denied {row['name']}: {plural(row['evicted_sessions'], 'session')} evicted"
    )


async def allow(run: Run, agents: Agents) -> None:
    """Take back a denial."""
    from tunnelpb.hub.v1 import agent_pb2

    async def one(hub: Any, row: agent_pb2.Agent) -> dict[str, Any]:
        return rows.agent((await hub.agents.AllowAgent(agent_pb2.AllowAgentRequest(name=row.name))).agent)

    async with run.hub() as hub:
        done = await each(run, hub, [await names.known_agent(hub, text) for text in agents], one)
    run.show_done("agent", done, lambda row: f"allowed {row['name']}")


async def delete(run: Run, agents: Agents, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Forget agents with their configuration and tokens, and evict them."""
    from tunnelpb.hub.v1 import agent_pb2

    async def one(hub: Any, row: agent_pb2.Agent) -> dict[str, Any]:
        answer = await hub.agents.DeleteAgent(agent_pb2.DeleteAgentRequest(name=row.name))
        return {"name": row.name, "state": "DELETED", "evicted_sessions": answer.evicted_sessions}

    async with run.hub() as hub:
        chosen = [await names.known_agent(hub, text) for text in agents]
        if not run.sure("delete", [row.name for row in chosen], yes=yes, dry_run=dry_run, one="agent"):
            return
        done = await each(run, hub, chosen, one)
    run.show_done(
        "agent", done, lambda row: f"deleted {row['name']}: {plural(row['evicted_sessions'], 'session')} evicted"
    )


async def limits(
    run: Run,
    agent: AgentArgument,
    request_rate: Annotated[float | None, typer.Option(min=0, help="Requests a second, 0 for the hub's own.")] = None,
    bandwidth: Annotated[int | None, typer.Option(min=0, help="Bytes a second, each way.")] = None,
    streams: Annotated[int | None, typer.Option(min=0, help="Requests in progress.")] = None,
    sessions: Annotated[int | None, typer.Option(min=0, help="Sessions at once.")] = None,
    visitor_request_rate: Annotated[float | None, typer.Option(min=0, help="Of one visitor address.")] = None,
    visitor_bandwidth: Annotated[int | None, typer.Option(min=0, help="Of one visitor address.")] = None,
) -> None:
    """Change an agent's limits, or show them if none is given."""
    from tunnelpb.hub.v1 import agent_pb2

    given: dict[str, Any] = {
        "request_rate": request_rate,
        "bandwidth": bandwidth,
        "streams": streams,
        "sessions": sessions,
        "visitor_request_rate": visitor_request_rate,
        "visitor_bandwidth": visitor_bandwidth,
    }
    changed = {key: value for key, value in given.items() if value is not None}
    async with run.hub() as hub:
        found = await names.known_agent(hub, agent)
        if changed:
            wanted = agent_pb2.Agent(name=found.name, limits=agent_pb2.AgentLimits(**changed), etag=found.etag)
            request = agent_pb2.UpdateAgentRequest(agent=wanted)
            request.update_mask.paths.extend(f"limits.{key}" for key in changed)
            found = (await hub.agents.UpdateAgent(request)).agent
    run.show_one("agent", {"name": found.name} | rows.agent(found)["limits"])


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    agents = group(app, "agents", "Agents: ids that may attach, and what they run.")
    command(agents, "list")(list_)
    command(agents, "get")(get)
    command(agents, "deny")(deny)
    command(agents, "allow")(allow)
    command(agents, "delete")(delete)
    command(agents, "limits")(limits)
    visitors.add_to(agents)
    configs.add_to(agents)
