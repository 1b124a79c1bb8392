"""The picture of ``tunnelctl top``: the hub in one line, its sessions by what they do right now."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tunnelctl import live, render, rows
from tunnelctl.columns import Column, short
from tunnelctl.options import Output
from tunnelctl.problems import Code, Problem
from tunnelctl.text import duration, plural, size

if TYPE_CHECKING:
    from tunnelctl.run import Run
    from tunnelpb.client import Hub
    from tunnelpb.hub.v1 import stats_pb2

Row = dict[str, Any]

SORTS: dict[str, Callable[[Row], float]] = {
    "bytes": lambda row: row["bytes_in_rate"] + row["bytes_out_rate"],
    "streams": lambda row: row["streams_open"],
    "requests": lambda row: row["request_rate"],
    "rtt": lambda row: row["rtt_seconds"] or 0.0,
}
_COUNTERS = ("bytes_in", "bytes_out", "requests", "errors")
# A first sample has nothing to compare with; one that comes later than this many intervals will not come.
_PATIENCE = 10

_COLUMNS = [
    Column("AGENT", lambda row: short(row["agent"]), flexible=True),
    Column("SESSION", lambda row: short(row["name"]), keep=5),
    Column("CARRIER", lambda row: row["carrier"] or "-", keep=4),
    Column("STR", lambda row: str(row["streams_open"]), right=True),
    Column("IN/s", lambda row: size(row["bytes_in_rate"]), right=True),
    Column("OUT/s", lambda row: size(row["bytes_out_rate"]), right=True),
    Column("REQ/s", lambda row: f"{row['request_rate']:.0f}", right=True, keep=2),
    Column("ERR%", lambda row: f"{row['error_percent']:.1f}", right=True, keep=3),
    Column("RTT", lambda row: duration(row["rtt_seconds"]), right=True, keep=1),
]


class Rates:
    """Cumulative counters of a scope, and what they grew by in the last interval."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._before: dict[str, Row] = {}
        self._passed = 0.0
        self._last: float | None = None
        self.samples = 0

    def take(self, message: stats_pb2.StreamStatsResponse) -> None:
        """Take the next message of a stream."""
        now = message.time.seconds + message.time.nanos / 1e9
        self._passed = now - self._last if self._last is not None else 0.0
        self._last = now
        self._before = dict(self._rows)
        if message.full:
            self._rows.clear()
        for row in message.stats:
            self._rows[row.name] = rows.stats(row)
        for name in message.removed:
            self._rows.pop(name, None)
        self.samples += 1

    def rows(self) -> list[Row]:
        """Return the rows with their rates. A row's first sample has none."""
        found = []
        for name, row in self._rows.items():
            before = self._before.get(name)
            if before is None or self._passed <= 0:
                grown = dict.fromkeys(_COUNTERS, 0.0)
            else:
                grown = {key: max(0, row[key] - before[key]) / self._passed for key in _COUNTERS}
            failed = 100 * grown["errors"] / grown["requests"] if grown["requests"] else 0.0
            found.append(
                row
                | {
                    "bytes_in_rate": round(grown["bytes_in"], 1),
                    "bytes_out_rate": round(grown["bytes_out"], 1),
                    "request_rate": round(grown["requests"], 2),
                    "error_percent": round(min(100.0, failed), 2),
                }
            )
        return found


