"""Kinds of values that settings are made of: addresses, durations, sizes and secret files.

Each has a plain parser that raises ``ValueError`` with one clear line, and a type that pydantic models use as a field.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from tunnel.logs import Secret

# A token is under 100 bytes and a private key under 10 KiB; what is larger is the wrong file.
MAX_SECRET_FILE = 64 * 1024

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([a-z]*)", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
# Other software reads a last label of this form as a number, so "127.1" or "0x7f.1" would be an address in disguise.
_NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def parse_duration(value: object) -> float:
    """Read a duration: ``"250ms"``, ``"30s"``, ``"1.5m"``, ``"1h30m"``; a bare number means seconds.

    Returns seconds. Raises ValueError for anything else, negative or endless.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value) or value < 0:
            raise ValueError("a duration is a finite number of seconds, not below 0")
        return float(value)
    text = value.strip().lower() if isinstance(value, str) else ""
    if _NUMBER.fullmatch(text):
        return float(text)
    if not _DURATION.fullmatch(text):
        raise ValueError(f'{value!r} is not a duration; write it like "30s", "1.5m" or "250ms"')
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))


def parse_size(value: object) -> int:
    """Read a size in bytes: ``65536``, ``"64 KiB"``, ``"1.5MiB"``, ``"10 MB"``. KiB counts 1024, kB counts 1000.

    Returns bytes. Raises ValueError for anything else, negative or not whole.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    factor = _SIZES.get(found[2].lower()) if found else None
    if found is None or factor is None:
        raise ValueError(f'{value!r} is not a size; write it like "64 KiB", "10 MB" or a number of bytes')
    size = float(found[1]) * factor
    if not size.is_integer():
        raise ValueError(f"{value!r} is not a whole number of bytes")
    return int(found[1]) * factor if found[1].isdigit() else int(size)


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds, written as text with a unit in files and variables."""

ByteSize = Annotated[int, BeforeValidator(parse_size)]
"""Bytes, written as text with a unit in files and variables."""


def _check_host(host: str) -> str:
    if ":" in host:
        return str(ipaddress.IPv6Address(host))
    labels = host.removesuffix(".").split(".")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        return str(ipaddress.IPv4Address(host))
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(host)
    return host.lower()


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    """A TCP address. ``host`` has no brackets; ``port`` is 0 to 65535, where 0 means "any free port" for a listener."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """Read ``"127.0.0.1:8882"``, ``"[::1]:80"`` or ``"name:443"``.

        The host is required: a lone ``":80"`` would open every interface by accident. IPv4 is taken in its plain
        dotted form only, IPv6 in brackets only. Raises ValueError.
        """
        host, colon, port = text.strip().rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
            raise ValueError(f'{text!r} is not HOST:PORT, such as "127.0.0.1:8882" or "[::1]:8882"')
        if not host:
            raise ValueError(f'{text!r} names no host; write "127.0.0.1:{port}", or "0.0.0.0:{port}" for all of IPv4')
        bracketed = host.startswith("[") and host.endswith("]")
        if (":" in host) != bracketed:
            raise ValueError(
                f'{text!r}: an IPv6 host needs brackets, like "[::1]:{port}", and nothing else may have them'
            )
        try:
            return cls(_check_host(host[1:-1] if bracketed else host), int(port))
        except ValueError:
            raise ValueError(f"{text!r}: {host!r} is neither a host name nor a plainly written address") from None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address. ``localhost`` counts, other names do not."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def _validate(cls, value: object) -> HostPort:
        if isinstance(value, HostPort):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        raise ValueError('write it as text, "HOST:PORT"')

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate,
            json_schema_input_schema=core_schema.str_schema(),
            serialization=core_schema.to_string_ser_schema(),
        )


class SecretFileError(ValueError):
    """A secret file cannot be used. The message names the file and the remedy, never the content."""


def read_secret_file(path: Path | str, *, environ: Mapping[str, str] | None = None) -> Secret:
    """Read a secret that stands alone in a file, or on standard input when ``path`` is ``-``.

    A bare name that does not exist here is looked up in ``$CREDENTIALS_DIRECTORY`` (systemd). One line end is
    removed from the end; the rest is the secret. Reads at most 64 KiB, blocking, meant for start-up and reload.
    Raises SecretFileError if the file is missing, empty, not text, not a regular file, or readable by group or others.
    """
    credentials = (os.environ if environ is None else environ).get("CREDENTIALS_DIRECTORY")
    path = Path(path)
    if str(path) == "-":
        return _to_secret(path, sys.stdin.buffer.read(MAX_SECRET_FILE + 1))
    if credentials and len(path.parts) == 1 and not path.exists():
        path = Path(credentials) / path
    try:
        # Without O_NONBLOCK a FIFO nobody writes to would hang the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SecretFileError(f"{path}: cannot read the secret file: {error.strerror}") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise SecretFileError(f"{path}: not a regular file")
        # systemd grants access to its credentials through an ACL, whose mask shows as group bits.
        granted = credentials and path.parent.absolute() == Path(credentials).absolute()
        if mode & (0o007 if granted else 0o077):
            raise SecretFileError(
                f"{path}: others may read this secret (mode {mode & 0o777:04o}); run: chmod 600 {path}"
            )
        content = os.read(descriptor, MAX_SECRET_FILE + 1)
    finally:
        os.close(descriptor)
    return _to_secret(path, content)


def _to_secret(path: Path, content: bytes) -> Secret:
    if len(content) > MAX_SECRET_FILE:
        raise SecretFileError(f"{path}: larger than {MAX_SECRET_FILE} bytes, so not a secret file")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise SecretFileError(f"{path}: not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise SecretFileError(f"{path}: the file is empty")
    return Secret(text)
