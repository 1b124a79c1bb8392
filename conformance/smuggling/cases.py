"""What a payload is, what must become of it, and short ways to write tables of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

AGENT = "a"
PREFIX = b"/api/v1/proxy/a"
"""What the hub's paths to the agent begin with; payloads are written for it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as the target must read it.

    Attributes:
        method: as sent.
        path: path and query as the target gets them, without the hub's prefix.
        body: decoded.
        lacks: lower-case names of fields it must not have.
        has: fields it must have, names in lower case.
    """

    method: bytes
    path: bytes
    body: bytes = b""
    lacks: tuple[bytes, ...] = ()
    has: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One payload.

    Attributes:
        id: class and name.
        why: what somebody could get wrong.
        raw: what the visitor sends.
        seen: requests that reach the target, in order.
        answers: statuses the visitor gets, in order; none for a connection closed without a word.
        stays: the connection serves another request afterwards; None where that depends on how much has come.
        half: the visitor sends its last byte behind the payload.
    """

    id: str
    why: str
    raw: bytes
    seen: tuple[Seen, ...]
    answers: tuple[int, ...]
    stays: bool | None
    half: bool = False


def request(
    *lines: bytes, method: bytes = b"POST", path: bytes = b"/x", version: bytes = b"HTTP/1.1", body: bytes = b"",
    host: bytes | None = b"hub",
) -> bytes:  # fmt: skip
    """A request to the agent: its head from the lines given, and its body as it is."""
    named = () if host is None else (b"Host: " + host,)
    return b"\r\n".join((b"%b %b%b %b" % (method, PREFIX, path, version), *named, *lines, b"", body))


def chunked(body: bytes, *lines: bytes, path: bytes = b"/x") -> bytes:
    """A POST with this chunked body, as it is."""
    return request(*lines, b"Transfer-Encoding: chunked", path=path, body=body)


def bad(name: str, why: str, raw: bytes, status: int = 400, *seen: Seen) -> Case:
    """Refused with a status, the connection closed, nothing behind it read."""
    return Case(name, why, raw, seen, (200,) * len(seen) + (status,), stays=False)


def good(name: str, why: str, raw: bytes, *seen: Seen, stays: bool = True, half: bool = False) -> Case:
    """Taken, and forwarded as said."""
    return Case(name, why, raw, seen, (200,) * len(seen), stays, half)


def local(name: str, why: str, raw: bytes, status: int, *, stays: bool | None = True) -> Case:
    """Answered by the hub itself, which reads on."""
    return Case(name, why, raw, (), (status,), stays)


def silent(name: str, why: str, raw: bytes, *, half: bool = False) -> Case:
    """Closed without an answer."""
    return Case(name, why, raw, (), (), stays=False, half=half)


def post(body: bytes, *, lacks: tuple[bytes, ...] = ()) -> Seen:
    """What most tables expect to arrive."""
    return Seen(b"POST", b"/x", body, lacks)


def get(path: bytes = b"/x", *, lacks: tuple[bytes, ...] = (), has: tuple[tuple[bytes, bytes], ...] = ()) -> Seen:
    """A GET without a body."""
    return Seen(b"GET", path, b"", lacks, has)


def numbered(prefix: str, cases: Iterable[Case]) -> Iterator[Case]:
    """Put the class before each name, and a number where names would be the same."""
    used: dict[str, int] = {}
    for case in cases:
        name = f"{prefix}-{case.id}"
        used[name] = used.get(name, 0) + 1
        unique = name if used[name] == 1 else f"{name}-{used[name]}"
        yield Case(unique, case.why, case.raw, case.seen, case.answers, case.stays, case.half)
