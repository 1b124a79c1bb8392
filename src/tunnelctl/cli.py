"""The command line of ``tunnelctl``.

gRPC and pydantic are imported inside commands only: ``--help`` and completion of options are to come at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from tunnel import commandline
from tunnel.version import VERSION
from tunnelctl.command import command, wrapped
from tunnelctl.commands import agents, contexts, diagnose, events, hub, routes, sessions, stats, status, tokens
from tunnelctl.options import Output
from tunnelctl.problems import Code, Problem
from tunnelctl.run import Run

app = typer.Typer(
    name="tunnelctl",
    help="Manage hubs, their agents and sessions over the gRPC API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=commandline.SETTINGS,
)


def _root(run: Run, version: commandline.Version = False) -> None:
    """Keep the options for the command."""


def version(run: Run) -> None:
    """Print the version."""
    if run.options.output in (None, Output.TABLE, Output.WIDE):
        print(f"tunnelctl {VERSION}")
    else:
        run.show_one("version", {"name": "tunnelctl", "version": VERSION})


app.callback(help=app.info.help)(wrapped(_root))
command(app, "version")(version)
for _module in (status, sessions, stats, agents, routes, tokens, hub, events, contexts, diagnose):
    _module.add_to(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Returns the exit code."""
    try:
        code = commandline.command_of(app)(list(arguments), prog_name="tunnelctl", standalone_mode=False)
        sys.stdout.flush()
    except commandline.UsageError as error:
        message = error.format_message()
        hint = commandline.help_of(error, "tunnelctl")
        if not message:
            return int(error.exit_code)
        problem = Problem(commandline.one_line(message), hint=hint, code=Code.USAGE, reason="BAD_USAGE")
        problem.tell(as_json=_wants_json(arguments))
        return int(Code.USAGE)
    except (typer.Abort, KeyboardInterrupt):
        return int(Code.INTERRUPTED)
    except BrokenPipeError:
        commandline.leave_output()
        return int(Code.FAILURE)
    return code if isinstance(code, int) else int(Code.OK)


def _wants_json(arguments: Sequence[str]) -> bool:
    """Tell whether errors are for programs, of a line that could not be read."""
    words = list(arguments)
    for index, word in enumerate(words):
        flag, _, value = word.partition("=")
        if word == "-o" or flag == "--output":
            return (value or "".join(words[index + 1 : index + 2])) in ("json", "jsonl")
        if word in ("-ojson", "-ojsonl"):
            return True
    return os.environ.get("TUNNELCTL_OUTPUT") in ("json", "jsonl")
