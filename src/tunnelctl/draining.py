"""Waiting for sessions that drain, with a line that tells how far they are."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import time
from typing import TYPE_CHECKING, Any

from tunnelctl import rows
from tunnelctl.live import together, told
from tunnelctl.problems import Code, Problem
from tunnelctl.run import Run
from tunnelctl.text import duration, plural

if TYPE_CHECKING:
    from tunnelpb.client import Hub

Row = dict[str, Any]

# Seconds until a hub that was away is asked once more; whoever waits has a deadline of its own.
_AGAIN = 0.2
# Between two looks at how many streams are left.
_COUNTING = 0.5
# Behind a drain's deadline, for the hub to cut and say so.
_GRACE = 15.0
# Of a deadline that the hub chose, since its clock need not be ours.
_SHORTEST = 60.0


class Progress:
    """One line on standard error: streams left of all sessions, each count seen once."""

    def __init__(self, run: Run, waiting: dict[str, Row]) -> None:
        self._run = run
        self._live = sys.stderr.isatty() and not run.options.quiet and not run.output.for_programs
        (first, *more) = waiting
        self._what = first.rpartition("/")[2] if not more else plural(len(waiting), "session")
        self._text = ""
        self._counts: list[int] = []

    def show(self, waiting: dict[str, Row]) -> None:
        """Draw the line anew."""
        count = sum(row["open_streams"] for row in waiting.values())
        if self._counts[-1:] == [count]:
            return
        self._counts.append(count)
        first, *rest = self._counts
        shown = [str(number) for number in rest[-6:]]
        self._text = " ... ".join([f"draining {self._what}: {plural(first, 'stream')}", *shown])
        if self._live:
            sys.stderr.write(f"\r\x1b[K{self._text}")
            sys.stderr.flush()
        elif len(self._counts) == 1:
            self._run.note(self._text)

    def close(self) -> None:
        """Leave the line as it is."""
        if self._live and self._text:
            sys.stderr.write("\n")
            self._text = ""


def ended(row: Row) -> str:
    """Say how a drained session ended."""
    after = f" after {duration(row['seconds'])}"
    by = f", replaced by {row['replaced_by'].rpartition('/')[2]}" if row["replaced_by"] else ""
    why = f" ({row['close_reason']})" if row["close_reason"] else ""
    return f"{row['name']} closed{after}{by}{why}"


async def wait(run: Run, hub: Hub, started: list[Row], limit: float | None) -> list[Row]:
    """Return the last states of the sessions once all are closed. ``limit`` is the deadline asked for, if one was.

    Raises Problem if they are not in time, or somebody puts one back into service.
    """
    begun = time.monotonic()
    waiting = {row["name"]: row for row in started if row["state"] != "CLOSED"}
    done = {row["name"]: row | {"seconds": 0.0} for row in started if row["state"] == "CLOSED"}
    if waiting:
        progress = Progress(run, waiting)
        try:
            async with asyncio.timeout(_GRACE + (_limit(started) if limit is None else limit)):
                await together(
                    _follow(run, hub, waiting, done, progress, begun),
                    _count(hub, waiting, progress),
                )
        except TimeoutError:
            raise Problem(
                f"still draining: {', '.join(waiting)}",
                hint="tunnelctl sessions evict cuts them now",
                code=Code.UNAVAILABLE,
                reason="DRAIN_UNFINISHED",
            ) from None
        except asyncio.CancelledError:
            progress.close()
            run.note("the drain goes on without you; tunnelctl sessions evict cuts it short")
            raise
        finally:
            progress.close()
    return [done[row["name"]] for row in started]


def _limit(started: list[Row]) -> float:
    now = dt.datetime.now(dt.UTC)
    ends = [dt.datetime.fromisoformat(row["drain_deadline"]) for row in started if row["drain_deadline"]]
    return max([_SHORTEST, *((end - now).total_seconds() for end in ends)])


async def _follow(
    run: Run, hub: Hub, waiting: dict[str, Row], done: dict[str, Row], progress: Progress, begun: float
) -> None:
    def over(row: Row) -> None:
        if waiting.pop(row["name"], None) is not None:
            done[row["name"]] = row | {"seconds": round(time.monotonic() - begun, 3)}

    progress.show(waiting)
    present: set[str] = set()
    changes = hub.watch_sessions(told=told(run))
    async for change in changes:
        row = rows.session(change.row) if change.row is not None else None
        if change.kind == "reset":
            present.clear()
        elif change.kind == "synced":
            # Some may have closed between the drain's answer and the snapshot.
            for name in waiting.keys() - present:
                over(await _last(hub, name, waiting[name]))
        elif row is not None and row["name"] in waiting:
            if change.kind == "removed" or row["state"] == "CLOSED":
                over(row)
            elif row["state"] == "ACTIVE":
                raise Problem(f"{row['name']} was put back into service", code=Code.CONFLICT, reason="UNDRAINED")
            else:
                present.add(row["name"])
                waiting[row["name"]] = row
        progress.show(waiting)
        if not waiting:
            return


async def _count(hub: Hub, waiting: dict[str, Row], progress: Progress) -> None:
    """Keep the counts of open streams fresh: a watch tells changes of state, and streams that end are none."""
    from tunnelpb.client import HubError
    from tunnelpb.hub.v1 import stats_pb2

    try:
        async for message in hub.stream_stats(stats_pb2.STATS_SCOPE_SESSION, interval=_COUNTING):
            for row in message.stats:
                if row.name in waiting:
                    waiting[row.name]["open_streams"] = row.streams_open
            if waiting:
                progress.show(waiting)
    except HubError:
        pass
    # Who counts may fail; who waits goes on.
    await asyncio.Event().wait()


async def _last(hub: Hub, name: str, known: Row) -> Row:
    """Return the state a session ended in, as far as the hub still knows it. A hub that restarts is asked again."""
    from tunnelpb.client import HubError
    from tunnelpb.hub.v1 import session_pb2

    while True:
        try:
            return rows.session((await hub.sessions.GetSession(session_pb2.GetSessionRequest(name=name))).session)
        except HubError as error:
            if error.status.name == "NOT_FOUND":
                return known | {"state": "CLOSED", "open_streams": 0}
            if error.status.name != "UNAVAILABLE":
                raise
        await asyncio.sleep(_AGAIN)
