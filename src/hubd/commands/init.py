"""``hubd init``: a whole working, secure setup for one machine; ``hubd renew`` keeps it so."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tunnel.attach.server import AGENT_ID
from tunnel.settings import HostPort

if TYPE_CHECKING:
    from hubd.setup.plan import Wishes

_USAGE = 2
_CONFLICT = 6


def init(
    folder: Annotated[Path, typer.Option("--dir", help="Where to write; made if missing.")] = Path("/etc/hubd"),
    host: Annotated[str | None, typer.Option(help="Name or address agents reach this machine by (its own).")] = None,
    domain: Annotated[str | None, typer.Option(help="Serve agents at ID.DOMAIN as well.")] = None,
    tls_listen: Annotated[str, typer.Option(help="HOST:PORT to serve at, with TLS.")] = "0.0.0.0:8443",
    agent: Annotated[str, typer.Option(help="Id of the first agent, which gets a token.")] = "agent-1",
    cert: Annotated[Path | None, typer.Option(help="A certificate you have, PEM, instead of an own authority.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    state: Annotated[Path | None, typer.Option(help="For the store (/var/lib/hubd for root, else DIR/state).")] = None,
) -> None:
    """Write certificates, settings, a token and a service unit, and say what to run where. Overwrites nothing."""
    import datetime as dt

    from hubd.setup.plan import SetupError, instructions, write

    wishes = _wishes(folder, host, domain, tls_listen, agent, cert, key, state)
    if wishes.config.exists():
        typer.echo(f"hubd: {wishes.folder} is set up already; nothing was changed", err=True)
        return
    try:
        write(wishes, dt.datetime.now(dt.UTC))
    except SetupError as exc:
        _fail(str(exc), _CONFLICT)
    typer.echo(instructions(wishes))


def renew(
    folder: Annotated[Path, typer.Option("--dir", help="What hubd init wrote.")] = Path("/etc/hubd"),
    ca_key: Annotated[Path | None, typer.Option(help="The authority's key, if kept elsewhere (DIR/ca.key).")] = None,
) -> None:
    """Renew the certificate that hubd init made. Names, key, authority, settings and tokens stay."""
    import datetime as dt

    from hubd.setup.plan import SetupError
    from hubd.setup.renewal import renew

    try:
        done = renew(folder.absolute(), dt.datetime.now(dt.UTC), ca_key)
    except SetupError as exc:
        _fail(str(exc), _CONFLICT)
    typer.echo(f"{done.path} is valid until {done.until:%Y-%m-%d}. A hub that runs takes it on SIGHUP:")
    typer.echo("  systemctl reload hubd")


def _wishes(
    folder: Path,
    host: str | None,
    domain: str | None,
    tls_listen: str,
    agent: str,
    cert: Path | None,
    key: Path | None,
    state: Path | None,
) -> Wishes:
    from hubd.config import HubConfig
    from hubd.setup.plan import Wishes
    from hubd.setup.unit import STATE

    try:
        listen = HostPort.parse(tls_listen)
        name = HostPort.parse(f"[{host}]:1" if host and ":" in host else f"{host or socket.getfqdn()}:1").host
        domain = HubConfig.model_validate({"domain": domain}).domain
    except ValueError as exc:
        _fail(f"--tls-listen, --host or --domain: {_first(exc)}", _USAGE)
    if not AGENT_ID.fullmatch(agent):
        _fail(f"--agent: {agent!r} is no agent id", _USAGE)
    if (cert is None) != (key is None):
        _fail("--cert and --key go together", _USAGE)
    for path in (cert, key):
        if path is not None and not os.access(path, os.R_OK):
            _fail(f"cannot read {path}", _USAGE)
    folder = folder.absolute()
    root = os.geteuid() == 0
    return Wishes(
        folder=folder,
        state=(state or (STATE if root else folder / "state")).absolute(),
        host=name,
        domain=domain,
        listen=listen,
        agent=agent,
        certificate=(cert.absolute(), key.absolute()) if cert is not None and key is not None else None,
        program=os.path.abspath(shutil.which(sys.argv[0]) or shutil.which("hubd") or "hubd"),
        user=getpass.getuser(),
    )


def _first(exc: ValueError) -> str:
    """pydantic's text has several lines; what our own checks say is in one of them."""
    errors = getattr(exc, "errors", None)
    return str(errors()[0]["msg"]).removeprefix("Value error, ") if callable(errors) else str(exc)


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(f"hubd: {text}", err=True)
    raise typer.Exit(code)
