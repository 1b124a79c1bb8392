"""``tunnelctl status``: one screen that says whether all is well."""

from __future__ import annotations

from collections import Counter
from typing import Any

import typer

from tunnelctl import rows
from tunnelctl.columns import short
from tunnelctl.command import command
from tunnelctl.render import sentence, table, terminal
from tunnelctl.run import Run
from tunnelctl.text import duration, size


async def status(run: Run) -> None:
    """Show hubs, counts, versions and warnings on one screen."""
    from tunnelpb.hub.v1 import hub_pb2, stats_pb2

    async with run.hub() as hub:
        hubs = [rows.hub(row) async for row in hub.list_hubs()]
        me = rows.hub((await hub.hub.GetHub(hub_pb2.GetHubRequest())).hub)
        agents = [rows.agent(row) async for row in hub.list_agents()]
        sessions = [rows.session(row) async for row in hub.list_sessions()]
        totals = (await hub.stats.GetStats(stats_pb2.GetStatsRequest(scope=stats_pb2.STATS_SCOPE_HUB))).stats
    figures = rows.stats(totals[0]) if totals else {}
    states = dict(Counter(row["state"] for row in agents))
    versions = dict(sorted(Counter(row["agent_version"] or "unknown" for row in sessions).items()))
    draining = sum(row["state"] == "DRAINING" for row in sessions)
    warnings = [f"{short(row['name'])}: {text}" for row in hubs for text in row["warnings"]]
    if not any(row["name"] == me["name"] for row in hubs):
        hubs.insert(0, me)
    report: dict[str, Any] = {
        "hubs": hubs,
        "agents": {key.lower(): states.get(key, 0) for key in ("ONLINE", "OFFLINE", "DENIED")},
        "sessions": {"active": len(sessions) - draining, "draining": draining},
        "agent_versions": versions,
        "stats": figures,
        "warnings": warnings,
    }
    if not run.output.for_people:
        run.show_one("status", report)
        return
    for line in [*table("hub", hubs, limit=terminal(), color=run.color), "", *_lines(report, me)]:
        print(sentence(line) if "\x1b" not in line else line)


def _lines(report: dict[str, Any], me: dict[str, Any]) -> list[str]:
    agents, sessions, figures = report["agents"], report["sessions"], report["stats"]
    counted = ", ".join(f"{count} {state}" for state, count in agents.items())
    lines = [
        f"addresses  {', '.join(me['addresses']) or '-'}",
        f"agents     {counted}",
        f"sessions   {sessions['active']} active, {sessions['draining']} draining",
    ]
    if report["agent_versions"]:
        lines.append(f"versions   {', '.join(f'{count}x {name}' for name, count in report['agent_versions'].items())}")
    if figures:
        lines.append(
            f"traffic    {size(figures['bytes_in'])} in, {size(figures['bytes_out'])} out, {figures['requests']} requests,"
            f" {figures['errors']} failed, {figures['streams_open']} streams open"
        )
        lag = duration(figures["loop_lag_seconds"])
        lines.append(f"process    {size(figures['memory_bytes'])} memory, loop lag p99 {lag}")
    return lines + [f"warning    {text}" for text in report["warnings"]]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "status")(status)
