"""Settings of a daemon: flags over environment over TOML file over defaults, checked by a pydantic model.

A load tells all its faults at once, one line each, with the file and line, the variable or the flag at fault. Unknown
keys are faults in the file and in the environment alike: a setting with a slip in its name must not be ignored.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
import tomllib
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, Union

from pydantic import BaseModel, ConfigDict, ValidationError

from tunnel.fields import (
    ByteSize,
    Duration,
    HostPort,
    SecretFileError,
    parse_duration,
    parse_size,
    read_secret_file,
)
from tunnel.tomllines import KeyPath, key_lines

__all__ = [
    "EXIT_CONFIG",
    "ByteSize",
    "Duration",
    "Fault",
    "HostPort",
    "Loaded",
    "SecretFileError",
    "Section",
    "SettingsError",
    "load",
    "parse_duration",
    "parse_size",
    "read_secret_file",
]

# EX_CONFIG of sysexits.h; the service units name it in RestartPreventExitStatus, since a restart cannot help.
EXIT_CONFIG = 78

# What an orchestrator sets for a service that has the daemon's name (Docker links, Kubernetes services).
_SERVICE_LINK = re.compile(r"(SERVICE_(HOST|PORT(_.*)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")

M = TypeVar("M", bound=BaseModel)
_ANY = object()
_UNKNOWN = object()


class Section(BaseModel):
    """Base for settings models: immutable, and keys it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with the settings. ``where`` is ``FILE``, ``FILE:LINE``, a variable or a flag."""

    where: str
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.message) if part)


class SettingsError(ValueError):
    """The settings cannot be used. ``faults`` holds all that is wrong, the text one line for each."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Loaded(Generic[M]):
    """A checked model and where each of its values came from.

    ``origins`` maps every dotted key to ``FILE:LINE``, a variable, a flag or ``default``.
    """

    value: M
    origins: dict[str, str]

    def rows(self) -> Iterator[tuple[str, object, str]]:
        """Yield (dotted key, value, origin) for every setting; secrets print as ``***``."""
        for path, value in _leaves(self.value, ()):
            yield _dotted(path), value, self.origins[_dotted(path)]


@dataclass(slots=True)
class _Layers:
    """Values merged so far, who set each of them, and what was wrong with them."""

    model: type[BaseModel]
    prefix: str
    file: Path | None
    data: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    broken_file: bool = False

    def put(self, path: tuple[str, ...], value: object, origin: str) -> None:
        """Set one value over whatever a weaker layer gave, together with what lies below it."""
        table = self.data
        for key in path[:-1]:
            inner = table.get(key)
            if not isinstance(inner, dict):
                inner = table[key] = {}
            table = inner
        table[path[-1]] = value
        for known in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[known]
        self.origins[path] = origin

    def place(self, fault: Fault) -> int:
        """Return a key that puts faults in the order of their file, and those of nowhere in it behind them."""
        number = fault.where.removeprefix(f"{self.file}:")
        return int(number) if number.isdigit() else sys.maxsize

    def origin(self, path: KeyPath) -> str | None:
        """Return who set the value at ``path``, or the nearest table or list around it."""
        for end in range(len(path), 0, -1):
            if found := self.origins.get(path[:end]):
                return found
        return None

    def leaf_origin(self, path: KeyPath) -> str:
        """Return who set the value at ``path``, or ``default`` if no layer did."""
        data: Any = self.data
        for end, key in enumerate(path):
            if not isinstance(data, dict):
                return self.origin(path[:end]) or "default"
            if key not in data:
                return "default"
            data = data[key]
        return self.origin(path) or "default"


