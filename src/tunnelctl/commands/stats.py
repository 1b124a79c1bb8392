"""``tunnelctl stats`` and ``tunnelctl top``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tunnelctl import complete, live, names, rows
from tunnelctl.command import command
from tunnelctl.names import AgentOption
from tunnelctl.problems import Code, Problem
from tunnelctl.run import Run


async def stats(
    run: Run,
    scope: Annotated[str | None, typer.Option(help="hub, agent, session or stream.")] = None,
    agent: AgentOption = None,
    session: Annotated[
        str | None, typer.Option(metavar="SESSION", help="Only of this one.", autocompletion=complete.sessions)
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay, and show changes.")] = False,
) -> None:
    """Show counters: of the hub, or a row for each agent, session or open stream."""
    from tunnelpb.hub.v1 import stats_pb2

    if agent and session:
        raise Problem("give --agent or --session, not both", code=Code.USAGE, reason="BAD_FLAG")
    kinds = stats_pb2.StatsScope.items()
    words = [name.removeprefix("STATS_SCOPE_") for name, number in kinds if number]
    default = "stream" if session else "session" if agent else "hub"
    word = names.one_of("--scope", scope or default, lambda: words)
    number = stats_pb2.StatsScope.Value(f"STATS_SCOPE_{word}")
    async with run.hub() as hub:
        parent = (await names.session(hub, session)).name if session else names.agent(agent)
        request = stats_pb2.GetStatsRequest(scope=number, parent=parent)

        async def fetch() -> list[dict[str, Any]]:
            return [rows.stats(row) for row in (await hub.stats.GetStats(request)).stats]

        if watch:
            await live.poll(run, "stats", fetch)
        found = await fetch()
    run.show("stats", found)


async def top(
    run: Run,
    sort: Annotated[str, typer.Option(help="bytes, streams, requests or rtt.")] = "bytes",
    interval: Annotated[str, typer.Option(metavar="TIME", help="Between pictures, 250ms to 60s.")] = "1s",
    once: Annotated[bool, typer.Option("--once", help="One picture, and end.")] = False,
) -> None:
    """Show the busiest sessions, live. Ctrl-C ends it."""
    from tunnelctl import topview

    key = names.one_of("--sort", sort, lambda: [name.upper() for name in topview.SORTS]).lower()
    seconds = names.seconds("--interval", interval) or 0.0
    if not 0.25 <= seconds <= 60:
        raise Problem("--interval: from 250ms to 60s", code=Code.USAGE, reason="BAD_FLAG")
    async with run.hub() as hub:
        await topview.run(run, hub, sort=key, interval=seconds, once=once)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "stats")(stats)
    command(app, "top")(top)
