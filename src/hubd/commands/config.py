"""``hubd config``: what is wrong with the settings, what they are and where each came from, what there may be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from carrier_api import server_context
from hubd.config import HubConfig
from hubd.identity.revocations import Revocations
from hubd.settings import file_of, read
from tunnel.inspecting import setting_lines
from tunnel.settings import EXIT_CONFIG, Fault, Loaded, SettingsError
from yamux.carrier import TlsOptions

app = typer.Typer(name="config", help="Check and show the settings, with no hub running.", no_args_is_help=True)

_Config = Annotated[Path | None, typer.Option("-c", "--config", help="TOML file with settings (/etc/hubd/hubd.toml).")]

# Settings that name files which must be there when the hub starts.
_FILES = (
    "tls.cert", "tls.key", "tls.client_ca", "tls.client_crl", "visitors.client_ca", "visitors.client_crl",
    "admin.tls.cert", "admin.tls.key", "admin.client_ca", "admin.client_crl",
)  # fmt: skip


@app.command()
def check(config: _Config = None) -> None:
    """Say all that is wrong with the file and the environment, a line for each fault. Ends with code 78 then."""
    loaded = _load(config)
    _end(list(missing_files(loaded)) or list(unusable(loaded)))
    typer.echo(f"{file_of(config) or 'no file, settings'}: good")


@app.command()
def show(
    config: _Config = None,
    origin: Annotated[bool, typer.Option("--origin", help="Also where each setting comes from.")] = False,
) -> None:
    """Print the settings in force, as TOML. Secrets are masked."""
    for line in setting_lines(_load(config), file_of(config), origin=origin):
        typer.echo(line)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the file, for editors."""
    typer.echo(json.dumps(HubConfig.model_json_schema(), indent=2))


def missing_files(loaded: Loaded[HubConfig]) -> Iterator[Fault]:
    """Yield a fault for every file the settings name that cannot be read."""
    for key, value, source in loaded.rows():
        if key not in _FILES or value is None:
            continue
        try:
            with open(str(value), "rb"):
                pass
        except OSError as error:
            yield Fault(source, key, f"cannot read {value}: {error.strerror}")


def unusable(loaded: Loaded[HubConfig]) -> Iterator[Fault]:
    """Yield a fault for every certificate that cannot be used, found by using it."""
    value = loaded.value
    for key, tls, authorities in (
        ("tls", value.tls, value.tls and value.tls.client_ca),
        ("admin.tls", value.admin.tls, value.admin.client_ca),
    ):
        if tls is None:
            continue
        files = TlsOptions(
            ca_file=str(authorities) if authorities else None,
            cert_file=str(tls.cert),
            key_file=str(tls.key or tls.cert),
        )
        try:
            server_context(files)
        except ValueError as error:
            yield Fault(loaded.origins[f"{key}.cert"], key, str(error))
    for name, path, signers in value.revocation_lists():
        try:
            Revocations([(path, signers)] if signers is not None else [])
        except ValueError as error:
            key = f"{name}.client_crl"
            yield Fault(loaded.origins[key], key, str(error))


def _load(config: Path | None) -> Loaded[HubConfig]:
    try:
        return read(config)
    except SettingsError as error:
        _end(error.faults)
        raise


def _end(faults: list[Fault]) -> None:
    """Tell the faults and end, if there are any."""
    for fault in faults:
        typer.echo(str(fault), err=True)
    if faults:
        raise typer.Exit(EXIT_CONFIG)
