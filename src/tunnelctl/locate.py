"""Which hub is meant: the one named, the context's, or the only one that runs on this machine."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tunnel.logs import Secret
from tunnel.settings import SecretFileError, read_secret_file
from tunnelctl.options import Options
from tunnelctl.problems import Code, Problem
from tunnelctl.settings import Context, Settings

# A hub's socket on this machine accepts at once; one that does not is stuck.
_LOCAL_DEADLINE = 0.5
# Where the hub of root has it.
_SYSTEM = Path("/run/hubd")


@dataclass(frozen=True, slots=True)
class Place:
    """A hub and how to come in.

    Attributes:
        address: as given.
        origin: who named it: ``--hub``, a variable, a context, or ``found``.
        token: secret to send, or None.
        context: TLS files.
    """

    address: str
    origin: str
    token: Secret | None
    context: Context

    @property
    def is_tls(self) -> bool:
        """Whether it is reached over TCP, which is always TLS."""
        return not self.address.strip().startswith("unix:")


def locate(options: Options, settings: Settings, environ: Mapping[str, str]) -> Place:
    """Choose the hub.

    A hub that is named by itself gets no token of a context, since the context's is for another hub. Raises Problem.
    """
    name = options.context or environ.get("TUNNELCTL_CONTEXT")
    hub = options.hub or (None if options.context else settings.hub)
    if name is None and hub is None:
        name = settings.current
    base = _context(settings, name) if name is not None else None
    if hub is not None:
        origin = "--hub" if options.hub else "TUNNELCTL_HUB"
    elif base is not None:
        hub, origin = base.address, f"context {name}"
    else:
        hub, origin = find_local(environ), "found"
    chosen = {
        field: getattr(options, field) or getattr(settings, field) or getattr(base, field, None)
        for field in ("ca_file", "cert_file", "key_file", "server_name")
    }
    context = Context(address=hub, **{key: value and str(Path(value).expanduser()) for key, value in chosen.items()})
    return Place(hub, origin, _token(options, settings, base, environ), context)


def _context(settings: Settings, name: str) -> Context:
    found = settings.context.get(name)
    if found is None:
        known = ", ".join(sorted(settings.context)) or "none"
        raise Problem(
            f"no context is called {name} (there are: {known})",
            hint=f"tunnelctl context set {name} --address ADDRESS makes it",
            code=Code.USAGE,
            reason="CONTEXT_NOT_FOUND",
        )
    return found


def _token(options: Options, settings: Settings, base: Context | None, environ: Mapping[str, str]) -> Secret | None:
    file = options.token_file
    if file is None and (secret := environ.get("TUNNELCTL_TOKEN")):
        return Secret(secret.strip())
    file = file or settings.token_file or (base.token_file if base is not None else None)
    if file is None:
        return None
    try:
        return read_secret_file(Path(file).expanduser() if file != "-" else file, environ=environ)
    except SecretFileError as error:
        raise Problem(str(error), code=Code.CONFIG, reason="BAD_TOKEN_FILE") from None


def folders(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield where hubs of this machine put their sockets."""
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "hubd"
    yield _SYSTEM
    yield Path(tempfile.gettempdir(), f"hubd-{os.geteuid()}")


def find_local(environ: Mapping[str, str]) -> str:
    """Return the address of the only hub that runs on this machine. Raises Problem if there is none, or several."""
    live: list[str] = []
    for folder in folders(environ):
        try:
            sockets = sorted(folder.glob("admin*.sock")) if _ours(folder) else []
        except OSError:
            continue
        live += [f"unix://{path}" for path in sockets if _answers(path)]
    if len(live) == 1:
        return live[0]
    if live:
        raise Problem(
            f"several hubs run here: {', '.join(live)}",
            hint="choose one with --hub",
            code=Code.USAGE,
            reason="HUB_UNCLEAR",
        )
    raise Problem(
        "no hub is named, and none was found on this machine",
        hint="give --hub unix:///PATH or --hub HOST:PORT, or make a context: tunnelctl context set NAME --address ADDRESS",
        code=Code.UNAVAILABLE,
        reason="HUB_UNKNOWN",
    )


def _ours(folder: Path) -> bool:
    """Tell whether nobody but us and root can have put a socket there: a token may go to it."""
    found = folder.stat()
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_LOCAL_DEADLINE)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True
