"""``hubd hash-password``: what to write into the settings for a user of ``visitors.users``."""

from __future__ import annotations

import getpass
import sys

import typer

_USAGE = 2


def hash_password() -> None:
    """Read a password, from the terminal without an echo or from standard input, and print its hash."""
    from hubd.identity.passwords import MAX_PASSWORD
    from hubd.identity.passwords import hash_password as make

    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
    else:
        password = sys.stdin.readline(MAX_PASSWORD + 2).removesuffix("\n").removesuffix("\r")
    try:
        typer.echo(make(password))
    except ValueError as exc:
        typer.echo(f"hubd: {exc}", err=True)
        raise typer.Exit(_USAGE) from None
