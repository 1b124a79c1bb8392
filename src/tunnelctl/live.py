"""Lists that stay: redrawn on a terminal, a line of JSON a change elsewhere."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from tunnelctl.options import Output
from tunnelctl.problems import Code, Problem, why_away
from tunnelctl.render import line, table, terminal
from tunnelctl.run import Run

if TYPE_CHECKING:
    from tunnelpb.client import Change, HubError, Retry

Row = dict[str, Any]

# Eyes follow no faster, and a burst of a thousand changes is one picture.
_REDRAW = 0.25
# Kinds the API has no watch for are asked for again this often.
_POLL = 2.0


def told(run: Run) -> Callable[[Retry], None]:
    """Return what says on standard error that a watch lost its hub and tries again."""

    def tell(retry: Retry) -> None:
        if retry.attempt == 1 or retry.wait > 1:
            run.note(f"watch interrupted ({_why(retry.error)}), trying again in {retry.wait:.1f} s")

    return tell


def _why(error: HubError | None) -> str:
    if error is None or error.reason == "HUB_DRAINING":
        return "the hub ended it"
    return error.message if error.reason else why_away(error.message)


def for_terminal(run: Run) -> bool:
    """Tell whether to redraw; refuse forms that cannot go on for ever."""
    if run.output in (Output.YAML, Output.NAME):
        raise Problem(f"--watch prints a table or JSON lines, not {run.output}", code=Code.USAGE, reason="BAD_FLAG")
    return sys.stdout.isatty() and not run.output.for_programs


class Screen:
    """A table that is drawn over itself, at most four times a second."""

    def __init__(self, run: Run, kind: str) -> None:
        self._run, self._kind = run, kind
        self._lines = 0
        self._last = 0.0

    @property
    def wait(self) -> float:
        """Seconds until the next picture may come."""
        return max(0.0, self._last + _REDRAW - time.monotonic())

    def draw(self, rows: list[Row]) -> None:
        """Put a new picture in the place of the old one."""
        import shutil

        wide = self._run.output is Output.WIDE
        lines = table(self._kind, rows, wide=wide, limit=terminal(), color=self._run.color)
        height = shutil.get_terminal_size().lines - 1
        if len(lines) > height:
            lines = [*lines[: height - 1], f"… {len(lines) - height + 1} more"]
        # What was said meanwhile stays, and the picture goes on below it.
        back = f"\x1b[{self._lines}A" if self._lines and not self._run.noted else ""
        self._run.noted = False
        sys.stdout.write(back + "\r\x1b[J" + "\n".join(lines) + "\n")
        sys.stdout.flush()
        self._lines, self._last = len(lines), time.monotonic()


async def watch(run: Run, kind: str, changes: AsyncIterator[Change[Any]], to_row: Callable[[Any], Row]) -> None:
    """Follow a watch for ever."""
    if not for_terminal(run):
        async for change in changes:
            if change.kind != "bookmark":
                line({"change": change.kind, kind: to_row(change.row) if change.row is not None else None})
        return
    rows: dict[str, Any] = {}
    screen, dirty = Screen(run, kind), asyncio.Event()
    synced = False

    async def follow() -> None:
        nonlocal synced
        async for change in changes:
            if change.kind == "reset":
                rows.clear()
                synced = False
            elif change.kind == "synced":
                synced = True
            elif change.kind == "removed" and change.row is not None:
                rows.pop(change.row.name, None)
            elif change.row is not None:
                rows[change.row.name] = change.row
            if synced:
                dirty.set()

    async def redraw() -> None:
        while True:
            # Ages grow even if nothing else changes.
            try:
                await asyncio.wait_for(dirty.wait(), 1.0 if synced else None)
            except TimeoutError:
                pass
            await asyncio.sleep(screen.wait)
            dirty.clear()
            screen.draw([to_row(row) for _, row in sorted(rows.items())])

    await together(follow(), redraw())


async def poll(run: Run, kind: str, fetch: Callable[[], Awaitable[list[Row]]]) -> None:
    """Ask again and again for rows of a kind that cannot be watched."""
    screen = Screen(run, kind) if for_terminal(run) else None
    known: dict[str, Row] = {}
    while True:
        rows = await fetch()
        if screen is not None:
            screen.draw(rows)
        else:
            found = {str(row["name"]): row for row in rows}
            for name in known.keys() - found.keys():
                line({"change": "removed", kind: known[name]})
            for name, row in found.items():
                if known.get(name) != row:
                    line({"change": "upsert", kind: row})
            known = found
        await asyncio.sleep(_POLL)


async def together(*work: Any) -> None:
    """Run coroutines until one ends or fails; its error is raised as it is."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
