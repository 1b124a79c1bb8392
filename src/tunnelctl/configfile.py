"""An agent's configuration as a file: TOML, with every fault told at once and with its line."""

from __future__ import annotations

import datetime as dt
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tunnel.settings import Duration, Section, SettingsError, load
from tunnel.tomllines import KeyPath, key_lines
from tunnelctl.problems import Code, Problem
from tunnelctl.settings import toml_key, toml_value
from tunnelctl.text import duration

if TYPE_CHECKING:
    from tunnelpb.agent.v1 import config_pb2


_PARTS = re.compile(r"\[\d+\]|[^.\[\]]+")


class Health(Section):
    """A probe the agent makes."""

    path: str = ""
    interval: Duration | None = None
    timeout: Duration | None = None


class Service(Section):
    """A private service."""

    name: str
    target: str
    health: Health | None = None


class Limits(Section):
    """Budgets; 0 leaves the agent's own."""

    streams: int = Field(default=0, ge=0, le=2**32 - 1)
    idle_connections: int = Field(default=0, ge=0, le=2**32 - 1)


class ConfigFile(Section):
    """The whole file."""

    services: tuple[Service, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    limits: Limits = Limits()
    log_level: str = ""
    pool_size: int = Field(default=0, ge=0, le=2**32 - 1)
    carrier_preference: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """A configuration and where it came from.

    Attributes:
        config: as the hub takes it.
        name: of the file, for people.
        lines: of its keys.
    """

    config: config_pb2.AgentConfig
    name: str
    lines: dict[KeyPath, int]

    def where(self, field: str) -> str:
        """Return file and line of a field such as ``services[0].target``, or of what is around it."""
        path: KeyPath = tuple(int(part[1:-1]) if part[0] == "[" else part for part in _PARTS.findall(field))
        found = next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), None)
        return self.name if found is None else f"{self.name}:{found}"


def read(file: str) -> Given:
    """Read a file, or standard input for ``-``. Raises Problem with a line for each fault."""
    if file != "-":
        return _read(Path(file))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "standard-input"
        copy.write_bytes(sys.stdin.buffer.read())
        return _read(copy, shown="standard input")


def _read(file: Path, shown: str = "") -> Given:
    try:
        found = load(ConfigFile, prefix="\0", file=file, flags={}, environ={}).value
    except SettingsError as error:
        lines = [line.replace(str(file), shown) if shown else line for line in str(error).splitlines()]
        raise Problem(*lines, code=Code.CONFIG, reason="BAD_CONFIG") from None
    return Given(_message(found), shown or str(file), key_lines(file.read_text("utf-8")))


def _message(found: ConfigFile) -> config_pb2.AgentConfig:
    from tunnelpb.agent.v1 import config_pb2

    made = config_pb2.AgentConfig(
        labels=found.labels,
        log_level=found.log_level,
        pool_size=found.pool_size,
        carrier_preference=found.carrier_preference,
    )
    if found.limits != Limits():
        made.limits.streams = found.limits.streams
        made.limits.idle_connections = found.limits.idle_connections
    for service in found.services:
        one = made.services.add(name=service.name, target=service.target)
        if service.health is not None:
            one.health.path = service.health.path
            if service.health.interval is not None:
                one.health.interval.FromTimedelta(dt.timedelta(seconds=service.health.interval))
            if service.health.timeout is not None:
                one.health.timeout.FromTimedelta(dt.timedelta(seconds=service.health.timeout))
    return made


def to_toml(row: dict[str, Any]) -> str:
    """Return a configuration row as a file that ``read`` takes."""
    lines = [f"{key} = {toml_value(row[key])}" for key in ("log_level", "pool_size", "carrier_preference") if row[key]]
    for table in ("labels", "limits"):
        inner = {key: value for key, value in row[table].items() if value or table == "labels"}
        if inner:
            lines += ["", f"[{table}]", *(f"{toml_key(key)} = {toml_value(value)}" for key, value in inner.items())]
    for service in row["services"]:
        lines += [
            "",
            "[[services]]",
            f"name = {toml_value(service['name'])}",
            f"target = {toml_value(service['target'])}",
        ]
        if (health := service.get("health")) is not None:
            parts = [f"path = {toml_value(health['path'])}"] if health["path"] else []
            parts += [
                f"{key} = {toml_value(duration(value))}"
                for key in ("interval", "timeout")
                if (value := health[f"{key}_seconds"]) is not None
            ]
            lines.append(f"health = {{ {', '.join(parts)} }}" if parts else "health = {}")
    return "\n".join(lines).lstrip("\n") + "\n"


def edit(text: str, environ: Any = None) -> str | None:
    """Let the user edit a text. Returns it, or None if nothing was changed. Raises Problem if the editor fails."""
    import shlex
    import subprocess

    environ = os.environ if environ is None else environ
    command = shlex.split(environ.get("VISUAL") or environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "config.toml"
        copy.write_text(text, "utf-8")
        try:
            code = subprocess.run([*command, str(copy)], check=False).returncode
        except OSError as error:
            raise Problem(f"{command[0]}: {error.strerror}", hint="set EDITOR", code=Code.CONFIG) from None
        if code:
            raise Problem(f"{command[0]} ended with code {code}; nothing was changed")
        after = copy.read_text("utf-8")
    return None if after == text else after
