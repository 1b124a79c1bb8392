"""Which columns a table of each kind has, and how a row fills them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tunnelctl import text

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        title: its heading.
        cell: gives the text of a row.
        right: numbers stand to the right.
        keep: how long it is kept when the terminal is narrow; 0 is never dropped, the highest goes first.
        wide: shown by ``-o wide`` only.
        flexible: may be cut with an ellipsis.
    """

    title: str
    cell: Callable[[Row], str]
    right: bool = False
    keep: int = 0
    wide: bool = False
    flexible: bool = False


def short(name: str | None) -> str:
    """Return the last part of a name, or a dash."""
    return name.rpartition("/")[2] if name else "-"


def _field(key: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value = row.get(key)
        if value is None or value in ("", []):
            return "-"
        if isinstance(value, bool):
            return "yes" if value else "no"
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    return cell


def _name(key: str) -> Callable[[Row], str]:
    return lambda row: short(row.get(key))


def _bytes(key: str) -> Callable[[Row], str]:
    return lambda row: text.size(row.get(key))


def _seconds(key: str) -> Callable[[Row], str]:
    return lambda row: text.duration(row.get(key))


def _ago(key: str) -> Callable[[Row], str]:
    return lambda row: text.age(row.get(key))


def labels(row: Row) -> str:
    """Return labels as ``key=value`` with commas."""
    return ",".join(f"{key}={value}" for key, value in (row.get("labels") or {}).items()) or "-"


def _session_age(row: Row) -> str:
    shown = text.age(row["connect_time"])
    if row["state"] == "DRAINING" and row["drain_deadline"]:
        left = text.until(row["drain_deadline"])
        return f"{shown} (closes {left})" if left == "now" else f"{shown} (closes in {left})"
    return shown


def _expiry(row: Row) -> str:
    if row["revoke_time"]:
        return "revoked"
    if not row["expire_time"]:
        return "never"
    left = text.until(row["expire_time"])
    return "expired" if left == "now" else left


def _to(row: Row) -> str:
    return f"tcp :{row['tcp_port']}" if row["tcp_port"] else f"{row['host']}{row['path']}"


def _agent_note(row: Row) -> str:
    if row["state"] != "DENIED":
        return "-"
    ends = f" for {text.until(row['deny_until'])}" if row["deny_until"] else ""
    return f"denied{ends}: {row['deny_reason'] or 'no reason given'}"


def clock(when: str | None, now: dt.datetime | None = None) -> str:
    """Return an ISO time as a clock shows it, UTC; with its day if that is not today."""
    if not when:
        return "-"
    today = (now or dt.datetime.now(dt.UTC)).date().isoformat()
    day, _, rest = when.partition("T")
    return rest[:8] if day == today else f"{day} {rest[:8]}"


COLUMNS: dict[str, tuple[Column, ...]] = {
    "session": (
        Column("SESSION", _name("name")),
        Column("AGENT", _name("agent"), flexible=True),
        Column("HUB", _name("hub"), keep=5, flexible=True),
        Column("STATE", _field("state")),
        Column("CARRIER", _field("carrier"), keep=6),
        Column("STREAMS", _field("open_streams"), right=True, keep=3),
        Column("IN", _bytes("bytes_in"), right=True, keep=7),
        Column("OUT", _bytes("bytes_out"), right=True, keep=8),
        Column("RTT", _seconds("rtt_seconds"), right=True, keep=4),
        Column("AGE", _session_age, keep=1),
        Column("PEER", _field("peer_address"), wide=True),
        Column("VERSION", _field("agent_version"), wide=True),
        Column("CONFIG", _field("applied_config_version"), right=True, wide=True),
        Column("LABELS", labels, wide=True, flexible=True),
        Column("REASON", _field("close_reason"), wide=True, flexible=True),
    ),
    "agent": (
        Column("AGENT", _name("name"), flexible=True),
        Column("STATE", _field("state")),
        Column("SESSIONS", _field("sessions"), right=True),
        Column("VERSION", _field("version"), keep=3),
        Column("CONFIG", _field("desired_config_version"), right=True, keep=4),
        Column("SEEN", _ago("last_seen_time"), keep=1),
        Column("LABELS", labels, keep=5, flexible=True),
        Column("NOTE", _agent_note, keep=2, flexible=True),
        Column("DISPLAY NAME", _field("display_name"), wide=True, flexible=True),
        Column("AGE", _ago("create_time"), wide=True),
    ),
    "config_version": (
        Column("VERSION", _field("version"), right=True),
        Column("AGE", _ago("create_time")),
        Column("AUTHOR", _field("author"), flexible=True),
        Column(
            "SERVICES", lambda row: ",".join(one["name"] for one in row["config"]["services"]) or "-", flexible=True
        ),
        Column("ROLLBACK OF", _field("rollback_of"), right=True, keep=2),
        Column("COMMENT", _field("comment"), keep=1, flexible=True),
        Column("ERROR", _field("last_error"), flexible=True),
    ),
    "config_status": (
        Column("SESSION", _name("session")),
        Column("DESIRED", _field("desired_version"), right=True),
        Column("APPLIED", _field("applied_version"), right=True),
        Column("ANSWERED", _ago("answer_time"), keep=1),
        Column("ERROR", _field("last_error"), flexible=True),
    ),
    "route": (
        Column("ROUTE", _name("name"), flexible=True),
        Column("FOR", _to, flexible=True),
        Column("AGENT", _name("agent"), flexible=True),
        Column("SERVICE", _field("service"), flexible=True),
        Column("ORIGIN", _field("origin"), keep=3),
        Column("AGE", _ago("create_time"), keep=2),
        Column("ERROR", _field("error"), keep=1, flexible=True),
        Column("STRIP", _field("strip_path"), wide=True),
    ),
    "token": (
        Column("TOKEN", _name("name")),
        Column("KIND", _field("kind")),
        Column("ROLE", _field("role"), keep=2),
        Column("AGENT", _name("agent"), keep=1, flexible=True),
        Column("ENDS IN", _expiry),
        Column("USED", _ago("last_use_time"), keep=3),
        Column("USES LEFT", _field("uses_left"), right=True, wide=True),
        Column("COMMENT", _field("comment"), keep=4, flexible=True),
        Column("AGE", _ago("create_time"), wide=True),
    ),
    "hub": (
        Column("HUB", _name("name"), flexible=True),
        Column("STATE", _field("state")),
        Column("VERSION", _field("version"), keep=2),
        Column("UP", _ago("start_time"), keep=1),
        Column("AGENTS", _field("agents_online"), right=True),
        Column("SESSIONS", _field("sessions"), right=True),
        Column("VISITORS", _field("visitors"), right=True, keep=3),
        Column("EXCHANGES", _field("exchanges"), right=True, keep=4),
    ),
    "plugin": (
        Column("NAME", _field("name")),
        Column("DISTRIBUTION", _field("distribution"), keep=2),
        Column("VERSION", _field("version"), keep=1),
        Column("STATE", lambda row: row["state"] + (f": {row['detail']}" if row["detail"] else ""), flexible=True),
        Column("HOOKS", _field("hooks"), wide=True),
    ),
    "setting": (
        Column("KEY", _field("key")),
        Column("VALUE", lambda row: json.dumps(row["value"], ensure_ascii=False), flexible=True),
        Column("ORIGIN", _field("origin"), keep=1, flexible=True),
    ),
    "stats": (
        Column("NAME", lambda row: row["name"].partition("/")[2], flexible=True),
        Column("AGENT", _name("agent"), keep=3, flexible=True),
        Column("IN", _bytes("bytes_in"), right=True),
        Column("OUT", _bytes("bytes_out"), right=True),
        Column("STREAMS", _field("streams_open"), right=True),
        Column("OPENED", _field("streams_opened"), right=True, keep=5),
        Column("REQUESTS", _field("requests"), right=True),
        Column("ERRORS", _field("errors"), right=True),
        Column("RTT", _seconds("rtt_seconds"), right=True, keep=4),
        Column("SESSIONS", _field("sessions"), right=True, wide=True),
        Column("LAG", _seconds("loop_lag_seconds"), right=True, wide=True),
        Column("MEMORY", _bytes("memory_bytes"), right=True, wide=True),
    ),
    "event": (
        Column("TIME", lambda row: clock(row["time"])),
        Column("TYPE", _field("type")),
        Column("SUBJECT", _name("subject"), keep=2),
        Column("MESSAGE", _field("message"), flexible=True),
        Column("ACTOR", _field("actor"), keep=1),
        Column("INDEX", _field("index"), right=True, wide=True),
        Column("EXACT TIME", _field("time"), wide=True),
    ),
    "context": (
        Column("", lambda row: "*" if row["current"] else ""),
        Column("CONTEXT", _field("name")),
        Column("ADDRESS", _field("address"), flexible=True),
        Column("TOKEN FILE", _field("token_file"), keep=1, flexible=True),
        Column("CA FILE", _field("ca_file"), wide=True),
    ),
}
