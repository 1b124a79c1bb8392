"""Results as people read them: a table with ratios, and bars."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from benchmarks.measure import Record

# Results by system, then by measure, one record for each round.
Rounds = dict[str, dict[str, list[Record]]]

BAR = 40


@dataclass(slots=True)
class Results:
    """All records of a run and the notes that go with them."""

    rounds: Rounds = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, system: str, measure: str, record: Record) -> None:
        """Keep the record of one round."""
        self.rounds.setdefault(system, {}).setdefault(measure, []).append(record)

    def value(self, system: str, measure: str, key: str) -> float | None:
        """Return the median over the rounds, or None where it was not measured."""
        seen = [record[key] for record in self.rounds.get(system, {}).get(measure, []) if key in record]
        return statistics.median(seen) if seen else None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: where its number is, and whether more of it is better."""

    title: str
    measure: str
    key: str
    more_is_better: bool
    digits: int = 0


def rows(connections: Iterable[int]) -> list[Row]:
    """Return the rows of the table for these connection counts."""
    counts = list(connections)
    middle = 64 if 64 in counts else counts[0]
    found = [Row(f"req/s, {count} connections", f"c{count}", "rate", True) for count in counts]
    return [
        *found,
        Row(f"p99 ms at {middle}", f"c{middle}", "p99_ms", False, 1),
        Row(f"hub CPU us/request at {middle}", f"c{middle}", "hub_us", False),
        Row(f"agent CPU us/request at {middle}", f"c{middle}", "agent_us", False),
        Row("req/s, every path new", "paths", "rate", True),
        Row("hub CPU us, every path new", "paths", "hub_us", False),
        Row("agent CPU us, every path new", "paths", "agent_us", False),
        Row("hub RSS MiB, fresh", "memory", "hub_before", False),
        Row("hub RSS MiB, after requests", "memory", "hub_after", False),
        Row("agent RSS MiB, fresh", "memory", "agent_before", False),
        Row("agent RSS MiB, after requests", "memory", "agent_after", False),
        Row("requests of the RSS measure", "memory", "requests", True),
        Row("1 GiB down, MB/s", "download", "mb_s", True),
        Row("hub CPU s/GiB", "download", "hub_s_gib", False, 2),
        Row("agent CPU s/GiB", "download", "agent_s_gib", False, 2),
        Row("hub KiB per idle agent", "idle", "kib_each", False, 1),
        *(Row(f"failed requests at {count}", f"c{count}", "failures", False) for count in counts),
    ]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def ratio(row: Row, ours: float | None, theirs: float | None) -> str:
    """Return how many times better ours is than theirs, below 1 where it is worse."""
    if ours is None or theirs is None or row.measure == "memory" and row.key == "requests" or row.key == "failures":
        return ""
    over, under = (ours, theirs) if row.more_is_better else (theirs, ours)
    if over <= 0 or under <= 0:
        return ""
    return f"{over / under:.2f}x"


def compare(results: Results, table_rows: list[Row], ours: str, theirs: str) -> str:
    """Return the table of two systems with a ratio: above 1 means ours is better."""
    lines = [f"{'':34}{ours:>12}{theirs:>12}{'better by':>12}"]
    for row in table_rows:
        mine, other = (results.value(system, row.measure, row.key) for system in (ours, theirs))
        if mine is None and other is None:
            continue
        cells = f"{_number(mine, row.digits):>12}{_number(other, row.digits):>12}"
        lines.append(f"{row.title:34}{cells}{ratio(row, mine, other):>12}")
    return "\n".join(lines)


def matrix(results: Results, table_rows: list[Row], systems: list[str]) -> str:
    """Return the table of many systems, one line for each."""
    shown = [
        row for row in table_rows if any(results.value(name, row.measure, row.key) is not None for name in systems)
    ]
    shown = [row for row in shown if row.key != "failures" or any(_failed(results, name, row) for name in systems)]
    head = ["system", *(row.title for row in shown)]
    body = [
        [name, *(_number(results.value(name, row.measure, row.key), row.digits) for row in shown)] for name in systems
    ]
    lines = ["| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *body]]
    return "\n".join(lines)


def _failed(results: Results, name: str, row: Row) -> bool:
    return bool(results.value(name, row.measure, row.key))


def bars(results: Results, systems: list[str], row: Row) -> str:
    """Return one bar for each system, the longest for the largest number."""
    values = {name: results.value(name, row.measure, row.key) for name in systems}
    known = {name: value for name, value in values.items() if value}
    if not known:
        return ""
    most = max(known.values()) or 1.0
    width = max(len(name) for name in known)
    lines = [
        f"{name:{width}}  {'█' * max(1, round(value / most * BAR))} {_number(value, row.digits)}"
        for name, value in known.items()
    ]
    return "\n".join([row.title, *lines])


def charts(results: Results, table_rows: list[Row], systems: list[str], wanted: Callable[[Row], bool]) -> str:
    """Return the bars of every wanted row."""
    return "\n\n".join(filter(None, (bars(results, systems, row) for row in table_rows if wanted(row))))
