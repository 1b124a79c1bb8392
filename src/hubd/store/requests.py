"""Answers of calls that must not be done twice, by the request id their client gave."""

from __future__ import annotations

import time
from typing import Protocol, Self, TypeVar

from hubd.store.database import Database

# A client that tries again does so within minutes. Answers hold no secrets, so a day is no risk.
KEEP_SECONDS = 86400.0


class Message(Protocol):
    """A protobuf message."""

    def SerializeToString(self) -> bytes:
        """Its bytes."""
        ...

    @classmethod
    def FromString(cls, data: bytes, /) -> Self:
        """The message of some bytes."""
        ...


M = TypeVar("M", bound=Message)


class Requests:
    """The table of requests.

    Args:
        database: the hub's store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def answer(self, request_id: str, call: str, kind: type[M]) -> M | None:
        """What this request was answered before; None if it is new or has no id."""
        if not request_id:
            return None
        row = self._database.row("SELECT answer FROM requests WHERE id = ? AND call = ?", (request_id, call))
        return kind.FromString(row["answer"]) if row is not None else None

    def keep(self, request_id: str, call: str, answer: Message) -> None:
        """Remember an answer for a day. Nothing without an id."""
        if not request_id:
            return
        now = time.time()
        self._database.write("DELETE FROM requests WHERE created < ?", (now - KEEP_SECONDS,))
        self._database.write(
            "INSERT OR REPLACE INTO requests (id, call, answer, created) VALUES (?, ?, ?, ?)",
            (request_id, call, answer.SerializeToString(), now),
        )
