"""``tunnelctl routes``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tunnelctl import complete, live, names, rows
from tunnelctl.command import command, group
from tunnelctl.commands.sessions import DryRun, Yes, each
from tunnelctl.names import AgentOption
from tunnelctl.problems import Code, Problem
from tunnelctl.run import Run
from tunnelctl.text import plural

Routes = Annotated[list[str], typer.Argument(metavar="ROUTE...", help="Routes' ids.", autocompletion=complete.routes)]


async def list_(
    run: Run,
    agent: AgentOption = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay, and show changes.")] = False,
) -> None:
    """List routes."""
    async with run.hub() as hub:
        if watch:
            await live.watch(run, "route", hub.watch_routes(told=live.told(run)), rows.route)
        found = [rows.route(row) async for row in hub.list_routes(agent=names.agent(agent))]
    run.show("route", found)
    if run.output.for_people:
        run.note(names.counted(found, "route"))


async def get(
    run: Run,
    route: Annotated[str, typer.Argument(metavar="ROUTE", help="Route's id.", autocompletion=complete.routes)],
) -> None:
    """Show one route."""
    from tunnelpb.hub.v1 import route_pb2

    async with run.hub() as hub:
        answer = await hub.routes.GetRoute(route_pb2.GetRouteRequest(name=names.full("routes", route)))
    run.show_one("route", rows.route(answer.route))


async def create(
    run: Run,
    agent: Annotated[str, typer.Option(metavar="AGENT", help="Whose service.", autocompletion=complete.agents)],
    route: Annotated[str, typer.Argument(metavar="ROUTE", help="Id; else the hub makes one.")] = "",
    host: Annotated[str, typer.Option(help="Host name, or *.DOMAIN for all below it.")] = "",
    path: Annotated[str, typer.Option(help="Only paths that begin so.")] = "",
    tcp_port: Annotated[
        int, typer.Option(min=0, max=65535, show_default=False, help="Port of the hub to pass through.")
    ] = 0,
    service: Annotated[str, typer.Option(help="Service of the agent; else its default.")] = "",
    strip_path: Annotated[bool, typer.Option("--strip-path", help="The agent sees the path without --path.")] = False,
) -> None:
    """Create a route to an agent's service: by host and path, or by a port of the hub."""
    import secrets

    from tunnelpb.hub.v1 import route_pb2

    if bool(host) == bool(tcp_port):
        raise Problem("give --host, or --tcp-port, and not both", code=Code.USAGE, reason="BAD_FLAG")
    wanted = route_pb2.Route(
        host=host, path=path, tcp_port=tcp_port, agent=names.agent(agent), service=service, strip_path=strip_path
    )
    request = route_pb2.CreateRouteRequest(
        route=wanted, route_id=route.removeprefix("routes/"), request_id=secrets.token_hex(8)
    )
    async with run.hub() as hub:
        row = rows.route((await hub.routes.CreateRoute(request)).route)
        try:
            await names.known_agent(hub, agent)
        except Problem as problem:
            # It may come later. A slip is likelier.
            unknown = f"but no agent {agent.removeprefix('agents/')} is known yet; {problem.hint}"
        else:
            unknown = ""
    if run.output.for_people:
        print(f"created {row['name']}")
        if unknown:
            run.note(unknown)
        if row["error"]:
            run.note(f"but it does not work yet: {row['error']}")
    else:
        run.show_one("route", row)


async def delete(run: Run, routes: Routes, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Delete routes."""
    from tunnelpb.hub.v1 import route_pb2

    async def one(hub: Any, name: str) -> dict[str, Any]:
        await hub.routes.DeleteRoute(route_pb2.DeleteRouteRequest(name=name))
        return {"name": name, "state": "DELETED"}

    chosen = [names.full("routes", text) for text in routes]
    if not run.sure("delete", chosen, yes=yes, dry_run=dry_run, one="route"):
        return
    async with run.hub() as hub:
        done = await each(run, hub, chosen, one)
    run.show_done("route", done, lambda row: f"deleted {row['name']}")


async def test(
    run: Run, url: Annotated[str, typer.Argument(metavar="URL", help="As a visitor would use it, or tcp://:PORT.")]
) -> None:
    """Tell who would get a request, and why."""
    from tunnelpb.hub.v1 import route_pb2

    async with run.hub() as hub:
        row = rows.resolution(await hub.routes.ResolveRoute(route_pb2.ResolveRouteRequest(url=url)))
    if run.output.for_people:
        print(_told(row) if row["agent"] else f"nobody: {row['reason']}")
    else:
        run.show_one("resolution", row)
    if not row["agent"]:
        run.code = Code.NOT_FOUND


def _told(row: dict[str, Any]) -> str:
    service = f" service {row['service']}" if row["service"] else ""
    agent = row["agent"].partition("/")[2]
    return f"{row['reason']} -> agent {agent}{service} {row['path']}   {plural(row['sessions'], 'session')} in service".rstrip()


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    routes = group(app, "routes", "Routes: which requests and connections go to which agent's service.")
    command(routes, "list")(list_)
    command(routes, "get")(get)
    command(routes, "create")(create)
    command(routes, "delete")(delete)
    command(routes, "test")(test)
