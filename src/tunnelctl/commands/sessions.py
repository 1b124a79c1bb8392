"""``tunnelctl sessions``."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunnelctl import complete, names, rows
from tunnelctl.command import command, group
from tunnelctl.names import AgentOption, LabelOption, SessionArgument
from tunnelctl.options import Output
from tunnelctl.problems import Code, Problem
from tunnelctl.run import Run
from tunnelctl.text import plural, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunnelpb.client import Hub
    from tunnelpb.hub.v1 import session_pb2

Sessions = Annotated[
    list[str] | None,
    typer.Argument(metavar="SESSION", help="Ids, or prefixes only one has.", autocompletion=complete.sessions),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which.")]


def _states(all_states: bool) -> list[session_pb2.Session.State.ValueType]:
    from tunnelpb.hub.v1.session_pb2 import Session

    return [Session.STATE_ACTIVE, Session.STATE_DRAINING, Session.STATE_CLOSED] if all_states else []


async def _counters(hub: Hub) -> dict[str, Any]:
    from tunnelpb.hub.v1 import stats_pb2

    request = stats_pb2.GetStatsRequest(scope=stats_pb2.STATS_SCOPE_SESSION)
    return {row.name: row for row in (await hub.stats.GetStats(request)).stats}


async def list_(
    run: Run,
    agent: AgentOption = None,
    label: LabelOption = None,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Those that ended lately too.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay, and show changes.")] = False,
) -> None:
    """List sessions."""
    from tunnelctl import live

    where: dict[str, Any] = {
        "agent": names.agent(agent),
        "labels": names.labels(label),
        "states": _states(all_),
    }
    async with run.hub() as hub:
        if watch:
            changes = hub.watch_sessions(**where, told=live.told(run))
            await live.watch(run, "session", changes, rows.session)
            return
        missing: set[str] = set()
        found = [row async for row in hub.list_sessions(**where, unreachable=missing)]
        counters = await _counters(hub) if run.output is not Output.NAME else {}
    run.show("session", [rows.session(row, counters.get(row.name)) for row in found])
    away = "".join(f"; hub {name.rpartition('/')[2]} did not answer" for name in sorted(missing))
    if missing or run.output.for_people:
        run.note(names.counted(found, "session") + away)
    if missing:
        run.code = Code.PARTIAL


async def get(run: Run, session: SessionArgument) -> None:
    """Show one session."""
    async with run.hub() as hub:
        found = await names.session(hub, session)
        counters = await _counters(hub)
    run.show_one("session", rows.session(found, counters.get(found.name)))


# For lines that come one by one, so that no row's widths are known before the next.
_CHANGE = "{:<7}  {:<12}  {:<8}  {:<9}  {}"


async def watch(run: Run, agent: AgentOption = None, label: LabelOption = None) -> None:
    """Print sessions as they are, and then every change, a line each."""
    from tunnelctl import live, render

    async with run.hub() as hub:
        changes = hub.watch_sessions(agent=names.agent(agent), labels=names.labels(label), told=live.told(run))
        if run.output.for_people:
            print(_CHANGE.format("CHANGE", "SESSION", "STATE", "CARRIER", "AGENT").rstrip(), flush=True)
        async for change in changes:
            row = rows.session(change.row) if change.row is not None else None
            if not run.output.for_people:
                if change.kind != "bookmark":
                    render.line({"change": change.kind, "session": row})
            elif row is not None:
                short = (row[key].rpartition("/")[2] for key in ("name", "state", "carrier", "agent"))
                why = f" ({row['close_reason']})" if row["close_reason"] else ""
                print(printable(_CHANGE.format(change.kind, *short) + why), flush=True)


async def evict(
    run: Run,
    sessions: Sessions = None,
    agent: AgentOption = None,
    label: LabelOption = None,
    reason: Annotated[str, typer.Option(help="For the log, the event and the agent.")] = "",
    deny_for: Annotated[str | None, typer.Option(metavar="TIME", help="Refuse the agent for so long.")] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Reset the streams of sessions and close them now."""
    import secrets

    from tunnelpb.hub.v1 import session_pb2

    denied = names.seconds("--deny-for", deny_for)

    async def one(hub: Hub, row: session_pb2.Session) -> dict[str, Any]:
        request = session_pb2.EvictSessionRequest(name=row.name, reason=reason, request_id=secrets.token_hex(8))
        if denied is not None:
            request.deny_for.FromTimedelta(dt.timedelta(seconds=denied))
        answer = await hub.sessions.EvictSession(request)
        return {"name": row.name, "state": "CLOSED", "reset_streams": answer.reset_streams}

    async with run.hub() as hub:
        chosen = await names.choose(hub, sessions, agent, label)
        if not run.sure("evict", [row.name for row in chosen], yes=yes, dry_run=dry_run):
            return
        done = await each(run, hub, chosen, one)
    run.show_done("session", done, lambda row: f"evicted {row['name']}: {plural(row['reset_streams'], 'stream')} reset")


