"""How much of a peer's head and framing is taken before it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Underscores = Literal["pass", "drop", "reject"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets, in bytes unless said otherwise; all are counted before the parser sees anything.

    Attributes:
        target: request target. nginx and Apache take 8 KiB lines, so longer ones fail elsewhere already.
        line: one field line of a request, or one chunk size line. Same reason.
        head: a whole request head, trailers included. Four full lines; nginx takes 4 x 8 KiB.
        fields: field lines in a request, trailers included. Apache's default; browsers send about 20.
        body: request body, or None for no limit. A relay stores nothing, so there is no limit of its own.
        response_head: a whole response head. Twice a request's, because cookies and policies add up.
        response_fields: field lines in a response. Keeps a 64 KiB head of tiny lines from costing milliseconds.
        chunk_overhead: chunk framing beyond 16 bytes + twice the data. The allowance of Go's chunk reader.
        informational: 1xx heads before one final response. Real servers send one or two.
    """

    target: int = 8 * 1024
    line: int = 8 * 1024
    head: int = 32 * 1024
    fields: int = 100
    body: int | None = None
    response_head: int = 64 * 1024
    response_fields: int = 256
    chunk_overhead: int = 16 * 1024
    informational: int = 16

    def __post_init__(self) -> None:
        for name in ("target", "line", "head", "fields", "response_head", "response_fields"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.chunk_overhead < 0 or self.informational < 0 or (self.body is not None and self.body < 0):
            raise ValueError("chunk_overhead, informational and body must not be negative")


DEFAULT_LIMITS = Limits()
