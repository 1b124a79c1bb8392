"""What the hub knows of agents beyond their sessions."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from dataclasses import dataclass, field
from typing import Any

from hubd.store.database import Database

logger = logging.getLogger("hubd.store")

FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """One agent as stored; times are seconds since the epoch.

    Args:
        limits: as the API names them; missing means the hub's own.
        visitors: ``mode``, ``allow_networks`` and ``users``, a user's password being its hash.
        epoch: sessions so far.
        deny_until: None with ``denied`` means until allowed.
        revision: the etag.
    """

    id: str
    display_name: str = ""
    annotations: dict[str, str] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    visitors: dict[str, Any] = field(default_factory=dict)
    created: float = 0.0
    last_seen: float | None = None
    epoch: int = 0
    denied: bool = False
    deny_reason: str = ""
    deny_until: float | None = None
    revision: int = 1

    def is_denied(self, now: float) -> bool:
        """Whether it may not attach."""
        return self.denied and (self.deny_until is None or self.deny_until > now)


class Agents:
    """The table of agents.

    Args:
        database: the hub's store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def attached(self, agent_id: str) -> int:
        """One more session of an agent, which is remembered from now on; returns the session's epoch.

        A store that cannot be written, say on a full disk, must not keep agents away: it is told, and the epoch is 0.
        """
        now = time.time()
        try:
            row = self._database.row(
                "INSERT INTO agents (id, created, last_seen, epoch) VALUES (?, ?, ?, 1) "
                "ON CONFLICT (id) DO UPDATE SET last_seen = excluded.last_seen, epoch = epoch + 1 RETURNING epoch",
                (agent_id, now, now),
            )
        except sqlite3.Error as exc:
            logger.error("cannot write the store: %s", exc)  # noqa: TRY400 - one line says it all
            return 0
        assert row is not None
        return int(row["epoch"])

    def seen(self, agent_id: str) -> None:
        """A session of it has just ended."""
        try:
            self._database.write("UPDATE agents SET last_seen = ? WHERE id = ?", (time.time(), agent_id))
        except sqlite3.Error as exc:
            logger.error("cannot write the store: %s", exc)  # noqa: TRY400 - one line says it all

    def denied_for(self, agent_id: str) -> float | None:
        """Seconds for which an agent is still denied, infinity until it is allowed; None if it may attach."""
        row = self._database.row("SELECT deny_until FROM agents WHERE id = ? AND denied", (agent_id,))
        if row is None:
            return None
        if row["deny_until"] is None:
            return FOREVER
        left = float(row["deny_until"]) - time.time()
        return left if left > 0 else None

    def get(self, agent_id: str) -> AgentRecord | None:
        """One agent."""
        row = self._database.row("SELECT * FROM agents WHERE id = ?", (agent_id,))
        return None if row is None else _record(row)

    def all(self) -> list[AgentRecord]:
        """Every agent, by id."""
        return [_record(row) for row in self._database.rows("SELECT * FROM agents ORDER BY id")]

    def ids(self, now: float) -> list[tuple[str, bool]]:
        """Every id, in order, and whether that agent is denied.

        Args:
            now: seconds since the epoch.
        """
        rows = self._database.rows(
            "SELECT id, denied AND (deny_until IS NULL OR deny_until > ?) AS refused FROM agents ORDER BY id", (now,)
        )
        return [(row["id"], bool(row["refused"])) for row in rows]

    def limited(self) -> list[tuple[str, dict[str, Any]]]:
        """Agents with limits of their own, and those."""
        rows = self._database.rows("SELECT id, limits FROM agents WHERE limits != '{}'")
        return [(row["id"], json.loads(row["limits"])) for row in rows]

    def revision(self, agent_id: str) -> int | None:
        """The etag of one agent; None if there is none."""
        row = self._database.row("SELECT revision FROM agents WHERE id = ?", (agent_id,))
        return int(row["revision"]) if row is not None else None

    def desired_config(self, agent_id: str) -> int:
        """Version of the configuration an agent should run; 0 for none."""
        row = self._database.row("SELECT max(version) AS version FROM configs WHERE agent = ?", (agent_id,))
        return int(row["version"] or 0) if row is not None else 0

    def put(self, record: AgentRecord) -> AgentRecord:
        """Make an agent, or change what people set of it; returns what is stored, with its new revision."""
        self._database.write(
            "INSERT INTO agents (id, display_name, annotations, limits, visitors, created) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET display_name = excluded.display_name, annotations = excluded.annotations, "
            "limits = excluded.limits, visitors = excluded.visitors, revision = revision + 1",
            (
                record.id, record.display_name, json.dumps(record.annotations), json.dumps(record.limits),
                json.dumps(record.visitors), record.created or time.time(),
            ),
        )  # fmt: skip
        stored = self.get(record.id)
        assert stored is not None
        return stored

    def deny(self, agent_id: str, reason: str, until: float | None) -> None:
        """Refuse an agent from now on; it need not be known."""
        self._database.write(
            "INSERT INTO agents (id, created, denied, deny_reason, deny_until) VALUES (?, ?, 1, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET denied = 1, deny_reason = excluded.deny_reason, "
            "deny_until = excluded.deny_until, revision = revision + 1",
            (agent_id, time.time(), reason, until),
        )

    def allow(self, agent_id: str) -> None:
        """Take back a denial. Harmless without one."""
        self._database.write(
            "UPDATE agents SET denied = 0, deny_reason = '', deny_until = NULL, revision = revision + 1 "
            "WHERE id = ? AND denied",
            (agent_id,),
        )

    def delete(self, agent_id: str) -> None:
        """Forget an agent with its configurations. Its tokens and routes are kept in books of their own."""
        with self._database.transaction():
            for statement in (
                "DELETE FROM agents WHERE id = ?",
                "DELETE FROM configs WHERE agent = ?",
            ):
                self._database.write(statement, (agent_id,))


def _record(row: sqlite3.Row) -> AgentRecord:
    values = dict(row)
    for name in ("annotations", "limits", "visitors"):
        values[name] = json.loads(values[name])
    values["denied"] = bool(values["denied"])
    return AgentRecord(**values)
