"""Options that every command takes, before its name or behind it; what stands nearer to the end wins."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated, Any, Self

import typer

_PANEL = "Options of every command"


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JSONL = "jsonl"
    YAML = "yaml"
    NAME = "name"

    @property
    def for_people(self) -> bool:
        """Whether it is a table."""
        return self in (Output.TABLE, Output.WIDE)

    @property
    def for_programs(self) -> bool:
        """Whether a program reads it."""
        return self in (Output.JSON, Output.JSONL)


def _option(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=_PANEL, show_default=False, **more)


@dataclass(frozen=True, slots=True)
class Options:
    """What was given of them; None is not given."""

    hub: Annotated[
        str | None, _option("--hub", metavar="ADDRESS", help="unix:///PATH, or HOST:PORT with TLS. [TUNNELCTL_HUB]")
    ] = None
    context: Annotated[
        str | None, _option("--context", metavar="NAME", help="Hub of the contexts file. [TUNNELCTL_CONTEXT]")
    ] = None
    output: Annotated[
        Output | None, _option("-o", "--output", metavar="FORM", help=f"{', '.join(Output)}. [TUNNELCTL_OUTPUT]")
    ] = None
    timeout: Annotated[
        str | None, _option("--timeout", metavar="TIME", help="Deadline of one call (10s). [TUNNELCTL_TIMEOUT]")
    ] = None
    token_file: Annotated[
        str | None,
        _option("--token-file", metavar="FILE", help="Admin token; - is standard input. [TUNNELCTL_TOKEN_FILE]"),
    ] = None
    ca_file: Annotated[
        str | None, _option("--ca-file", metavar="FILE", help="Authorities to trust, PEM. [TUNNELCTL_CA_FILE]")
    ] = None
    cert_file: Annotated[
        str | None, _option("--cert-file", metavar="FILE", help="Own certificate, PEM. [TUNNELCTL_CERT_FILE]")
    ] = None
    key_file: Annotated[
        str | None, _option("--key-file", metavar="FILE", help="Its private key, PEM. [TUNNELCTL_KEY_FILE]")
    ] = None
    server_name: Annotated[
        str | None,
        _option("--server-name", metavar="NAME", help="Name in the hub's certificate. [TUNNELCTL_SERVER_NAME]"),
    ] = None
    no_color: Annotated[bool | None, _option("--no-color", help="No colours. [NO_COLOR]")] = None
    quiet: Annotated[bool | None, _option("-q", "--quiet", help="Only results and errors.")] = None
    verbose: Annotated[
        bool | None, _option("-v", "--verbose", help="Say which hub is asked, and how long it took.")
    ] = None

    def over(self, other: Options | None) -> Options:
        """Return the options of ``other`` with those given here put over them."""
        if other is None:
            return self
        merged = {}
        for field in fields(self):
            mine = getattr(self, field.name)
            merged[field.name] = getattr(other, field.name) if mine is None else mine
        return Options(**merged)

    @classmethod
    def take(cls, values: dict[str, Any], without: tuple[str, ...] = ()) -> Self:
        """Take the shared options out of a command's values, but for the names it uses otherwise."""
        return cls(**{name: values.pop(name) for name in NAMES if name in values and name not in without})


NAMES = tuple(field.name for field in fields(Options))