async def drain(
    run: Run,
    sessions: Sessions = None,
    agent: AgentOption = None,
    label: LabelOption = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="TIME", help="Until open streams are cut (the hub's setting).")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until they are closed.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Cut open streams at once.")] = False,
    reason: Annotated[str, typer.Option(help="For the log, the event and the agent.")] = "",
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Take sessions out of service: no new streams, open ones end."""
    from tunnelctl import draining
    from tunnelpb.hub.v1 import session_pb2

    if force and deadline is not None:
        raise Problem("--force is a deadline of 0; give one of both", code=Code.USAGE, reason="BAD_FLAG")
    limit = 0.0 if force else names.seconds("--deadline", deadline)

    async def one(hub: Hub, row: session_pb2.Session) -> dict[str, Any]:
        request = session_pb2.DrainSessionRequest(name=row.name, reason=reason)
        if limit is not None:
            request.deadline.FromTimedelta(dt.timedelta(seconds=limit))
        return rows.session((await hub.sessions.DrainSession(request)).session)

    async with run.hub() as hub:
        chosen = await names.choose(hub, sessions, agent, label)
        if not run.sure("drain", [row.name for row in chosen], yes=yes, dry_run=dry_run):
            return
        done = await each(run, hub, chosen, one)
        if wait and done:
            done = await draining.wait(run, hub, done, limit)
            run.show_done("session", done, draining.ended)
            return
    run.show_done("session", done, lambda row: f"draining {row['name']}: {plural(row['open_streams'], 'stream')} open")


async def undrain(run: Run, sessions: Sessions = None, agent: AgentOption = None, label: LabelOption = None) -> None:
    """Put draining sessions back into service."""
    from tunnelpb.hub.v1 import session_pb2

    async def one(hub: Hub, row: session_pb2.Session) -> dict[str, Any]:
        request = session_pb2.UndrainSessionRequest(name=row.name)
        return rows.session((await hub.sessions.UndrainSession(request)).session)

    async with run.hub() as hub:
        done = await each(run, hub, await names.choose(hub, sessions, agent, label), one)
    run.show_done("session", done, lambda row: f"{row['name']} is {row['state']}")


async def each(run: Run, hub: Hub, chosen: list[Any], work: Callable[[Hub, Any], Any]) -> list[dict[str, Any]]:
    """Do the same to each; what fails is told, and the rest goes on."""
    from tunnelpb.client import HubError

    done, problems = [], []
    for row in chosen:
        try:
            done.append(await work(hub, row))
        except HubError as error:
            problems.append(run.explain(error))
    run.conclude(len(chosen), problems)
    return done


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    sessions = group(app, "sessions", "Sessions: what is attached now.")
    command(sessions, "list")(list_)
    command(sessions, "get")(get)
    command(sessions, "watch")(watch)
    command(sessions, "evict")(evict)
    command(sessions, "drain")(drain)
    command(sessions, "undrain")(undrain)
