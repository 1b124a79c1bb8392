"""The store's connection: one sqlite3 file in WAL mode, whole after a kill -9 between any two writes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hubd.store.schema import MIGRATIONS

# Another process (hubd token create) may be writing; it takes milliseconds, and the loop waits meanwhile.
BUSY_SECONDS = 1.0


class StoreError(Exception):
    """The store cannot be used; one line for people."""


class Database:
    """An open store. Not for several threads.

    Calls block: a look-up takes some 10 us and a write some 30 us, so they may be made on the loop, one by one.

    Args:
        path: of the file, made with mode 0600 where it is missing; None keeps all in memory.

    Raises:
        StoreError: the file cannot be opened, is no store, or was written by a newer version.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        try:
            if path is not None:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = sqlite3.connect(
                ":memory:" if path is None else path, timeout=BUSY_SECONDS, isolation_level=None
            )
            try:
                self._set_up()
            except BaseException:
                self._connection.close()
                raise
        except (OSError, sqlite3.Error) as exc:
            why = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise StoreError(f"cannot use the store {path}: {why}") from exc

    def _set_up(self) -> None:
        self._connection.row_factory = sqlite3.Row
        # NORMAL loses the last moments on a power cut, never the file (sqlite.org/wal.html).
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "trusted_schema=OFF"):
            self._connection.execute(f"PRAGMA {pragma}")
        with self.transaction():
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version > len(MIGRATIONS):
                raise StoreError(
                    f"the store {self.path} has version {version}, this program knows {len(MIGRATIONS)}: "
                    "use the newer program"
                )
            for script in MIGRATIONS[version:]:
                for statement in _statements(script):
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")

    def close(self) -> None:
        """Close the file. Harmless when repeated."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside, or none. Do not await inside, and do not nest."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def write(self, statement: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> int:
        """Run one statement and return the number of rows it changed."""
        return self._connection.execute(statement, parameters).rowcount

    def row(self, query: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        found: sqlite3.Row | None = self._connection.execute(query, parameters).fetchone()
        return found

    def rows(self, query: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self._connection.execute(query, parameters).fetchall()


def _statements(script: str) -> Iterator[str]:
    """The script's statements; executescript would commit the transaction around them."""
    statement = ""
    for line in script.splitlines():
        statement += line.partition("--")[0] + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
