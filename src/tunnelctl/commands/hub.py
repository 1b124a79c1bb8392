"""``tunnelctl hub``."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import typer

from tunnelctl import names, rows
from tunnelctl.command import command, group
from tunnelctl.commands.sessions import DryRun, Yes
from tunnelctl.options import Output
from tunnelctl.run import Run
from tunnelctl.text import plural


async def info(run: Run) -> None:
    """Show the hub: addresses, version, counts, warnings."""
    from tunnelpb.hub.v1 import hub_pb2

    async with run.hub() as hub:
        row = rows.hub((await hub.hub.GetHub(hub_pb2.GetHubRequest())).hub)
    run.show_one("hub", row)


async def drain(
    run: Run,
    deadline: Annotated[str | None, typer.Option(metavar="TIME", help="Until streams are cut (the hub's own).")] = None,
    exit_: Annotated[bool, typer.Option("--exit", help="End the process afterwards.")] = False,
    reason: Annotated[str, typer.Option(help="For the log and the agents.")] = "",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Drain every session, spread over the deadline; the hub says it is not ready from now on."""
    from tunnelpb.hub.v1 import hub_pb2

    limit = names.seconds("--deadline", deadline)
    request = hub_pb2.DrainHubRequest(exit=exit_, reason=reason)
    if limit is not None:
        request.deadline.FromTimedelta(dt.timedelta(seconds=limit))
    async with run.hub() as hub:
        found = [row.name async for row in hub.list_sessions()]
        if not run.sure("drain", found, yes=yes, dry_run=dry_run) and (found or dry_run):
            return
        answer = await hub.hub.DrainHub(request)
    row = rows.hub(answer.hub) | {"draining_sessions": answer.draining_sessions}
    if run.output.for_people:
        print(f"{row['name']} drains: {plural(answer.draining_sessions, 'session')}")
    else:
        run.show_one("hub", row)


async def reload(run: Run) -> None:
    """Have the hub read its settings again."""
    from tunnelpb.hub.v1 import hub_pb2

    async with run.hub() as hub:
        answer = await hub.hub.ReloadHub(hub_pb2.ReloadHubRequest())
    if run.output.for_people:
        print(f"applied: {', '.join(answer.applied) or 'nothing changed'}")
        if answer.need_restart:
            print(f"needs a restart: {', '.join(answer.need_restart)}")
    else:
        row = {"applied": list(answer.applied), "need_restart": list(answer.need_restart)}
        run.show_one("reload", row)


async def plugins(run: Run) -> None:
    """List the hub's plugins."""
    from tunnelpb.hub.v1 import hub_pb2

    async with run.hub() as hub:
        answer = await hub.hub.ListPlugins(hub_pb2.ListPluginsRequest())
    run.show("plugin", [rows.plugin(row) for row in answer.plugins])


async def config(
    run: Run, origin: Annotated[bool, typer.Option("--origin", help="Also where each setting comes from.")] = False
) -> None:
    """Show the settings in force. Secrets are masked."""
    from tunnelpb.hub.v1 import hub_pb2

    async with run.hub() as hub:
        answer = await hub.hub.GetEffectiveConfig(hub_pb2.GetEffectiveConfigRequest())
    found: list[dict[str, Any]] = [rows.setting(row) for row in answer.settings]
    if not origin and run.output is Output.TABLE:
        for row in found:
            row["origin"] = ""
    run.show("setting", found)


async def log_level(
    run: Run,
    level: Annotated[str, typer.Argument(metavar="LEVEL", help="debug, info, warning or error.")],
    for_: Annotated[str | None, typer.Option("--for", metavar="TIME", help="Then it goes back (15 min).")] = None,
) -> None:
    """Change the hub's log level for a while."""
    from tunnelpb.hub.v1 import hub_pb2

    request = hub_pb2.SetLogLevelRequest(level=level.lower())
    if (seconds := names.seconds("--for", for_)) is not None:
        request.revert_after.FromTimedelta(dt.timedelta(seconds=seconds))
    async with run.hub() as hub:
        answer = await hub.hub.SetLogLevel(request)
    row = {
        "level": request.level,
        "previous_level": answer.previous_level,
        "revert_time": rows.time(answer, "revert_time"),
    }
    if run.output.for_people:
        print(f"log level {row['level']}, {row['previous_level']} again at {row['revert_time']}")
    else:
        run.show_one("log_level", row)


async def list_(run: Run) -> None:
    """List the hubs this one knows."""
    async with run.hub() as hub:
        found = [rows.hub(row) async for row in hub.list_hubs()]
    run.show("hub", found)


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    hub = group(app, "hub", "The hub itself.")
    command(hub, "info")(info)
    command(hub, "list")(list_)
    command(hub, "drain")(drain)
    command(hub, "reload")(reload)
    command(hub, "plugins")(plugins)
    command(hub, "config")(config)
    command(hub, "log-level")(log_level)
