"""What tunnelctl is told by its contexts file and its environment."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tunnel.replacing import replace
from tunnel.settings import Duration, Section, SettingsError, load
from tunnelctl.options import Output
from tunnelctl.problems import Code, Problem

# Variables with the prefix that are no keys of the file: which file and which context, and a secret.
RESERVED = ("TUNNELCTL_CONFIG", "TUNNELCTL_CONTEXT", "TUNNELCTL_TOKEN")

_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Context(Section):
    """One hub and how to come in."""

    address: str
    """``unix:///PATH`` or ``HOST:PORT``."""
    token_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None


class Settings(Section):
    """The whole file; all of it but the contexts may stand in variables."""

    current: str | None = None
    """Name of the context used where none is asked for."""
    context: dict[str, Context] = Field(default_factory=dict)
    hub: str | None = None
    output: Output = Output.TABLE
    timeout: Annotated[Duration, Field(gt=0)] = 10.0
    token_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None


def path(environ: Mapping[str, str]) -> Path:
    """Return where the contexts file is, or would be."""
    if named := environ.get("TUNNELCTL_CONFIG"):
        return Path(named).expanduser()
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".config")
    return Path(base) / "tunnelctl" / "config.toml"


def read(environ: Mapping[str, str], flags: Mapping[str, object] | None = None) -> Settings:
    """Return the settings in force. Raises Problem with a line for each fault."""
    file = path(environ)
    present = file if file.exists() or "TUNNELCTL_CONFIG" in environ else None
    try:
        loaded = load(
            Settings, prefix="TUNNELCTL_", file=present, flags=flags or {}, environ=environ, reserved=RESERVED
        )
    except SettingsError as error:
        flag = all(fault.where.startswith("-") for fault in error.faults)
        code, reason = (Code.USAGE, "BAD_FLAG") if flag else (Code.CONFIG, "BAD_CONFIG")
        raise Problem(*str(error).splitlines(), code=code, reason=reason) from None
    return loaded.value


def read_file(environ: Mapping[str, str]) -> tuple[Path, Settings]:
    """Return the contexts file's path and content without the environment's settings. Raises Problem."""
    kept = {name: environ[name] for name in ("TUNNELCTL_CONFIG", "XDG_CONFIG_HOME", "HOME") if name in environ}
    file = path(environ)
    if not file.exists():
        return file, Settings()
    return file, read(kept)


def write(file: Path, settings: Settings) -> None:
    """Write the file anew, readable by its owner only, so that a crash leaves the old or the new one."""
    try:
        replace(file, _toml(settings).encode())
    except OSError as error:
        raise Problem(f"{file}: cannot write the contexts file: {error.strerror}") from None


def _toml(settings: Settings) -> str:
    given = settings.model_dump(mode="json", exclude_defaults=True)
    contexts: dict[str, dict[str, Any]] = given.pop("context", {})
    lines = [f"{key} = {toml_value(value)}" for key, value in given.items()]
    for name, context in sorted(contexts.items()):
        lines += ["", f"[context.{toml_key(name)}]"]
        lines += [f"{key} = {toml_value(value)}" for key, value in context.items() if value is not None]
    return "\n".join(lines).lstrip("\n") + "\n"


def toml_key(name: str) -> str:
    """Return a key as TOML writes it."""
    return name if _BARE.fullmatch(name) else toml_value(name)


def toml_value(value: Any) -> str:
    """Return text, a number, a flag or a list of them as TOML writes it. JSON's way is TOML's for these."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
