"""``hubd plugins``: the carriers that are installed, and what became of each."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

app = typer.Typer(name="plugins", help="Carriers that are installed.", no_args_is_help=True)


@app.callback()
def plugins() -> None:
    """Keep ``list`` a command of its own."""


@app.command("list")
def list_(
    output: Annotated[Literal["table", "json"], typer.Option("-o", "--output", help="table or json.")] = "table",
) -> None:
    """List the carrier plugins. Ends with code 1 if one of them cannot be used."""
    from carrier_api import Registry

    rows = [
        {
            "name": row.name,
            "distribution": row.dist,
            "version": row.version,
            "state": row.state,
            "detail": row.detail,
        }
        for row in Registry.load().plugins()
    ]
    if output == "json":
        typer.echo(json.dumps(rows, indent=2))
    else:
        table = [
            ("NAME", "DISTRIBUTION", "VERSION", "STATE"),
            *((*list(row.values())[:3], _state(row)) for row in rows),
        ]
        widths = [max(len(line[index]) for line in table) for index in range(3)]
        for name, distribution, version, state in table:
            typer.echo(f"{name:<{widths[0]}}  {distribution:<{widths[1]}}  {version:<{widths[2]}}  {state}")
    if any(row["state"] == "failed" for row in rows):
        raise typer.Exit(1)


def _state(row: dict[str, str]) -> str:
    return f"{row['state']}: {row['detail']}" if row["detail"] else row["state"]
