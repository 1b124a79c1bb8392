"""Where the keys of a TOML file stand, so that a fault can name its line. The standard parser keeps no positions."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

KeyPath = tuple[str | int, ...]

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?!")|\'\'\'.*?\'\'\'(?!\')|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|\#[^\n]*|[\[\]{}\n]',
    re.DOTALL,
)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, statement): headers and key-value pairs, each whole, however many lines it spans."""
    start = line = 1
    depth = begin = 0
    for token in _TOKEN.finditer(text + "\n"):
        word = token[0]
        if word in ("[", "{"):
            depth += 1
        elif word in ("]", "}"):
            depth -= 1
        line += word.count("\n")
        if word == "\n" and depth == 0:
            statement = text[begin : token.start()].strip()
            if statement and not statement.startswith("#"):
                yield start, statement
            begin, start = token.end(), line


def _paths(value: object, prefix: KeyPath) -> Iterator[KeyPath]:
    if prefix:
        yield prefix
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*prefix, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _paths(inner, (*prefix, index))


def key_lines(text: str) -> dict[KeyPath, int]:
    """Map the path of every key in ``text``, which must be valid TOML, to the line its statement begins on."""
    lines: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for line, statement in _statements(text):
        content = tomllib.loads(statement)
        if not statement.startswith("["):
            for path in _paths(content, table):
                lines.setdefault(path, line)
            continue
        table = ()
        repeated = statement.startswith("[[")
        while content:
            key, inner = next(iter(content.items()))
            table = (*table, key)
            lines.setdefault(table, line)
            if repeated and isinstance(inner, list):
                counts[table] = counts.get(table, -1) + 1
                inner = {}
            if table in counts:
                table = (*table, counts[table])
                lines.setdefault(table, line)
            content = inner
    return lines
