"""The routes people made: looked up for every request without a wait, changed by the management API, kept in the store.

The most specific host wins: its own name before ``*.`` of a longer name before one of a shorter. Within a host the
longest path wins; what none of its paths matches is not found, whatever a wildcard might say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hubd.feed import Feed
from hubd.store import Database
from hubd.store.routes import RouteRecord, Routes
from tunnel.http1 import split_host


@dataclass(frozen=True, slots=True)
class RouteChange:
    """A route before and after; None before it was made, and when it is gone."""

    before: RouteRecord | None
    after: RouteRecord | None


Rules = list[tuple[bytes, RouteRecord]]


class Table:
    """Host routes, laid out for look-ups.

    Args:
        records: all of them.
    """

    __slots__ = ("_exact", "_wild")

    def __init__(self, records: Iterable[RouteRecord]) -> None:
        self._exact: dict[bytes, Rules] = {}
        self._wild: dict[bytes, Rules] = {}
        for record in records:
            host = record.host.encode()
            rules, name = (self._wild, host[1:]) if host.startswith(b"*.") else (self._exact, host)
            rules.setdefault(name, []).append((record.path.encode(), record))
        for rules in (self._exact, self._wild):
            for paths in rules.values():
                paths.sort(key=lambda rule: len(rule[0]), reverse=True)

    def rules(self, name: bytes) -> Rules | None:
        """What holds for a host name in lower case; None if no route is for it."""
        found = self._exact.get(name)
        if found is not None or not self._wild:
            return found
        dot = name.find(b".")
        while dot >= 0:
            found = self._wild.get(name[dot:])
            if found is not None:
                return found
            dot = name.find(b".", dot + 1)
        return None

    def find(self, host: bytes, path: bytes) -> RouteRecord | bool:
        """The route of a request; True if the host has routes and none of them matches, False if it has none."""
        rules = self.rules(split_host(host)[0]) if host else None
        if rules is None:
            return False
        for prefix, record in rules:
            size = len(prefix)
            if not size or (path.startswith(prefix) and path[size : size + 1] in (b"", b"/")):
                return record
        return True


class RouteBook:
    """All routes.

    Args:
        database: where they are kept.
        origin: of resume tokens.
        on_change: called after each change with the new table, None while there is no host route.
    """

    def __init__(self, database: Database, origin: str, on_change: Callable[[Table | None], None]) -> None:
        self.feed: Feed[RouteChange] = Feed("routes", origin)
        self._store = Routes(database)
        self._on_change = on_change
        self._records = {record.id: record for record in self._store.all()}
        self.table: Table | None = None
        self._settle()

    def all(self) -> list[RouteRecord]:
        """Every route, by id."""
        return [self._records[route_id] for route_id in sorted(self._records)]

    def get(self, route_id: str) -> RouteRecord | None:
        """One by its id."""
        return self._records.get(route_id)

    def holder(self, record: RouteRecord) -> RouteRecord | None:
        """Another route at the place of this one."""
        others = self._records.values()
        return next((one for one in others if one.id != record.id and one.place == record.place), None)

    def of_agent(self, agent: str) -> list[RouteRecord]:
        """Routes to one agent."""
        return [record for record in self.all() if record.agent == agent]

    def of_port(self, port: int) -> RouteRecord | None:
        """The route of a port."""
        return next((record for record in self._records.values() if port and record.tcp_port == port), None)

    def put(self, record: RouteRecord) -> None:
        """Make or change one; it counts from the next request on."""
        self._store.put(record)
        before = self._records.get(record.id)
        self._records[record.id] = record
        self._settle()
        self.feed.publish(RouteChange(before, record))

    def delete(self, record: RouteRecord) -> None:
        """Forget one."""
        self._store.delete(record.id)
        del self._records[record.id]
        self._settle()
        self.feed.publish(RouteChange(record, None))

    def _settle(self) -> None:
        hosts = [record for record in self._records.values() if record.host]
        self.table = Table(hosts) if hosts else None
        self._on_change(self.table)