def load(
    model: type[M],
    *,
    prefix: str,
    file: Path | None,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    flag_names: Mapping[str, str] | None = None,
    reserved: Collection[str] = (),
) -> Loaded[M]:
    """Gather the settings of all layers and check them against ``model``.

    ``prefix`` starts the variables of this daemon (``"HUBD_"``; ``HUBD_HTTP__LISTEN`` is ``http.listen``). In a variable,
    a list is written with commas or as JSON, a table as JSON. ``reserved`` are variables with the prefix that are no
    settings. ``file`` is read if given, and must exist then. ``flags`` maps dotted keys to values, None meaning not
    given; ``flag_names`` tells what a flag is called where that is not the key with dashes.

    Returns the checked model with the origin of each value. Raises SettingsError with all faults at once, ValueError
    for a flag whose key the model does not have. Reads only ``file``; blocking.
    """
    layers = _Layers(model, prefix, file)
    if file is not None:
        _read_file(layers, file)
    _read_environment(layers, environ, reserved)
    for key, value in flags.items():
        if value is None:
            continue
        path = tuple(key.split("."))
        if _descend_all(model, path) is _UNKNOWN:
            raise ValueError(f"no setting is called {key}")
        layers.put(path, value, (flag_names or {}).get(key) or "--" + key.replace(".", "-").replace("_", "-"))
    result: M | None = None
    try:
        result = model.model_validate(layers.data)
    except ValidationError as error:
        _explain(layers, error)
    if layers.faults or result is None:
        raise SettingsError(sorted(dict.fromkeys(layers.faults), key=layers.place))
    origins = {_dotted(path): layers.leaf_origin(path) for path, _ in _leaves(result, ())}
    return Loaded(result, origins)


# --- the layers


def _read_file(layers: _Layers, file: Path) -> None:
    try:
        text = file.read_bytes().decode("utf-8").replace("\r\n", "\n")
        content = tomllib.loads(text)
    except OSError as error:
        layers.faults.append(Fault(str(file), "", f"cannot read the file: {error.strerror}"))
        layers.broken_file = True
        return
    except UnicodeDecodeError:
        layers.faults.append(Fault(str(file), "", "not UTF-8 text"))
        layers.broken_file = True
        return
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
        line = (found[1] or str(text.count("\n") + 1)) if found else "1"
        reason = message[: found.start()] if found else message
        layers.faults.append(Fault(f"{file}:{line}", "", f"not valid TOML: {reason[:1].lower()}{reason[1:]}"))
        layers.broken_file = True
        return
    lines = key_lines(text)
    _drop_unknown(layers, layers.model, content, (), lines)
    layers.data = content
    layers.origins = {path: f"{file}:{line}" for path, line in lines.items()}


def _drop_unknown(
    layers: _Layers, annotation: object, content: dict[str, Any], above: KeyPath, lines: dict[KeyPath, int]
) -> None:
    """Take keys the model does not have out of ``content``, with a fault for each."""
    for key in list(content):
        path = (*above, key)
        inner = _descend(annotation, key)
        if inner is _UNKNOWN:
            del content[key]
            where = f"{layers.file}:{lines.get(path, 1)}"
            layers.faults.append(Fault(where, _dotted(path), "unknown key" + _hint(key, _names(annotation))))
            continue
        value = content[key]
        if isinstance(value, dict):
            if _names(inner) or _is_table(inner):
                _drop_unknown(layers, inner, value, path, lines)
        elif isinstance(value, list):
            item = _item(inner)
            for index, element in enumerate(value):
                if isinstance(element, dict) and _names(item):
                    _drop_unknown(layers, item, element, (*path, index), lines)


def _read_environment(layers: _Layers, environ: Mapping[str, str], reserved: Collection[str]) -> None:
    for name, text in sorted(environ.items()):
        rest = name.removeprefix(layers.prefix)
        if rest == name or name in reserved:
            continue
        path = tuple(rest.lower().split("__"))
        annotation = _descend_all(layers.model, path)
        if annotation is _UNKNOWN:
            if not _SERVICE_LINK.fullmatch(rest):
                known = [layers.prefix + "__".join(path).upper() for path in _settable(layers.model, ())]
                layers.faults.append(Fault(name, "", "unknown variable" + _hint(name, known)))
            continue
        try:
            layers.put(path, _from_text(annotation, text), name)
        except ValueError as error:
            layers.faults.append(Fault(name, "", str(error)))


