"""The command line of ``tunnelctl``."""

from __future__ import annotations

import typer

from tunnel.version import VERSION

app = typer.Typer(
    name="tunnelctl",
    help="Manage hubs, their agents and sessions over the gRPC API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """Options for all commands."""


@app.command()
def version() -> None:
    """Print the version."""
    print(f"tunnelctl {VERSION}")
