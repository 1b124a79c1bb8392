"""``agentd config``: the settings, looked at with no agent running."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from agentd.config import AgentConfig
from agentd.settings import file_of, read
from carrier_api import Registry
from tunnel.inspecting import setting_lines
from tunnel.settings import EXIT_CONFIG, Fault, SettingsError

app = typer.Typer(name="config", help="Check and show the settings, with no agent running.", no_args_is_help=True)

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
    for line in setting_lines(loaded, file_of(config), origin=origin):
        typer.echo(line)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the file, for editors."""
    typer.echo(json.dumps(AgentConfig.model_json_schema(), indent=2))


def _end(faults: list[Fault]) -> NoReturn:
    for fault in faults:
        typer.echo(f"agentd: {fault}", err=True)
    raise typer.Exit(EXIT_CONFIG)
