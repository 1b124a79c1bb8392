"""Commands that look at a daemon with none running, the same for both: settings as lines, carriers as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tunnel.settings import Loaded

plugins = typer.Typer(name="plugins", help="Carriers that are installed.", no_args_is_help=True)


def setting_lines(loaded: Loaded[Any], file: Path | None, *, origin: bool) -> Iterator[str]:
    """Yield one line a setting; what is not set has no place in TOML and is a comment.

    Args:
        loaded: the settings.
        file: they are in, None if there is none.
        origin: tell of the file, and of each setting where it comes from.
    """
    if origin:
        yield f"# {file or 'no file'}"
    for key, value, source in loaded.rows():
        behind = f"  # {source}" if origin else ""
        if value is None:
            yield f"# {key} is not set{behind}"
        else:
            yield f"{key} = {json.dumps(_plain(value), ensure_ascii=False)}{behind}"


def _plain(value: object) -> object:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(item) for item in value]
    return {} if isinstance(value, dict) else str(value)


@plugins.callback()
def _plugins() -> None:
    """Keep ``list`` a command of its own."""


@plugins.command("list")
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
