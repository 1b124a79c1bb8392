"""``tunnelctl tokens``."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from tunnelctl import complete, names, rows
from tunnelctl.command import command, group
from tunnelctl.commands.sessions import DryRun, Yes, each
from tunnelctl.names import AgentOption
from tunnelctl.options import Output
from tunnelctl.problems import Problem
from tunnelctl.run import Run
from tunnelctl.text import plural

_ID = {"autocompletion": complete.tokens}


def _kinds() -> list[str]:
    from tunnelpb.hub.v1.token_pb2 import Token

    return [rows.enum(Token.Kind, number) for number in Token.Kind.values()][1:]


def _roles() -> list[str]:
    from tunnelpb.hub.v1.token_pb2 import Token

    return [rows.enum(Token.Role, number) for number in Token.Role.values()][1:]


async def create(
    run: Run,
    kind: Annotated[str, typer.Option(help="agent, join, admin or visitor.")],
    agent: AgentOption = None,
    role: Annotated[str | None, typer.Option(help="Of an admin token: viewer, operator or admin.")] = None,
    ttl: Annotated[str | None, typer.Option(metavar="TIME", help="How long it is good (90 days; join: 1 h).")] = None,
    uses: Annotated[int, typer.Option(min=0, show_default=False, help="Of a join token: how often (once).")] = 0,
    comment: Annotated[str, typer.Option(help="Kept with it.")] = "",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="A new file for the secret, 0600.")] = None,
) -> None:
    """Create a token. Its secret is printed once, on standard output alone."""
    import secrets

    from tunnelpb.hub.v1 import token_pb2

    wanted = names.one_of("--kind", kind, _kinds)
    request = token_pb2.CreateTokenRequest(
        kind=token_pb2.Token.Kind.Value(f"KIND_{wanted}"),
        agent=names.agent(agent),
        uses=uses,
        comment=comment,
        request_id=secrets.token_hex(8),
    )
    if role is not None:
        request.role = token_pb2.Token.Role.Value(f"ROLE_{names.one_of('--role', role, _roles)}")
    if (seconds := names.seconds("--ttl", ttl)) is not None:
        request.ttl.FromTimedelta(dt.timedelta(seconds=seconds))
    # Opened before the token is made: a secret that cannot be kept is better not made.
    descriptor = _new_file(out) if out is not None else None
    try:
        async with run.hub() as hub:
            answer = await hub.tokens.CreateToken(request)
    except BaseException:
        if descriptor is not None and out is not None:
            os.close(descriptor)
            out.unlink()
        raise
    row = rows.token(answer.token)
    if descriptor is not None:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(answer.secret + "\n")
    if run.output in (Output.TABLE, Output.WIDE, Output.NAME):
        if descriptor is None:
            print(answer.secret)
        whose = f" for {row['agent']}" if row["agent"] else ""
        where = f"; its secret is in {out}" if out is not None else "; the secret is shown this once"
        run.note(
            f"{row['name']}: {row['kind'].lower()} token{whose}, good until {row['expire_time'] or 'revoked'}{where}"
        )
    else:
        run.show_one("token", row if descriptor is not None else row | {"secret": answer.secret})


def _new_file(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Problem(f"--out {path}: {error.strerror}", reason="BAD_FILE") from None


async def list_(
    run: Run,
    kind: Annotated[str | None, typer.Option(help="Only agent, join, admin or visitor tokens.")] = None,
    agent: AgentOption = None,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Those that ended too.")] = False,
) -> None:
    """List tokens. Secrets are kept nowhere, so they are not shown."""
    from tunnelpb.hub.v1.token_pb2 import Token

    number = Token.Kind.Value(f"KIND_{names.one_of('--kind', kind, _kinds)}") if kind else Token.KIND_UNSPECIFIED
    async with run.hub() as hub:
        listed = hub.list_tokens(kind=number, agent=names.agent(agent), ended=all_)
        found = [rows.token(row) async for row in listed]
    run.show("token", found)
    if run.output.for_people:
        run.note(names.counted(found, "token"))


async def revoke(
    run: Run,
    tokens: Annotated[list[str], typer.Argument(metavar="TOKEN...", help="Ids, or prefixes only one has.", **_ID)],
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Revoke tokens. What lives by them ends within a second."""
    from tunnelpb.hub.v1 import token_pb2

    async def one(hub: Any, name: str) -> dict[str, Any]:
        answer = await hub.tokens.RevokeToken(token_pb2.RevokeTokenRequest(name=name))
        return rows.token(answer.token) | {"evicted_sessions": answer.evicted_sessions}

    async with run.hub() as hub:
        chosen = list(dict.fromkeys([await names.token(hub, text) for text in tokens]))
        if not run.sure("revoke", chosen, yes=yes, dry_run=dry_run, one="token"):
            return
        done = await each(run, hub, chosen, one)
    run.show_done(
        "token", done, lambda row: f"revoked {row['name']}: {plural(row['evicted_sessions'], 'session')} evicted"
    )


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    tokens = group(app, "tokens", "Tokens: who may attach, enrol, visit or manage.")
    command(tokens, "create")(create)
    command(tokens, "list")(list_)
    command(tokens, "revoke")(revoke)
