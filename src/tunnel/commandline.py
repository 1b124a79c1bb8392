"""What the daemons' command lines have in common: how one is run, and how a wrong one is answered."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.main import get_command

from tunnel.version import VERSION

# As Typer ends with on its own, and as shells report a death by SIGINT.
EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130

# For Typer(context_settings=…) of a whole tree.
HELP = ["-h", "--help"]
SETTINGS = {"help_option_names": HELP}

# Typer has its own copy of click and exports none of its base classes but through this one.
UsageError: Any = typer.BadParameter.__mro__[1]


def _version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        print(f"{context.find_root().info_name} {VERSION}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
]


def run(app: typer.Typer, name: str, arguments: Sequence[str]) -> int:
    """Run one command line. A wrong one gets a single line on standard error.

    Args:
        app: the commands.
        name: of the program.
        arguments: behind its name.

    Returns:
        The exit code.
    """
    try:
        code = command_of(app)(list(arguments), prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except UsageError as error:
        message = one_line(error.format_message())
        if message:
            print(f"{name}: {message}; see {help_of(error, name)}", file=sys.stderr)
        return EXIT_USAGE
    except (typer.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        leave_output()
        return EXIT_FAILURE
    return code if isinstance(code, int) else 0


def command_of(app: typer.Typer) -> Any:
    """What Typer makes of an app, with help that does not show flags as if they took a value."""
    made = get_command(app)
    commands: list[Any] = [made]
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        asks = command.get_help_option(typer.Context(command, help_option_names=HELP))
        for option in (*command.params, *([asks] if asks is not None else [])):
            if getattr(option, "is_flag", False):
                option.metavar = ""
    return made


def leave_output() -> None:
    """Whoever read standard output has enough: the interpreter must not try to flush it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line(message: str) -> str:
    """A message of Typer's or pydantic's as a line that can stand behind a colon."""
    text = " ".join(message.replace("Value error, ", "").split())
    return (text[:1].lower() + text[1:]).removesuffix(".")


def help_of(error: Any, name: str) -> str:
    """The command that explains what a usage error is about."""
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context is not None else f"{name} --help"
