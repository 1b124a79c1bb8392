"""Configurations of agents, by version. The last hundred of each agent are kept."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

from hubd.store.database import Database

KEPT = 100
"""Versions of one agent. At 256 KiB each, the most one may have, 25 MiB; commonly they have a few hundred bytes."""


@dataclass(frozen=True, slots=True)
class ConfigRecord:
    """One version.

    Args:
        agent: id.
        version: from 1 on; never given twice.
        config: serialized AgentConfig.
        created: seconds since the epoch.
        author: who stored it.
        comment: theirs.
        rollback_of: version this one repeats; 0 for none.
        last_error: why an agent refused it.
    """

    agent: str
    version: int
    config: bytes
    created: float
    author: str = ""
    comment: str = ""
    rollback_of: int = 0
    last_error: str = ""


class Configs:
    """The table of configurations.

    Args:
        database: the hub's store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, agent: str) -> ConfigRecord | None:
        """The newest version, None if there never was one."""
        row = self._database.row("SELECT * FROM configs WHERE agent = ? ORDER BY version DESC LIMIT 1", (agent,))
        return None if row is None else _record(row)

    def get(self, agent: str, version: int) -> ConfigRecord | None:
        """One version, None if it is not there (any more)."""
        row = self._database.row("SELECT * FROM configs WHERE agent = ? AND version = ?", (agent, version))
        return None if row is None else _record(row)

    def all(self, agent: str) -> list[ConfigRecord]:
        """Every version of an agent, newest first."""
        rows = self._database.rows("SELECT * FROM configs WHERE agent = ? ORDER BY version DESC", (agent,))
        return [_record(row) for row in rows]

    def add(self, agent: str, config: bytes, *, author: str, comment: str = "", rollback_of: int = 0) -> ConfigRecord:
        """Store a new version and forget the oldest."""
        with self._database.transaction():
            before = self.newest(agent)
            version = before.version + 1 if before is not None else 1
            record = ConfigRecord(agent, version, config, time.time(), author, comment, rollback_of)
            self._database.write(
                "INSERT INTO configs (agent, version, config, created, author, comment, rollback_of) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (agent, version, config, record.created, author, comment, rollback_of),
            )
            self._database.write("DELETE FROM configs WHERE agent = ? AND version <= ?", (agent, version - KEPT))
        return record

    def refused(self, agent: str, version: int, why: str) -> None:
        """Note why an agent refused a version."""
        self._database.write("UPDATE configs SET last_error = ? WHERE agent = ? AND version = ?", (why, agent, version))


def _record(row: sqlite3.Row) -> ConfigRecord:
    return ConfigRecord(**dict(row))
