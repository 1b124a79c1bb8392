"""The command line as a user types it."""

from __future__ import annotations

from typer.testing import CliRunner

from tunnel.version import VERSION
from tunnelctl.cli import app


def test_version() -> None:
    result = CliRunner().invoke(app, ["version"])
    assert (result.exit_code, result.output) == (0, f"tunnelctl {VERSION}\n")
