"""``agentd enroll``: exchanges a join token for a token of the agent's own."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tunnel.settings import EXIT_CONFIG, SecretFileError, read_secret_file

if TYPE_CHECKING:
    from agentd.enroll import Enrolled
    from agentd.hubs import Hub
    from tunnel.logs import Secret
    from yamux.carrier import TlsOptions

_USAGE = 2
_REFUSED = 4
_UNREACHABLE = 5
_CONFLICT = 6
_TIMEOUT = 15.0


def enroll(
    hub: Annotated[str, typer.Option(help="URL of the hub, as wss://HOST.")],
    agent_id: Annotated[str | None, typer.Option("--id", help="What to enrol as.")] = None,
    join_token_file: Annotated[str, typer.Option(help="File with the join token, - for standard input.")] = "-",
    token_out: Annotated[Path, typer.Option(help="New file for the agent's own token, mode 0600.")] = Path(
        "agent.token"
    ),
    ca_file: Annotated[Path | None, typer.Option(help="Authorities to trust for the hub, PEM.")] = None,
    server_name: Annotated[str | None, typer.Option(help="Name to check in the hub's certificate.")] = None,
) -> None:
    """Exchange a join token for a token of this agent's own, for use with --token-file."""
    from carrier_api import client_context
    from yamux.carrier import TlsOptions

    where = _hub(hub, agent_id)
    tls = TlsOptions(ca_file=str(ca_file) if ca_file is not None else None, server_name=server_name)
    try:
        client_context(tls)
        join = read_secret_file(join_token_file)
    except (SecretFileError, ValueError) as exc:
        _fail(str(exc), EXIT_CONFIG)
    # The file first: a token that cannot be kept is a use of the join token lost.
    try:
        descriptor = os.open(token_out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        _fail(f"--token-out: cannot make {token_out}: {(exc.strerror or '').lower()}", _USAGE)
    try:
        found = _ask(where, join, tls)
        with open(descriptor, "w", encoding="ascii", closefd=False) as stream:
            stream.write(found.token.reveal() + "\n")
    except BaseException:
        token_out.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    day = dt.datetime.fromtimestamp(found.expires, dt.UTC).strftime("%Y-%m-%d")
    typer.echo(f"agentd: {where.agent_id} is enrolled; its token, good until {day}, is in {token_out}", err=True)


def _hub(url: str, agent_id: str | None) -> Hub:
    from agentd.hubs import read_hubs
    from carrier_api import Registry

    hubs, faults = read_hubs([url], agent_id, (), Registry.load(), token=True)
    if faults:
        _fail(str(faults[0]), EXIT_CONFIG)
    return hubs[0]


def _ask(hub: Hub, join: Secret, tls: TlsOptions) -> Enrolled:
    from agentd.enroll import EnrollError
    from agentd.enroll import enroll as ask
    from agentd.explain import explain_failure
    from tunnel.attach import AttachFailed, AttachRefused

    try:
        return asyncio.run(ask(hub, join, tls=tls, timeout=_TIMEOUT))
    except AttachRefused as exc:
        hint = "; give a valid join token with --join-token-file" if exc.status == 401 else ""
        _fail(f"hub {hub.place} refused agent {hub.agent_id}: {exc.status} {exc.code}: {exc.message}{hint}", _REFUSED)
    except AttachFailed as exc:
        _fail(explain_failure(exc, hub), _UNREACHABLE)
    except EnrollError as exc:
        _fail(str(exc), _CONFLICT)


def _fail(text: str, code: int) -> NoReturn:
    for line in text.splitlines():
        typer.echo(f"agentd: {line}", err=True)
    raise typer.Exit(code)
