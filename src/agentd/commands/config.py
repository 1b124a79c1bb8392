"""``agentd config`` and ``agentd plugins``: the settings and the carriers, looked at with no agent running."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from agentd.config import AgentConfig
from agentd.settings import file_of, read
from carrier_api import Registry
from tunnel.settings import EXIT_CONFIG, Fault, SettingsError

app = typer.Typer(name="config", help="Check and show the settings, with no agent running.", no_args_is_help=True)
plugins = typer.Typer(name="plugins", help="Carriers that are installed.", no_args_is_help=True)

_Config = Annotated[
    Path | None, typer.Option("-c", "--config", help="TOML file with settings (/etc/agentd/agentd.toml).")
]


@app.command()
def check(config: _Config = None) -> None:
    """Say all that is wrong with the file and the environment, a line for each fault. Ends with code 78 then."""
    from agentd.cli import read_settings

    try:
        read_settings(config, {}, Registry.load())
    except SettingsError as exc:
        _end(exc.faults)
    typer.echo(f"{file_of(config) or 'no file, settings'}: good")


@app.command()
def show(
    config: _Config = None,
    origin: Annotated[bool, typer.Option("--origin", help="Also where each setting comes from.")] = False,
) -> None:
    """Print the settings in force, as TOML. The token itself is never among them."""
    try:
        loaded = read(config)
    except SettingsError as exc:
        _end(exc.faults)
    if origin:
        typer.echo(f"# {file_of(config) or 'no file'}")
    for key, value, source in loaded.rows():
        behind = f"  # {source}" if origin else ""
        if value is None:
            typer.echo(f"# {key} is not set{behind}")
        else:
            typer.echo(f"{key} = {json.dumps(_plain(value), ensure_ascii=False)}{behind}")


def _plain(value: object) -> object:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return {} if isinstance(value, dict) else str(value)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the file, for editors."""
    typer.echo(json.dumps(AgentConfig.model_json_schema(), indent=2))


@plugins.callback()
def _plugins() -> None:
    """Keep ``list`` a command of its own."""


@plugins.command("list")
def list_() -> None:
    """List the carrier plugins. Ends with code 1 if one of them cannot be used."""
    rows = Registry.load().plugins()
    table = [("NAME", "DISTRIBUTION", "VERSION", "STATE")]
    for row in rows:
        table.append((row.name, row.dist, row.version, f"{row.state}: {row.detail}" if row.detail else row.state))
    widths = [max(len(line[index]) for line in table) for index in range(3)]
    for name, distribution, version, state in table:
        typer.echo(f"{name:<{widths[0]}}  {distribution:<{widths[1]}}  {version:<{widths[2]}}  {state}")
    if any(row.state == "failed" for row in rows):
        raise typer.Exit(1)


def _end(faults: list[Fault]) -> NoReturn:
    for fault in faults:
        typer.echo(f"agentd: {fault}", err=True)
    raise typer.Exit(EXIT_CONFIG)
