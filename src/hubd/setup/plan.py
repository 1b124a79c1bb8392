"""Writes a whole setup, or nothing."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hubd.identity.tokens import TokenBook, TokenError
from hubd.setup.authority import issue, make_authority
from hubd.setup.unit import unit
from hubd.store import Database, StoreError
from tunnel.settings import HostPort

LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")


class SetupError(Exception):
    """It cannot be set up; one line for people. Nothing was left behind."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to set up.

    Args:
        folder: for everything but the store; absolute.
        state: for the store; absolute.
        host: how agents and visitors reach this machine.
        domain: agents are served at names under it, or None.
        listen: where TLS is served.
        agent: id of the first agent.
        certificate: with its key, instead of an authority of its own; absolute.
        program: ``hubd``, as an absolute path.
        user: who runs the service.
    """

    folder: Path
    state: Path
    host: str
    domain: str | None
    listen: HostPort
    agent: str
    certificate: tuple[Path, Path] | None
    program: str
    user: str

    @property
    def config(self) -> Path:
        """The settings; written last, so where it is, all is."""
        return self.folder / "hubd.toml"

    @property
    def token(self) -> Path:
        """The agent's token."""
        return self.folder / f"{self.agent}.token"

    @property
    def authority(self) -> Path | None:
        """What agents trust; None if the certificate is somebody else's."""
        return None if self.certificate is not None else self.folder / "ca.pem"

    @property
    def names(self) -> list[str]:
        """What the certificate is for."""
        domain = [self.domain, f"*.{self.domain}"] if self.domain else []
        return list(dict.fromkeys([self.host, *domain, *LOCAL_NAMES]))


@dataclass(slots=True)
class _Writer:
    """Makes files and folders, and takes all of them back if one fails."""

    made: list[Path] = field(default_factory=list)

    def folder(self, path: Path, mode: int) -> None:
        if not path.is_dir():
            path.mkdir(mode=mode, parents=True)
            self.made.append(path)

    def file(self, path: Path, content: bytes, mode: int) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        self.made.append(path)
        with open(descriptor, "wb") as stream:
            stream.write(content)

    def undo(self) -> None:
        for path in reversed(self.made):
            with contextlib.suppress(OSError):
                (Path.rmdir if path.is_dir() else Path.unlink)(path)


def write(wishes: Wishes, now: dt.datetime) -> None:
    """Make every file.

    Raises:
        SetupError: a file is there already, or cannot be made.
    """
    writer = _Writer()
    try:
        # The service's user must be able to look in; what is secret there is so by itself.
        writer.folder(wishes.folder, 0o755)
        writer.folder(wishes.state, 0o700)
        cert, key = _certificate(writer, wishes, now)
        _token(writer, wishes)
        path = wishes.folder / "hubd.service"
        text = unit(
            path, program=wishes.program, config=wishes.config, key=key, state=wishes.state, user=wishes.user,
            low_port=0 < wishes.listen.port < 1024,
        )  # fmt: skip
        writer.file(path, text.encode(), 0o644)
        writer.file(wishes.config, _settings(wishes, cert, key).encode(), 0o644)
    except FileExistsError as exc:
        writer.undo()
        raise SetupError(f"{exc.filename} is there already and stays: remove it, or choose another --dir") from exc
    except (OSError, StoreError, TokenError) as exc:
        writer.undo()
        why = f"{exc.filename}: {exc.strerror}" if isinstance(exc, OSError) else str(exc)
        raise SetupError(f"cannot set up {wishes.folder}: {why}") from exc
    except BaseException:
        writer.undo()
        raise


def _certificate(writer: _Writer, wishes: Wishes, now: dt.datetime) -> tuple[Path, Path]:
    if wishes.certificate is not None:
        return wishes.certificate
    folder = wishes.folder
    authority = make_authority(f"hubd at {wishes.host}", now)
    own = issue(authority, wishes.names, now)
    writer.file(folder / "ca.key", authority.key, 0o600)
    writer.file(folder / "ca.pem", authority.certificate, 0o644)
    writer.file(folder / "hub.key", own.key, 0o600)
    writer.file(folder / "hub.pem", own.certificate, 0o644)
    return folder / "hub.pem", folder / "hub.key"


def _token(writer: _Writer, wishes: Wishes) -> None:
    path = wishes.state / "hub.db"
    fresh = not path.exists()
    database = Database(path)
    if fresh:
        writer.made.append(path)
    try:
        _, secret = TokenBook(database).create("agent", agent=wishes.agent, comment="hubd init")
    finally:
        database.close()
    writer.file(wishes.token, secret.reveal().encode() + b"\n", 0o600)


def _settings(wishes: Wishes, cert: Path, key: Path) -> str:
    # A JSON string of printable text is a TOML one as well.
    def line(name: str, value: object) -> str:
        return f"{name} = {json.dumps(str(value), ensure_ascii=False)}\n"

    domain = line("domain", wishes.domain) if wishes.domain else ""
    return (
        "# Written by hubd init. TLS for everybody; plain HTTP for this machine only, on 127.0.0.1:8882.\n"
        + line("tls_listen", wishes.listen)
        + domain
        + "\n[tls]\n"
        + line("cert", cert)
        + line("key", key)
        + "\n[store]\n"
        + line("path", wishes.state / "hub.db")
    )


def instructions(wishes: Wishes) -> str:
    """What to run on both sides."""
    place = f"[{wishes.host}]" if ":" in wishes.host else wishes.host
    if wishes.listen.port != 443:
        place += f":{wishes.listen.port}"
    files = f"{wishes.token}" + (f" and {wishes.authority}" if wishes.authority is not None else "")
    trust = f" --ca-file {wishes.authority.name}" if wishes.authority is not None else ""
    check = f" --cacert {wishes.authority}" if wishes.authority is not None else ""
    lines = [
        "Here, try it, and then let systemd run it:",
        f"  {wishes.program} serve --config {wishes.config}",
        f"  systemctl enable --now {wishes.folder / 'hubd.service'}",
        "",
        f"On the agent's machine, with {files} copied there (mode 0600 for the token):",
        (
            f"  agentd run --hub wss://{place} --id {wishes.agent} --token-file {wishes.token.name}{trust}"
            " --target http://127.0.0.1:8080"
        ),
        "",
        "Visitors then reach its target at:",
        f"  curl{check} https://{place}/api/v1/proxy/{wishes.agent}/",
    ]
    if wishes.domain:
        port = "" if wishes.listen.port == 443 else f":{wishes.listen.port}"
        lines.append(f"  https://{wishes.agent}.{wishes.domain}{port}/  (once *.{wishes.domain} leads to this machine)")
    if wishes.authority is not None:
        lines += ["", f"Keep {wishes.folder / 'ca.key'} somewhere else: whoever has it can pose as this hub."]
    return "\n".join(lines)
