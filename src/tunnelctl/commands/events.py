"""``tunnelctl events``."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import typer

from tunnelctl import live, names, render, rows
from tunnelctl.command import command
from tunnelctl.options import Output
from tunnelctl.run import Run


async def events(
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay, and print new ones.")] = False,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Not older than this, such as 10m.")] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(help="session, agent, route, token, config, auth, hub. Repeatable, or with commas."),
    ] = None,
) -> None:
    """Print what happened: the events the hub has kept, and with --follow new ones."""
    topics = [part.strip() for text in topic or () for part in text.split(",") if part.strip()]
    seconds = names.seconds("--since", since)
    start = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds) if seconds is not None else None
    async with run.hub() as hub:
        if not follow:
            begin = start or dt.datetime.fromtimestamp(0, dt.UTC)
            found = [rows.event(row) async for row in hub.kept_events(topics=topics, since=begin)]
            run.show("event", found)
            return
        async for change in hub.watch_events(topics=topics, since=start, told=live.told(run)):
            if change.kind == "reset":
                run.note("events may be missing here: the hub began anew, or this reader was too slow")
            elif change.row is not None:
                _print(run, rows.event(change.row))


def _print(run: Run, row: dict[str, Any]) -> None:
    if run.output.for_people:
        # Lines of a stream stand by themselves, so widths are fixed.
        when = row["time"][11:19] if run.output is Output.TABLE else row["time"]
        print(render.sentence(f"{when}  {row['type']:<18}  {row['message']}  ({row['actor']})"), flush=True)
    elif run.output is Output.NAME:
        print(render.sentence(row["subject"]), flush=True)
    else:
        render.line(row)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "events")(events)
