"""``tunnelctl context``: hubs by name, and how to come in."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from tunnelctl import complete
from tunnelctl.command import command, group
from tunnelctl.options import Output
from tunnelctl.problems import Code, Problem
from tunnelctl.run import Run

Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete.contexts)]


def _row(name: str, context: Any, current: str | None) -> dict[str, Any]:
    return {"name": name, "current": name == current, **context.model_dump(mode="json")}


def list_(run: Run) -> None:
    """List the contexts."""
    from tunnelctl.settings import read_file

    file, found = read_file(run.environ)
    run.show("context", [_row(name, context, found.current) for name, context in sorted(found.context.items())])
    if not found.context:
        run.note(f"no contexts in {file}; tunnelctl context set NAME --address ADDRESS makes one")


def show(
    run: Run, name: Annotated[str | None, typer.Argument(metavar="NAME", autocompletion=complete.contexts)] = None
) -> None:
    """Show a context, else the current one."""
    from tunnelctl.settings import read_file

    _, found = read_file(run.environ)
    chosen = name or found.current
    if chosen is None:
        raise Problem("no context is current", hint="tunnelctl context use NAME", code=Code.NOT_FOUND)
    run.show_one("context", _row(chosen, _known(found, chosen), found.current))


def use(run: Run, name: Name) -> None:
    """Make a context the current one."""
    from tunnelctl.settings import read_file, write

    file, found = read_file(run.environ)
    _known(found, name)
    write(file, found.model_copy(update={"current": name}))
    run.note(f"current context: {name}")


def set_(
    run: Run,
    name: Name,
    address: Annotated[str | None, typer.Option(help="unix:///PATH, or HOST:PORT with TLS.")] = None,
) -> None:
    """Make or change a context. --token-file, --ca-file, --cert-file, --key-file and --server-name are kept in it."""
    from tunnelctl.settings import Context, read_file, write
    from tunnelpb.client import Address

    file, found = read_file(run.environ)
    old = found.context.get(name)
    where = address or run.options.hub or (old.address if old is not None else None)
    if where is None:
        raise Problem(f"context {name} needs --address", code=Code.USAGE, reason="BAD_FLAG")
    try:
        Address.parse(where)
    except ValueError as error:
        raise Problem(f"--address: {error}", code=Code.USAGE, reason="BAD_ADDRESS") from None
    given = {
        key: _lasting(key, value)
        for key in ("token_file", "ca_file", "cert_file", "key_file", "server_name")
        if (value := getattr(run.options, key)) is not None
    }
    made = (old or Context(address=where)).model_copy(update={"address": where, **given})
    current = found.current or name
    write(file, found.model_copy(update={"context": {**found.context, name: made}, "current": current}))
    run.note(f"context {name} is in {file}" + (", and current" if current == name else ""))
    if run.output is not Output.TABLE:
        run.show_one("context", _row(name, made, current))


def _lasting(key: str, value: str) -> str:
    """Return a setting with a path that means the same from everywhere."""
    return value if key == "server_name" or value.startswith(("~", "-")) else os.path.abspath(value)


def delete(run: Run, name: Name) -> None:
    """Delete a context."""
    from tunnelctl.settings import read_file, write

    file, found = read_file(run.environ)
    _known(found, name)
    left = {key: value for key, value in found.context.items() if key != name}
    current = None if found.current == name else found.current
    write(file, found.model_copy(update={"context": left, "current": current}))
    run.note(f"deleted context {name}")


def _known(found: Any, name: str) -> Any:
    context = found.context.get(name)
    if context is None:
        known = ", ".join(sorted(found.context)) or "none"
        raise Problem(
            f"no context is called {name} (there are: {known})", code=Code.NOT_FOUND, reason="CONTEXT_NOT_FOUND"
        )
    return context


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    contexts = group(app, "context", "Contexts: hubs by name, in one file of yours.")
    command(contexts, "list")(list_)
    command(contexts, "show")(show)
    command(contexts, "use")(use)
    command(contexts, "set")(set_)
    command(contexts, "delete")(delete)