def _from_text(annotation: object, text: str) -> object:
    """Turn the text of a variable into what a file would have given. The model does the rest."""
    is_list = _item(annotation) is not _UNKNOWN
    opening = text.strip()[:1]
    if (is_list and opening == "[") or (opening == "{" and (_names(annotation) or _is_table(annotation))):
        try:
            return json.loads(text)
        except ValueError:
            raise ValueError("not valid JSON") from None
    if is_list:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


# --- what pydantic found


def _explain(layers: _Layers, error: ValidationError) -> None:
    for detail in error.errors(include_url=False, include_input=False):
        path = _known_part(layers.data, detail["loc"], missing=detail["type"] == "missing")
        origin = layers.origin(path)
        from_file = layers.file is not None and origin is not None and origin.startswith(f"{layers.file}:")
        if layers.broken_file and (origin is None or detail["type"] == "missing"):
            continue  # it may well stand in the part that could not be read
        message = detail["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        key = _dotted(path)
        if detail["type"] == "missing":
            variable = layers.prefix + "__".join(str(part) for part in path).upper()
            message = f"required, but not set; give it in the file or as {variable}"
            origin = origin if from_file else None
        elif detail["type"] == "extra_forbidden":
            message = "unknown key"
        if origin is None:
            layers.faults.append(Fault(str(layers.file or "settings"), key, message))
        else:
            layers.faults.append(Fault(origin, key if from_file else "", message))


def _known_part(data: Any, location: tuple[int | str, ...], *, missing: bool) -> KeyPath:
    """Cut from an error's location what only describes the check, such as the branch of a union."""
    path: KeyPath = ()
    for position, part in enumerate(location):
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if in_list or (isinstance(data, dict) and part in data):
            data = data[part]
        elif missing and position == len(location) - 1:
            pass
        else:
            continue
        path = (*path, part)
    return path


# --- what the model knows


def _plain(annotation: object) -> object:
    """Return the annotation without Annotated and None; a choice between several types is anything."""
    while typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        return _plain(kinds[0]) if len(kinds) == 1 else _ANY
    return _ANY if annotation is Any else annotation


def _fields(annotation: object) -> dict[str, object]:
    plain = _plain(annotation)
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        return {info.alias or name: info.annotation for name, info in plain.model_fields.items()}
    return {}


def _names(annotation: object) -> list[str]:
    return list(_fields(annotation))


def _is_table(annotation: object) -> bool:
    plain = _plain(annotation)
    return plain is dict or typing.get_origin(plain) is dict


def _item(annotation: object) -> object:
    plain = _plain(annotation)
    kind = typing.get_origin(plain) or plain
    if kind not in (list, tuple, set, frozenset):
        return _UNKNOWN
    arguments = typing.get_args(plain)
    return arguments[0] if arguments else _ANY


def _descend(annotation: object, key: str) -> object:
    plain = _plain(annotation)
    if plain is _ANY:
        return _ANY
    if _is_table(plain):
        arguments = typing.get_args(plain)
        return arguments[1] if arguments else _ANY
    return _fields(plain).get(key, _UNKNOWN)


def _descend_all(annotation: object, path: tuple[str, ...]) -> object:
    for key in path:
        if annotation is not _UNKNOWN:
            annotation = _descend(annotation, key)
    return annotation


def _settable(annotation: object, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    fields = _fields(annotation)
    if above and not fields:
        yield above
    for name, inner in fields.items():
        yield from _settable(inner, (*above, name))


def _leaves(value: object, above: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            inner = getattr(value, name)
            # What does not belong in a repr is a secret.
            yield from _leaves(inner if info.repr or not inner else "***", (*above, info.alias or name))
    elif isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*above, key))
    else:
        yield above, value


def _hint(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""


def _dotted(path: KeyPath) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
