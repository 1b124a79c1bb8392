"""Routes in the store."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from hubd.store.database import Database

_COLUMNS = "id, host, path, tcp_port, agent, service, strip_path, created, revision"


@dataclass(frozen=True, slots=True)
class RouteRecord:
    """One route; either a host or a port is set.

    Args:
        id: last part of its name.
        host: in lower case, without a port; ``*.`` before it means the names below.
        path: prefix by whole segments, without a slash at its end; "" is all.
        tcp_port: opened by the hub; 0 for a host.
        agent: id.
        service: of the agent; "" is its default.
        strip_path: the agent does not see the prefix.
        created: seconds since the epoch.
        revision: the etag.
    """

    id: str
    host: str = ""
    path: str = ""
    tcp_port: int = 0
    agent: str = ""
    service: str = ""
    strip_path: bool = False
    created: float = 0.0
    revision: int = 1

    @property
    def place(self) -> tuple[str, str, int]:
        """What no two routes have both."""
        return self.host, self.path, self.tcp_port


class Routes:
    """The table of routes.

    Args:
        database: the hub's store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[RouteRecord]:
        """Every route, by id."""
        return [_record(row) for row in self._database.rows(f"SELECT {_COLUMNS} FROM routes ORDER BY id")]

    def put(self, record: RouteRecord) -> None:
        """Write one, new or changed, as it is."""
        self._database.write(
            f"INSERT INTO routes ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "host = excluded.host, path = excluded.path, tcp_port = excluded.tcp_port, agent = excluded.agent, "
            "service = excluded.service, strip_path = excluded.strip_path, revision = excluded.revision",
            (record.id, record.host, record.path, record.tcp_port or None, record.agent, record.service,
             int(record.strip_path), record.created, record.revision),
        )  # fmt: skip

    def delete(self, route_id: str) -> None:
        """Forget one."""
        self._database.write("DELETE FROM routes WHERE id = ?", (route_id,))


def _record(row: sqlite3.Row) -> RouteRecord:
    values = dict(row)
    values["tcp_port"] = values["tcp_port"] or 0
    values["strip_path"] = bool(values["strip_path"])
    return RouteRecord(**values)
