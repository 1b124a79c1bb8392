"""Commands that ask a running agent over its own socket: status, services, reload, drain, healthcheck."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from agentd.door import is_live, runtime_folder

# An agent answers within milliseconds; one that does not within seconds is stuck.
DEADLINE = 10.0
# tunnelctl's exit codes: 3 for what cannot be reached, 1 for what went wrong.
EXIT_FAILED, EXIT_UNREACHABLE = 1, 3

Socket = Annotated[Path | None, typer.Option("--socket", help="The agent's socket; found by itself if there is one.")]
Output = Annotated[Literal["table", "json"], typer.Option("-o", "--output", help="table or json.")]
Row = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (status, services, reload, drain, healthcheck):
        app.command()(command)


def status(socket: Socket = None, output: Output = "table") -> None:
    """Show how a running agent is: its hubs, its services, its counters."""
    row = _ask(socket, "GetStatus")
    if output == "json":
        typer.echo(json.dumps(row, indent=2))
        return
    typer.echo(f"agentd {row['version']}, instance {row['instance']}, since {row['start_time']}")
    version, error = row["config_version"], row["config_error"]
    typer.echo(f"configuration: {f'version {version} of the hub' if version != '0' else 'its own'}")
    if error:
        typer.echo(f"refused: {error}")
    typer.echo(
        f"exchanges: {row['open_exchanges']} open, {row['served']} served, {row['failed']} failed, {row['retries']} retried"
    )
    typer.echo()
    head = ("HUB", "AGENT", "STATE", "SESSION", "STREAMS", "RTT", "CONTROL", "LAST ERROR")
    _table(head, [_uplink(uplink) for uplink in row["uplinks"]])
    typer.echo()
    _services(row["services"])


def services(socket: Socket = None, output: Output = "table") -> None:
    """Show what a running agent serves."""
    rows = _ask(socket, "ListServices")["services"]
    if output == "json":
        typer.echo(json.dumps(rows, indent=2))
    else:
        _services(rows)


def reload(socket: Socket = None) -> None:
    """Have a running agent read its settings again."""
    row = _ask(socket, "Reload")
    typer.echo(f"applied: {', '.join(row['applied']) or 'nothing has changed'}")
    if row["need_restart"]:
        typer.echo(f"needs a restart: {', '.join(row['need_restart'])}")


def drain(
    socket: Socket = None,
    deadline: Annotated[float | None, typer.Option(min=0, help="Seconds for what is in progress.")] = None,
) -> None:
    """End a running agent once what is in progress has ended, as SIGTERM does."""

    def set_deadline(request: Any) -> None:
        if deadline is not None:
            request.deadline.FromMilliseconds(round(deadline * 1000))

    row = _ask(socket, "Drain", set_deadline)
    typer.echo(f"ending; {row['open_exchanges']} exchanges are in progress")


def healthcheck(socket: Socket = None) -> None:
    """End with 0 if the agent is connected to every hub, with 1 and the reason if not."""
    faults = [
        f"{uplink['hub']}: {uplink['last_error'] or uplink['state']}"
        for uplink in _ask(socket, "GetStatus")["uplinks"]
        if uplink["state"] != "online"
    ]
    if faults:
        _fail("; ".join(faults))
    typer.echo("connected")


def find_socket(given: Path | None) -> Path:
    """The socket of the agent that is meant: the one given, else the only one that answers.

    Args:
        given: by the user.
    """
    if given is not None:
        return given
    folder = runtime_folder(os.environ)
    live = [path for path in sorted(folder.glob("*.sock")) if is_live(path)] if folder is not None else []
    if len(live) == 1:
        return live[0]
    if live:
        _fail(f"several agents run: give one of them with --socket: {', '.join(map(str, live))}", EXIT_UNREACHABLE)
    where = f"in {folder}" if folder is not None else "(XDG_RUNTIME_DIR is not set)"
    return _fail(f"no running agent found {where}; give its socket with --socket", EXIT_UNREACHABLE)


def _ask(given: Path | None, method: str, prepare: Callable[[Any], None] | None = None) -> Row:
    """Call the agent; returns the answer with every field, unset ones included."""
    # gRPC's C core would write about forks and sockets between our lines.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import asyncio

    path = find_socket(given)

    async def call() -> Row:
        import grpc.aio
        from google.protobuf import json_format

        from tunnelpb.agent.v1 import local_pb2
        from tunnelpb.agent.v1.local_pb2_grpc import AgentLocalServiceStub

        request = getattr(local_pb2, f"{method}Request")()
        if prepare is not None:
            prepare(request)
        options = [("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(f"unix:{path.absolute()}", options=options) as channel:
            ask: Callable[..., Awaitable[Any]] = getattr(AgentLocalServiceStub(channel), method)
            try:
                answer = await ask(request, timeout=DEADLINE)
            except grpc.aio.AioRpcError as exc:
                if exc.code() is grpc.StatusCode.UNAVAILABLE:
                    _fail(f"no agent answers at {path}", EXIT_UNREACHABLE)
                if exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    _fail(f"the agent at {path} has not answered within {DEADLINE:g} s", EXIT_UNREACHABLE)
                _fail(str(exc.details()))
        row: Row = json_format.MessageToDict(
            answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        return row

    return asyncio.run(call())


def _uplink(row: Row) -> tuple[str, ...]:
    rtt = f"{float(row['rtt'].rstrip('s')) * 1000:.1f} ms" if row.get("rtt") else "-"
    return (
        row["hub"],
        row["agent_id"],
        row["state"],
        row["session"].removeprefix("sessions/") or "-",
        str(row["streams"]),
        rtt,
        "yes" if row["controlled"] else "no",
        row["last_error"] or "-",
    )


def _services(rows: list[Row]) -> None:
    table: list[tuple[str, ...]] = []
    for row in rows:
        state = row["health"]["state"].removeprefix("STATE_").lower()
        table.append(
            (row["name"], row["target"], row["origin"], state, str(row["connections"]), row["health"]["detail"] or "-")
        )
    _table(("SERVICE", "TARGET", "FROM", "HEALTH", "CONNECTIONS", "DETAIL"), table)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(line[index]) for line in (head, *rows)) for index in range(len(head))]
    for line in (head, *rows):
        typer.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _fail(text: str, code: int = EXIT_FAILED) -> NoReturn:
    for line in text.splitlines():
        typer.echo(f"agentd: {line}", err=True)
    raise typer.Exit(code)
