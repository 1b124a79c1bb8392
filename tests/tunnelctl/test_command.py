"""How commands are declared."""

from __future__ import annotations

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from tunnelctl.command import command, group
from tunnelctl.problems import Code, Problem


@pytest.fixture
def app():
    app = typer.Typer()
    things = group(app, "things", "Things.")

    async def show(run, name: str, count: Annotated[int, typer.Option()] = 1) -> None:
        """Show a thing."""
        if name == "bad":
            raise Problem("it is bad", code=Code.CONFLICT)
        if name == "stop":
            raise KeyboardInterrupt
        if name == "part":
            run.code = Code.PARTIAL
        print(name, count, run.options.hub)

    def plain(run, output: str = "x") -> None:
        print(output, run.options.output)

    command(things, "show")(show)
    command(things, "plain", without=("output",))(plain)
    return app


def call(app, *line):
    return CliRunner().invoke(app, list(line))


def test_own_options_and_shared_ones(app):
    assert call(app, "things", "show", "a", "--count", "2", "--hub", "h").stdout == "a 2 h\n"
    assert call(app, "things", "--hub", "g", "show", "a").stdout == "a 1 g\n"
    assert "Show a thing." in call(app, "things", "show", "--help").stdout


def test_a_shared_name_may_be_used_otherwise(app):
    assert call(app, "things", "plain", "--output", "file").stdout == "file None\n"


@pytest.mark.parametrize(("name", "code"), [("bad", 6), ("stop", 130), ("part", 7)])
def test_exit_codes(app, name, code):
    assert call(app, "things", "show", name).exit_code == code
