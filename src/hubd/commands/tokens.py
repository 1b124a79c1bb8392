"""``hubd token``: makes, lists and takes back tokens straight in the store, with no hub running or beside one."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, cast

import typer

from tunnel.settings import EXIT_CONFIG, SettingsError, parse_duration

if TYPE_CHECKING:
    from hubd.identity.texts import Kind
    from hubd.identity.tokens import Role, TokenBook
    from hubd.store.tokens import TokenRow

app = typer.Typer(name="token", help="Make, list and revoke tokens, straight in the store.", no_args_is_help=True)

_USAGE = 2
_NOT_FOUND = 3
_CONFLICT = 6

_Config = Annotated[
    Path | None, typer.Option("-c", "--config", help="TOML file with the hub's settings (/etc/hubd/hubd.toml).")
]
_Store = Annotated[Path | None, typer.Option("--store", help="File of the store, instead of the settings' one.")]


@app.command()
def create(
    kind: Annotated[str, typer.Option(help="agent, join, admin or visitor.")] = "agent",
    agent: Annotated[str, typer.Option(help="Whose token it is; for join tokens the only id that may enrol.")] = "",
    role: Annotated[str, typer.Option(help="Of an admin token: viewer, operator or admin.")] = "",
    ttl: Annotated[str | None, typer.Option(help="How long it is good, as 90d or 12h (90d; join tokens 1h).")] = None,
    uses: Annotated[int | None, typer.Option(help="How many agents may enrol with a join token (1).")] = None,
    comment: Annotated[str, typer.Option(help="Free text for the list.")] = "",
    out: Annotated[Path | None, typer.Option(help="Write the secret to this new file, mode 0600.")] = None,
    config: _Config = None,
    store: _Store = None,
) -> None:
    """Make a token and print its secret, this once."""
    from hubd.identity.tokens import TokenError

    try:
        seconds = None if ttl is None else parse_duration(ttl)
    except ValueError as exc:
        _fail(f"--ttl: {exc}", _USAGE)
    file = None if out is None else _new_file(out)
    try:
        with _book(config, store) as book:
            row, secret = book.create(
                cast("Kind", kind), agent=agent, role=cast("Role", role), ttl=seconds, uses=uses, comment=comment
            )
    except TokenError as exc:
        _drop(out)
        _fail(f"--{exc.field}: {exc}" if exc.field else str(exc), _USAGE if exc.field else _CONFLICT)
    except BaseException:
        _drop(out)
        raise
    until = "" if row.expires is None else f", good until {_day(row.expires)}"
    typer.echo(f"hubd: token {row.id} ({kind}{' for ' + agent if agent else ''}{until})", err=True)
    if file is None:
        typer.echo(secret.reveal())
        return
    with open(file, "w", encoding="ascii") as stream:
        stream.write(secret.reveal() + "\n")
    typer.echo(f"hubd: the secret is in {out}", err=True)


@app.command("list")
def show(
    kind: Annotated[str, typer.Option(help="Only agent, join, admin or visitor.")] = "",
    agent: Annotated[str, typer.Option(help="Only those of this agent.")] = "",
    ended: Annotated[bool, typer.Option("--ended", help="Also those revoked or expired.")] = False,
    config: _Config = None,
    store: _Store = None,
) -> None:
    """List tokens, without their secrets."""
    with _book(config, store) as book:
        lines: list[tuple[str, ...]] = [("ID", "KIND", "FOR", "EXPIRES", "LAST USE", "STATE", "COMMENT")]
        after = ""
        while True:
            page = book.page(after=after, limit=1000, kind=cast("Kind", kind), agent=agent, ended=ended)
            lines += [_line(row) for row in page.rows]
            after = page.after
            if not after:
                break
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]) - 1)]
    for line in lines:
        typer.echo(
            "  ".join([f"{cell:{width}}" for cell, width in zip(line, widths, strict=False)] + [line[-1]]).rstrip()
        )


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="From the list.")],
    config: _Config = None,
    store: _Store = None,
) -> None:
    """Take a token back. A hub that runs on this store ends the token's sessions within a second."""
    from hubd.identity.tokens import TokenError

    try:
        with _book(config, store) as book:
            book.revoke(token_id.removeprefix("tokens/"))
    except TokenError as exc:
        _fail(str(exc), _NOT_FOUND)
    typer.echo(f"hubd: token {token_id} is revoked", err=True)


@contextmanager
def _book(config: Path | None, store: Path | None) -> Iterator[TokenBook]:
    from hubd.identity.tokens import TokenBook
    from hubd.settings import read
    from hubd.store import Database, StoreError

    if store is None:
        try:
            loaded = read(config)
        except SettingsError as exc:
            _fail(str(exc), EXIT_CONFIG)
        store = loaded.value.store_path
    if store is None:
        _fail("these settings keep the store in memory: name a file with --store PATH", EXIT_CONFIG)
    try:
        database = Database(store)
    except StoreError as exc:
        _fail(str(exc), EXIT_CONFIG)
    try:
        yield TokenBook(database)
    finally:
        database.close()


def _line(row: TokenRow) -> tuple[str, ...]:
    import time

    now = time.time()
    state = "revoked" if row.revoked is not None else "valid" if row.live(now) else "expired"
    if row.uses_left is not None and state != "revoked":
        state = f"{row.uses_left} uses left" if row.live(now) else "used up" if row.uses_left == 0 else state
    return (
        row.id, row.kind, row.role or row.agent or "-", "never" if row.expires is None else _day(row.expires),
        "never" if row.last_use is None else _day(row.last_use), state, row.comment,
    )  # fmt: skip


def _day(when: float) -> str:
    return dt.datetime.fromtimestamp(when, dt.UTC).strftime("%Y-%m-%d %H:%MZ")


def _new_file(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        _fail(f"--out: cannot make {path}: {exc.strerror}", _USAGE)


def _drop(path: Path | None) -> None:
    """Leave no empty file behind a token that was not made."""
    if path is not None:
        path.unlink(missing_ok=True)


def _fail(text: str, code: int) -> NoReturn:
    for line in text.splitlines():
        typer.echo(f"hubd: {line}", err=True)
    raise typer.Exit(code)
