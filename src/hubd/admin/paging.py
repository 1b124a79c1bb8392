"""Pages of lists. A page token says behind which row the next page begins, so rows may come and go in between."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from hubd.admin.errors import invalid

if TYPE_CHECKING:
    from google.protobuf import message

DEFAULT_SIZE = 50
MAX_SIZE = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows of a list.

    Args:
        rows: in order.
        next_token: "" on the last page.
        total: rows in all pages, as of now.
        mark: what the first page's caller wanted kept, such as a revision.
    """

    rows: list[T]
    next_token: str
    total: int
    mark: int


def paginate(
    request: message.Message,
    rows: Iterable[T],
    key: Callable[[T], str],
    *,
    mark: int = 0,
) -> Page[T]:
    """Cut one page out of all rows that match.

    Args:
        request: with page_size and page_token; its other fields are the filter, which must stay the same.
        rows: all of them, in the order of their keys.
        key: of a row; unique, grows.
        mark: kept in tokens from the first page on.

    Raises:
        ApiError: a negative size, or a token that is not one of this list's.
    """
    size: int = request.page_size  # type: ignore[attr-defined]
    if size < 0:
        raise invalid(("page_size", "must not be negative"))
    size = min(size or DEFAULT_SIZE, MAX_SIZE)
    digest = _filter_digest(request)
    after, mark = _read(request.page_token, digest, mark)  # type: ignore[attr-defined]
    found: list[T] = []
    total = 0
    more = False
    for row in rows:
        total += 1
        if key(row) <= after:
            continue
        if len(found) < size:
            found.append(row)
        else:
            more = True
    token = _write(key(found[-1]), digest, mark) if more else ""
    return Page(found, token, total, mark)


def _filter_digest(request: message.Message) -> str:
    bare = type(request)()
    bare.CopyFrom(request)
    bare.ClearField("page_size")
    bare.ClearField("page_token")
    text = type(request).__name__.encode() + bare.SerializeToString(deterministic=True)
    return hashlib.sha256(text).hexdigest()[:16]


def _write(after: str, digest: str, mark: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([after, digest, mark]).encode()).decode().rstrip("=")


def _read(token: str, digest: str, mark: int) -> tuple[str, int]:
    if not token:
        return "", mark
    try:
        after, made_for, kept = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        good = isinstance(after, str) and isinstance(kept, int)
    except (ValueError, TypeError):
        good = False
    if not good:
        raise invalid(("page_token", "not a token of this list"))
    if made_for != digest:
        raise invalid(("page_token", "of a list with another filter: start again without it"))
    return after, kept
