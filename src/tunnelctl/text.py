"""Numbers and texts as people read them: bytes, durations, ages; nothing a terminal would take for a command."""

from __future__ import annotations

import datetime as dt
import unicodedata

_BYTES = ("B", "kB", "MB", "GB", "TB", "PB")
_STEPS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def printable(text: str) -> str:
    """Return the text with control characters escaped: names and reasons come from elsewhere."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def width(text: str) -> int:
    """Columns the text takes on a terminal."""
    if text.isascii():
        return len(text)
    total = 0
    for char in text:
        if not unicodedata.combining(char):
            total += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return total


def cut(text: str, limit: int) -> str:
    """Return the text in at most ``limit`` columns, with an ellipsis where something is missing."""
    if width(text) <= limit:
        return text
    kept = ""
    for char in text:
        if width(kept + char) > limit - 1:
            break
        kept += char
    return kept + "…"


def size(value: float | None) -> str:
    """``1234567`` is ``1.2 MB``."""
    if value is None:
        return "-"
    for unit in _BYTES:
        if value < 999.5 or unit == _BYTES[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"


def duration(seconds: float | None) -> str:
    """Return seconds in the two largest units that say something: ``3d4h``, ``6m``, ``8.2s``, ``18ms``, ``250µs``."""
    if seconds is None:
        return "-"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f}µs" if seconds > 0 else "0s"
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms" if seconds >= 0.01 else f"{seconds * 1000:.1f}ms"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    rest, parts = int(seconds), []
    for step, unit in _STEPS:
        if rest >= step:
            parts.append(f"{rest // step}{unit}")
            rest %= step
        elif parts:
            break
    return "".join(parts[:2])


def age(when: str | None, now: dt.datetime | None = None) -> str:
    """Return how long ago an ISO time was."""
    if not when:
        return "-"
    passed = (now or dt.datetime.now(dt.UTC)) - dt.datetime.fromisoformat(when)
    return duration(max(0, int(passed.total_seconds())))


def until(when: str | None, now: dt.datetime | None = None) -> str:
    """Return how long it is to an ISO time; ``now`` if it has come."""
    if not when:
        return "-"
    left = dt.datetime.fromisoformat(when) - (now or dt.datetime.now(dt.UTC))
    return duration(int(left.total_seconds())) if left.total_seconds() >= 1 else "now"


def plural(count: int, one: str, many: str = "") -> str:
    """``3 sessions``, ``1 session``."""
    return f"{count} {one if count == 1 else many or one + 's'}"