@dataclass(slots=True)
class Picture:
    """All that is known."""

    sort: str
    hub: Row = field(default_factory=dict)
    totals: Rates = field(default_factory=Rates)
    sessions: Rates = field(default_factory=Rates)
    carriers: dict[str, str] = field(default_factory=dict)

    def rows(self) -> list[Row]:
        """Return sessions, the busiest first."""
        found = [row | {"carrier": self.carriers.get(row["name"], "")} for row in self.sessions.rows()]
        return sorted(found, key=lambda row: (-SORTS[self.sort](row), row["name"]))

    def heading(self) -> str:
        """Return the hub's line."""
        total = (self.totals.rows() or [{}])[0]
        draining = f" ({total['sessions_draining']} draining)" if total.get("sessions_draining") else ""
        up = rows_age(self.hub)
        return (
            f"hub {short(self.hub.get('name'))}  up {up}  sessions {total.get('sessions', 0)}{draining}"
            f"  streams {total.get('streams_open', 0)}  in {bits(total.get('bytes_in_rate', 0))}"
            f"  out {bits(total.get('bytes_out_rate', 0))}  loop lag p99 {duration(total.get('loop_lag_seconds'))}"
        )

    def lines(self, limit: int | None, height: int | None) -> list[str]:
        """Return heading and table, fitted."""
        found = self.rows()
        cells = [[column.cell(row) for column in _COLUMNS] for row in found]
        table = render.lay_out(list(_COLUMNS), [[render.sentence(cell) for cell in line] for line in cells], limit)
        if height is not None and len(table) > height - 2:
            hidden = len(table) - (height - 3)
            table = [*table[: height - 3], f"… {plural(hidden, 'more session', 'more sessions')}"]
        return [render.fit(self.heading(), limit), *table]

    def to_json(self) -> Row:
        """Return what ``-o jsonl`` prints."""
        return {"hub": next(iter(self.totals.rows()), None), "sessions": self.rows()}


def rows_age(hub: Row) -> str:
    """Return how long the hub runs."""
    from tunnelctl.text import age

    return age(hub.get("start_time"))


def bits(rate: float) -> str:
    """Return bytes a second in bits, as lines are sold."""
    value, unit = rate * 8, "bit/s"
    for larger in ("kbit/s", "Mbit/s", "Gbit/s"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}"


async def run(run: Run, hub: Hub, *, sort: str, interval: float, once: bool) -> None:
    """Show it until interrupted, or once."""
    from tunnelpb.hub.v1 import hub_pb2, stats_pb2

    if run.output in (Output.YAML, Output.NAME):
        raise Problem(f"top prints a table or JSON lines, not {run.output}", code=Code.USAGE, reason="BAD_FLAG")
    picture = Picture(sort)
    picture.hub = rows.hub((await hub.hub.GetHub(hub_pb2.GetHubRequest())).hub)
    fresh, listed = asyncio.Event(), asyncio.Event()

    async def sample(rates: Rates, scope: stats_pb2.StatsScope.ValueType) -> None:
        async for message in hub.stream_stats(scope, interval=interval):
            rates.take(message)
            if picture.totals.samples and picture.sessions.samples:
                fresh.set()
        raise Problem("the hub ended the stream", code=Code.UNAVAILABLE, reason="STREAM_ENDED")

    async def carriers() -> None:
        async for change in hub.watch_sessions(told=live.told(run)):
            if change.kind == "reset":
                picture.carriers.clear()
            elif change.kind == "removed" and change.row is not None:
                picture.carriers.pop(change.row.name, None)
            elif change.row is not None:
                picture.carriers[change.row.name] = change.row.carrier
            elif change.kind == "synced":
                listed.set()

    drawing = _once(run, picture, fresh, listed, interval) if once else _draw(run, picture, fresh)
    await live.together(
        sample(picture.totals, stats_pb2.STATS_SCOPE_HUB),
        sample(picture.sessions, stats_pb2.STATS_SCOPE_SESSION),
        carriers(),
        drawing,
    )


async def _once(run: Run, picture: Picture, fresh: asyncio.Event, listed: asyncio.Event, interval: float) -> None:
    try:
        async with asyncio.timeout(_PATIENCE * interval + run.settings.timeout):
            while picture.totals.samples < 2 or picture.sessions.samples < 2:
                await fresh.wait()
                fresh.clear()
            # Figures come without the carriers, which are listed meanwhile.
            await listed.wait()
    except TimeoutError:
        raise Problem("no figures came in time", code=Code.UNAVAILABLE, reason="DEADLINE_EXCEEDED") from None
    if run.output.for_programs:
        render.line(picture.to_json())
    else:
        print("\n".join(picture.lines(render.terminal(), None)))


async def _draw(run: Run, picture: Picture, fresh: asyncio.Event) -> None:
    if run.output.for_programs or render.terminal() is None:
        while True:
            await fresh.wait()
            fresh.clear()
            render.line(picture.to_json())
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(no_color=not run.color, highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as screen:
        while True:
            await fresh.wait()
            fresh.clear()
            columns, lines = shutil.get_terminal_size()
            screen.update(Text("\n".join(picture.lines(columns, lines))), refresh=True)
