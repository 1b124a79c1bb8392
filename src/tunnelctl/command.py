"""How commands are declared: shared options are added, errors become lines and exit codes, coroutines run."""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from tunnelctl.options import NAMES, Options
from tunnelctl.problems import Code, Problem
from tunnelctl.run import Run

F = TypeVar("F", bound=Callable[..., Any])

# Read once: it is the same for every command, and fifty times over it took half of the start.
_SHARED = typing.get_type_hints(Options, include_extras=True)


def command(group: typer.Typer, name: str, *, without: tuple[str, ...] = (), **more: Any) -> Callable[[F], F]:
    """Declare a command. Its function takes a Run first and its own options then, and may be a coroutine function.

    ``without`` names shared options whose flags the command uses otherwise.
    """

    def register(function: F) -> F:
        group.command(name, **more)(wrapped(function, without))
        return function

    return register


def group(parent: typer.Typer, name: str, help: str) -> typer.Typer:
    """Declare a group of commands, which takes the shared options too."""
    made = typer.Typer(name=name, help=help, no_args_is_help=True)

    def callback(run: Run) -> None:
        """Keep the options for the command."""

    made.callback(help=help)(wrapped(callback))
    parent.add_typer(made)
    return made


def wrapped(function: Callable[..., Any], without: tuple[str, ...] = ()) -> Callable[..., None]:
    """Return what Typer calls: the function's own parameters, then the shared ones."""
    hints = typing.get_type_hints(function, include_extras=True)
    own = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in list(inspect.signature(function).parameters.values())[1:]
    ]
    kind = inspect.Parameter.KEYWORD_ONLY
    shared = [
        inspect.Parameter(name, kind, default=None, annotation=_SHARED[name]) for name in NAMES if name not in without
    ]
    context = inspect.Parameter("ctx", kind, annotation=typer.Context)
    parameters = [*(parameter.replace(kind=kind) for parameter in own), *shared, context]

    def called(*, ctx: typer.Context, **values: Any) -> None:
        options = Options.take(values, without).over(ctx.obj)
        ctx.obj = options
        run = Run(options)
        _call(run, function, values)

    called.__doc__ = function.__doc__
    called.__name__ = function.__name__
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return called


def _call(run: Run, function: Callable[..., Any], values: dict[str, Any]) -> None:
    try:
        result = function(run, **values)
        if inspect.iscoroutine(result):
            asyncio.run(result)
    except Problem as problem:
        problem.tell(as_json=run.errors_as_json)
        raise typer.Exit(problem.code) from None
    except KeyboardInterrupt:
        raise typer.Exit(Code.INTERRUPTED) from None
    if run.code is not Code.OK:
        raise typer.Exit(run.code)
