"""Rows on standard output: tables that fit the terminal, JSON, JSON lines, YAML, names."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from tunnelctl import text
from tunnelctl.columns import COLUMNS, Column
from tunnelctl.options import Output

Row = dict[str, Any]

_GAP = "  "
# A flexible column keeps this much of itself before others are dropped.
_NARROWEST = 10
_COLORS = {
    "ACTIVE": "32", "ONLINE": "32", "SERVING": "32", "LOADED": "32",
    "DRAINING": "33", "OFFLINE": "33", "BLOCKED": "33",
    "CLOSED": "31", "DENIED": "31", "FAILED": "31",
}  # fmt: skip


def show(kind: str, rows: Sequence[Row], output: Output, *, color: bool = False) -> None:
    """Print rows of one kind."""
    if output is Output.JSON:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    elif output is Output.JSONL:
        for row in rows:
            line(row)
    elif output is Output.YAML:
        print(_yaml(list(rows)), end="")
    elif output is Output.NAME:
        for row in rows:
            print(text.printable(str(row.get("name", row.get("key", "")))))
    else:
        for shown in table(kind, rows, wide=output is Output.WIDE, limit=terminal(), color=color):
            print(shown)


def show_one(kind: str, row: Row, output: Output) -> None:
    """Print a single row: as an object for programs, field by field for people."""
    if output is Output.JSON:
        print(json.dumps(row, ensure_ascii=False, indent=2))
    elif output is Output.JSONL:
        line(row)
    elif output is Output.YAML:
        print(_yaml(row), end="")
    elif output is Output.NAME:
        print(text.printable(str(row.get("name", ""))))
    else:
        for shown in fields(row):
            print(shown)


def line(row: Row) -> None:
    """Print one row as a line of JSON, at once."""
    print(json.dumps(row, ensure_ascii=False), flush=True)


def _yaml(value: object) -> str:
    import yaml

    found: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return found


def terminal() -> int | None:
    """Return the width to fit; None where there is no terminal, since programs want the whole."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fields(row: Row) -> list[str]:
    """Return one line a field that says something."""
    flat = list(_flat("", row))
    widest = max((len(key) for key, _ in flat), default=0)
    return [f"{key:<{widest}}  {text.printable(value)}" for key, value in flat]


def _flat(above: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _flat(f"{above}.{key}" if above else key, inner)]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [pair for number, inner in enumerate(value) for pair in _flat(f"{above}[{number}]", inner)]
    if value is None or (value in ("", [], 0) and not isinstance(value, bool)):
        return []
    if isinstance(value, bool):
        return [(above, "yes" if value else "no")]
    return [(above, ", ".join(map(str, value)) if isinstance(value, list) else str(value))]


def table(
    kind: str, rows: Sequence[Row], *, wide: bool = False, limit: int | None = None, color: bool = False
) -> list[str]:
    """Return a table's lines, fitted to ``limit`` columns of a terminal."""
    columns = [column for column in COLUMNS[kind] if wide or not column.wide]
    cells = [[text.printable(column.cell(row)) for column in columns] for row in rows]
    # A column in which nothing is said only takes room.
    empty = {
        index
        for index, column in enumerate(columns)
        if column.keep and cells and all(line[index] == "-" for line in cells)
    }
    columns = [column for index, column in enumerate(columns) if index not in empty]
    cells = [[cell for index, cell in enumerate(line) if index not in empty] for line in cells]
    return lay_out(columns, cells, limit, color=color)


def lay_out(columns: list[Column], cells: list[list[str]], limit: int | None, *, color: bool = False) -> list[str]:
    """Return heading and lines: flexible columns shrink first, then columns are dropped, then lines are cut."""
    widths = [
        max(text.width(column.title), *(text.width(line[index]) for line in cells), 0)
        for index, column in enumerate(columns)
    ]
    if limit is not None:
        _fit(columns, cells, widths, limit)
    lines = [_line(columns, [column.title for column in columns], widths, limit)]
    lines += [_line(columns, line, widths, limit, color=color) for line in cells]
    return lines


def _fit(columns: list[Column], cells: list[list[str]], widths: list[int], limit: int) -> None:
    def over() -> int:
        return sum(widths) + len(_GAP) * (len(widths) - 1) - limit

    while over() > 0:
        flexible = [i for i, column in enumerate(columns) if column.flexible and widths[i] > _NARROWEST]
        if flexible:
            widest = max(flexible, key=lambda index: widths[index])
            widths[widest] = max(_NARROWEST, widths[widest] - over())
            continue
        least = max(range(len(columns)), key=lambda index: columns[index].keep)
        if columns[least].keep == 0:
            return
        del columns[least], widths[least]
        for line in cells:
            del line[least]


def _line(
    columns: list[Column], cells: Sequence[str], widths: list[int], limit: int | None, *, color: bool = False
) -> str:
    parts = []
    for column, cell, room in zip(columns, cells, widths, strict=True):
        shown = text.cut(cell, room)
        padding = " " * (room - text.width(shown))
        if color and column.title == "STATE" and (code := _COLORS.get(cell.partition(":")[0])):
            shown = f"\x1b[{code}m{shown}\x1b[0m"
        parts.append(padding + shown if column.right else shown + padding)
    whole = _GAP.join(parts).rstrip()
    return whole if limit is None or color else text.cut(whole, limit)


def sentence(words: str) -> str:
    """Return a line for people, with nothing in it that a terminal would obey."""
    return text.printable(words)


def fit(words: str, limit: int | None) -> str:
    """Return a line cut to the terminal."""
    return words if limit is None else text.cut(words, limit)
