"""Rows of tokens. A secret is never here: what is kept of it is its SHA-256, enough for 256 random bits."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

from hubd.store.database import Database

_COLUMNS = "id, kind, role, agent, digest, created, expires, last_use, uses_left, revoked, comment"
# A row that ended long ago answers no question any more; a year is what audits look back.
KEEP_ENDED_SECONDS = 366 * 86400.0


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One token. Times are seconds since the epoch.

    Args:
        id: part of the token's text, and its name.
        kind: agent, join, admin or visitor.
        role: viewer, operator or admin for admin tokens, else "".
        agent: the id an agent or visitor token is for; for join tokens the only id that may enrol, or "".
        digest: SHA-256 of the secret.
        created: when.
        expires: None is never.
        last_use: to the minute or so; None is never.
        uses_left: of a join token; None is without limit.
        revoked: when, or None.
        comment: free text.
    """

    id: str
    kind: str
    role: str
    agent: str
    digest: bytes = field(repr=False)
    created: float
    expires: float | None = None
    last_use: float | None = None
    uses_left: int | None = None
    revoked: float | None = None
    comment: str = ""

    def live(self, now: float) -> bool:
        """Whether it can be used."""
        return self.revoked is None and (self.expires is None or now < self.expires) and self.uses_left != 0


class Tokens:
    """The table of tokens.

    Args:
        database: the store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, row: TokenRow) -> None:
        """Add one, and forget those that ended long ago."""
        self._database.write(
            "DELETE FROM tokens WHERE coalesce(revoked, expires) < ?", (row.created - KEEP_ENDED_SECONDS,)
        )
        values = (row.id, row.kind, row.role, row.agent, row.digest, row.created, row.expires, row.last_use,
                  row.uses_left, row.revoked, row.comment)  # fmt: skip
        self._database.write(f"INSERT INTO tokens ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def get(self, token_id: str) -> TokenRow | None:
        """One by its id."""
        row = self._database.row(f"SELECT {_COLUMNS} FROM tokens WHERE id = ?", (token_id,))
        return None if row is None else _read(row)

    def live(self, now: float) -> list[TokenRow]:
        """All that can be used."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM tokens WHERE revoked IS NULL AND (expires IS NULL OR expires > ?) "
            "AND coalesce(uses_left, 1) > 0",
            (now,),
        )
        return [_read(row) for row in rows]

    def page(
        self, *, after: str, limit: int, kind: str = "", agent: str = "", ended: bool, now: float
    ) -> tuple[list[TokenRow], int]:
        """Tokens by id, and how many there are in all.

        Args:
            after: the last id of the page before, "" for the first page.
            limit: at most so many.
            kind: only these; "" is all.
            agent: only those of this agent; "" is all.
            ended: also those that can be used no more.
            now: seconds since the epoch.
        """
        where = "(:kind = '' OR kind = :kind) AND (:agent = '' OR agent = :agent) AND (:ended OR (revoked IS NULL AND "
        where += "(expires IS NULL OR expires > :now) AND coalesce(uses_left, 1) > 0))"
        given = {"after": after, "limit": limit, "kind": kind, "agent": agent, "ended": int(ended), "now": now}
        query = f"SELECT {_COLUMNS} FROM tokens WHERE id > :after AND {where} ORDER BY id LIMIT :limit"
        rows = self._database.rows(query, given)
        total = self._database.row(f"SELECT count(*) FROM tokens WHERE {where}", given)
        assert total is not None
        return [_read(row) for row in rows], int(total[0])

    def revoke(self, token_id: str, now: float) -> bool:
        """Take one back; False if there is none that was not revoked yet."""
        return self._database.write(
            "UPDATE tokens SET revoked = ? WHERE id = ? AND revoked IS NULL", (now, token_id)
        ) == 1  # fmt: skip

    def take_use(self, token_id: str) -> bool:
        """Count one use of a join token; False if none was left. Two processes never take the same one."""
        return self._database.write(
            "UPDATE tokens SET uses_left = uses_left - 1 WHERE id = ? AND revoked IS NULL AND uses_left > 0", (token_id,)
        ) == 1  # fmt: skip

    def touch(self, uses: Iterable[tuple[str, float]]) -> None:
        """Write down when tokens were last used."""
        with self._database.transaction():
            for token_id, when in uses:
                self._database.write("UPDATE tokens SET last_use = ? WHERE id = ?", (when, token_id))

    def of_agent(self, agent: str, kind: str, now: float) -> int:
        """How many tokens of a kind an agent can use."""
        row = self._database.row(
            "SELECT count(*) FROM tokens WHERE agent = ? AND kind = ? AND revoked IS NULL "
            "AND (expires IS NULL OR expires > ?)",
            (agent, kind, now),
        )
        assert row is not None
        return int(row[0])

    def version(self) -> int:
        """A number that differs once another process has written to the store."""
        row = self._database.row("PRAGMA data_version")
        assert row is not None
        return int(row[0])


def _read(row: sqlite3.Row) -> TokenRow:
    return TokenRow(*tuple(row))
