"""The tokens a hub knows: made, listed, checked and taken back. All live ones are in memory, a check asks no disk.

Another process may write to the same store (``hubd token revoke``); `TokenBook.poll` notices within a second.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from hubd.identity import texts
from hubd.identity.texts import Kind, Text
from hubd.store.database import Database
from hubd.store.tokens import TokenRow, Tokens
from tunnel.attach.server import AGENT_ID
from tunnel.logs import Secret

logger = logging.getLogger("hubd.identity")

Role = Literal["viewer", "operator", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

DEFAULT_TTL: Final = 90 * 86400.0
"""Long enough that nobody automates around it, short enough that a forgotten one ends (GitHub suggests the same)."""
JOIN_TTL: Final = 3600.0
"""For somebody who sits at both machines."""
VALID_AT_ONCE: Final = 2
"""Agent tokens of one agent: the one in use and its successor."""
MAX_TTL: Final = 10 * 366 * 86400.0
MAX_USES: Final = 1_000_000
MAX_COMMENT: Final = 500
# Writing each use at once would be a write for every visitor's request.
TOUCH_SECONDS: Final = 60.0

_COMMENT = re.compile(r"[^\x00-\x1f\x7f]*")
# What is compared with where there is nothing to compare, so that both take the same steps.
_NOBODY: Final = hashlib.sha256(b"nobody").digest()


class TokenError(ValueError):
    """A token cannot be made or found.

    Args:
        reason: ``FIELD_INVALID``, ``TOKEN_LIMIT``, ``TOKEN_NOT_FOUND`` or ``STORE_FAILED``.
        message: one line for people.
        field: at fault, for ``FIELD_INVALID``.
    """

    def __init__(self, reason: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


@dataclass(frozen=True, slots=True)
class TokenPage:
    """Part of a list.

    Args:
        rows: by id.
        after: pass it to get the next page; "" at the end.
        total: of all pages.
    """

    rows: list[TokenRow]
    after: str
    total: int


class TokenBook:
    """All tokens of one store.

    Args:
        database: the store.
        clock: seconds since the epoch.

    Attributes:
        on_ended: called with the ids of tokens that can be used no more and whether they were taken back (else they
            expired); whoever holds sessions ends those that live by them, and says how many it evicted.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._rows = Tokens(database)
        self._clock = clock
        self._live: dict[str, TokenRow] = {}
        self._touched: dict[str, float] = {}
        self._next_touch = 0.0
        self._seen = -1
        self.on_ended: Callable[[set[str], bool], int] = _nobody_cares
        self.poll()

    # -- making and taking back ---------------------------------------------------------------------------------------

    def create(
        self,
        kind: Kind,
        *,
        agent: str = "",
        role: Role | Literal[""] = "",
        ttl: float | None = None,
        uses: int | None = None,
        comment: str = "",
    ) -> tuple[TokenRow, Secret]:
        """Make a token. The secret is in the answer and nowhere else.

        Args:
            kind: what it is good for.
            agent: whose it is; must be given for agent and visitor tokens, may be for join tokens.
            role: of an admin token.
            ttl: seconds; by default 90 days, for join tokens one hour.
            uses: of a join token, 1 by default.
            comment: free text.

        Raises:
            TokenError: a value is not as it should be, or the agent has two tokens already.
        """
        _check(kind, agent, role, ttl, uses, comment)
        now = self._clock()
        if kind == "agent" and self.valid_of(agent) >= VALID_AT_ONCE:
            raise TokenError("TOKEN_LIMIT", f"agent {agent} has {VALID_AT_ONCE} valid tokens: revoke one first")
        text, secret = texts.make(kind)
        ttl = (JOIN_TTL if kind == "join" else DEFAULT_TTL) if ttl is None else ttl
        row = TokenRow(
            text.id, kind, role, agent, text.digest, now, now + ttl,
            uses_left=(uses or 1) if kind == "join" else None, comment=comment,
        )  # fmt: skip
        self._rows.insert(row)
        self._live[row.id] = row
        return row, secret

    def valid_of(self, agent: str) -> int:
        """How many agent tokens an agent can use now."""
        return self._rows.of_agent(agent, "agent", self._clock())

    def page(
        self, *, after: str = "", limit: int = 50, kind: Kind | Literal[""] = "", agent: str = "", ended: bool = False
    ) -> TokenPage:
        """List tokens by id.

        Args:
            after: from the page before.
            limit: at most so many.
            kind: only these.
            agent: only those of this agent.
            ended: also those that can be used no more.
        """
        rows, total = self._rows.page(
            after=after, limit=limit + 1, kind=kind, agent=agent, ended=ended, now=self._clock()
        )
        more = len(rows) > limit
        return TokenPage(rows[:limit], rows[limit - 1].id if more else "", total)

    def get(self, token_id: str) -> TokenRow:
        """One token, also one that ended.

        Raises:
            TokenError: there is none.
        """
        row = self._rows.get(token_id)
        if row is None:
            raise TokenError("TOKEN_NOT_FOUND", f"no token is called {token_id}")
        return row

    def revoke(self, token_id: str) -> tuple[TokenRow, int]:
        """Take a token back and end what lives by it. Harmless when repeated.

        Returns the token and how many sessions were evicted.

        Raises:
            TokenError: there is none.
        """
        evicted = 0
        if self._rows.revoke(token_id, self._clock()):
            self._live.pop(token_id, None)
            evicted = self.on_ended({token_id}, True)
        return self.get(token_id), evicted

    def revoke_agent(self, agent: str) -> int:
        """Take back everything made for one agent; returns how many tokens that were. For an agent that is deleted."""
        ended = {row.id for row in self._live.values() if row.agent == agent}
        now = self._clock()
        for token_id in ended:
            self._rows.revoke(token_id, now)
            self._live.pop(token_id, None)
        if ended:
            self.on_ended(ended, True)
        return len(ended)

    # -- checking -----------------------------------------------------------------------------------------------------

    def verify(self, text: str, kinds: tuple[Kind, ...]) -> TokenRow | None:
        """The token this text is, if it can be used and is of one of the kinds. No I/O for one that can.

        It takes the same steps whatever is wrong, so its time tells nothing about ids or secrets.
        """
        found = texts.read(text)
        row = self._check_live(text, found, kinds)
        if row is None and found is not None and self._written_elsewhere(found.id):
            row = self._check_live(text, found, kinds)
        if row is not None:
            self._touched[row.id] = self._clock()
        return row

    def _check_live(self, text: str, found: Text | None, kinds: tuple[Kind, ...]) -> TokenRow | None:
        row = self._live.get(found.id) if found is not None else None
        same = hmac.compare_digest(
            row.digest if row is not None else _NOBODY, found.digest if found is not None else _mistaken(text)
        )
        if not same or row is None or row.kind not in kinds or not row.live(self._clock()):
            return None
        return row

    def _written_elsewhere(self, token_id: str) -> bool:
        """Whether another process has written since the last poll; what it made of this token is known then."""
        try:
            if self._rows.version() == self._seen:
                return False
            row = self._rows.get(token_id)
        except sqlite3.Error:
            # The next poll tells of it.
            return False
        if row is not None and row.live(self._clock()) and token_id not in self._live:
            self._live[token_id] = row
        return True

    def is_admin(self, token_id: str) -> bool:
        """Whether a token, also one that ended, is for the management API."""
        row = self._rows.get(token_id)
        return row is not None and row.kind == "admin"

    def use_again(self, token_id: str) -> bool:
        """Whether a token that was verified before can still be used; it counts as used then."""
        row = self._live.get(token_id)
        now = self._clock()
        if row is None or not row.live(now):
            return False
        self._touched[token_id] = now
        return True

    def take_use(self, token_id: str) -> bool:
        """Count one use of a join token; False if it is used up, revoked or expired."""
        known = self._live.get(token_id)
        if known is None or not known.live(self._clock()):
            return False
        taken = self._rows.take_use(token_id)
        row = self._rows.get(token_id)
        if row is None or not row.live(self._clock()):
            self._live.pop(token_id, None)
        else:
            self._live[token_id] = row
        return taken

    # -- every second -------------------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Note what expired and what other processes wrote, and write down uses. Call it once a second.

        A store that fails (a full disk) is logged; what is known goes on to count.
        """
        now = self._clock()
        try:
            version = self._rows.version()
            if version != self._seen:
                self._reload(now)
                self._seen = version
            if self._touched and now >= self._next_touch:
                self._write_uses(now)
        except sqlite3.Error as exc:
            logger.error("the store cannot be used: %s", exc)  # noqa: TRY400 - one line says it all
        expired = {row.id for row in self._live.values() if not row.live(now)}
        if expired:
            for token_id in expired:
                del self._live[token_id]
            self.on_ended(expired, False)

    def flush(self) -> None:
        """Write down the last uses: before the store is closed."""
        if self._touched:
            self._write_uses(self._clock())

    def _reload(self, now: float) -> None:
        before = self._live
        self._live = {row.id: row for row in self._rows.live(now)}
        gone = {token_id for token_id, row in before.items() if token_id not in self._live and row.live(now)}
        if gone:
            self.on_ended(gone, True)

    def _write_uses(self, now: float) -> None:
        touched, self._touched = self._touched, {}
        self._next_touch = now + TOUCH_SECONDS
        self._rows.touch(touched.items())
        for token_id, when in touched.items():
            if (row := self._live.get(token_id)) is not None:
                self._live[token_id] = replace(row, last_use=when)


def _mistaken(text: str) -> bytes:
    """The work that a well-formed text would have been."""
    return hashlib.sha256(text[: texts.LONGEST].encode("utf-8", "replace")).digest()


def _check(kind: Kind, agent: str, role: str, ttl: float | None, uses: int | None, comment: str) -> None:
    if kind not in texts.KINDS:
        raise TokenError("FIELD_INVALID", f"a token is one of {', '.join(texts.KINDS)}", "kind")
    if agent and (kind == "admin" or not AGENT_ID.fullmatch(agent)):
        why = "an admin token is for no agent" if kind == "admin" else f"{agent!r} is no agent id"
        raise TokenError("FIELD_INVALID", why, "agent")
    if kind in ("agent", "visitor") and not agent:
        raise TokenError("FIELD_INVALID", f"whose is the {kind} token? name the agent", "agent")
    if kind == "admin" and role not in ROLES:
        raise TokenError("FIELD_INVALID", f"an admin token has a role: {', '.join(ROLES)}", "role")
    if kind != "admin" and role:
        raise TokenError("FIELD_INVALID", "only admin tokens have a role", "role")
    if ttl is not None and not 1 <= ttl <= MAX_TTL:
        raise TokenError("FIELD_INVALID", "a token lives between a second and ten years", "ttl")
    if uses is not None and (kind != "join" or not 1 <= uses <= MAX_USES):
        why = "only join tokens have a number of uses" if kind != "join" else f"uses are 1 to {MAX_USES}"
        raise TokenError("FIELD_INVALID", why, "uses")
    if len(comment) > MAX_COMMENT or not _COMMENT.fullmatch(comment):
        raise TokenError("FIELD_INVALID", f"a comment has at most {MAX_COMMENT} characters, all printable", "comment")


def _nobody_cares(ended: set[str], revoked: bool) -> int:
    """Nothing lives by tokens."""
    return 0
