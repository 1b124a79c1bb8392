"""Reads messages whole, byte by byte and cut at many places, and insists on one outcome."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tunnel.http1 import BadMessage, Limits, RequestHead, RequestReader, ResponseHead, ResponseReader, Truncated


@dataclass
class Outcome:
    """What came of a byte string."""

    heads: list[Any] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    error: tuple[int, str] | None = None
    end: str = ""
    rest: bytes = b""
    done: bool = True

    @property
    def head(self) -> Any:
        assert self.error is None, self.error
        return self.heads[0]

    @property
    def body(self) -> bytes:
        assert self.error is None, self.error
        return self.bodies[0]

    def verdict(self) -> object:
        """Everything that must not depend on how the bytes were cut."""
        facts = [
            [(name, getattr(head, name)) for cls in type(head).__mro__ for name in getattr(cls, "__slots__", ())]
            for head in self.heads
        ]
        # How much of a body was handed out before its fault was met may depend on the pieces.
        bodies = self.bodies if self.error is None else self.bodies[:-1]
        return facts, bodies, self.error, self.end, self.rest, self.done


def _drive(reader: RequestReader | ResponseReader, pieces: Iterable[bytes], methods: list[bytes]) -> Outcome:
    out = Outcome()
    left = list(methods)
    final = True
    try:
        for piece in pieces:
            reader.feed(piece)
            while True:
                body = b"".join(reader.read_body())
                if body:
                    out.bodies[-1] += body
                if not reader.body_done:
                    break
                if isinstance(reader, ResponseReader) and final and left:
                    reader.expect(left.pop(0))
                    final = False
                head: RequestHead | ResponseHead | None = reader.next_head()
                if head is None:
                    break
                out.heads.append(head)
                out.bodies.append(b"")
                final = isinstance(head, ResponseHead) and head.status >= 200
        out.done = reader.body_done
        try:
            reader.eof()
        except Truncated as cut:
            out.end = cut.reason
        if reader.body_done:
            out.rest = reader.take_rest()
    except BadMessage as fault:
        out.error = (fault.status, fault.reason)
        with pytest.raises(BadMessage) as again:
            reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            reader.next_head()
        assert again.value is fault
        with pytest.raises(BadMessage):
            reader.read_body()
    return out


def _cuts(raw: bytes) -> Iterable[list[bytes]]:
    yield [raw[i : i + 1] for i in range(len(raw))]
    points = range(1, len(raw)) if len(raw) < 200 else range(1, len(raw), len(raw) // 60)
    for point in points:
        yield [raw[:point], raw[point:]]
    dice = random.Random(raw)
    for _ in range(5):
        marks = sorted(dice.randrange(len(raw) + 1) for _ in range(dice.randrange(1, 9)))
        yield [raw[a:b] for a, b in zip([0, *marks], [*marks, len(raw)], strict=True) if a < b]


def _same_for_all_cuts(drive: Callable[[Iterable[bytes]], Outcome], raw: bytes) -> Outcome:
    whole = drive([raw])
    for pieces in _cuts(raw):
        assert drive(pieces).verdict() == whole.verdict(), [len(piece) for piece in pieces]
    return whole


def drive_requests(pieces: Iterable[bytes], limits: Limits | None = None, **settings: Any) -> Outcome:
    return _drive(RequestReader(limits or Limits(), **settings), pieces, [])


def drive_responses(pieces: Iterable[bytes], methods: list[bytes], limits: Limits | None = None) -> Outcome:
    return _drive(ResponseReader(limits or Limits()), pieces, methods)


def read_requests(raw: bytes, limits: Limits | None = None, **settings: Any) -> Outcome:
    return _same_for_all_cuts(lambda pieces: drive_requests(pieces, limits, **settings), raw)


def read_responses(raw: bytes, *methods: bytes, limits: Limits | None = None) -> Outcome:
    return _same_for_all_cuts(lambda pieces: drive_responses(pieces, list(methods or (b"GET",)), limits), raw)


@pytest.fixture(scope="session")
def drive_req() -> Callable[..., Outcome]:
    """Reads requests from the pieces given."""
    return drive_requests


@pytest.fixture(scope="session")
def drive_resp() -> Callable[..., Outcome]:
    """Reads responses from the pieces given."""
    return drive_responses


@pytest.fixture(scope="session")
def req() -> Callable[..., Outcome]:
    """Reads requests from bytes; fails unless every cut gives the same."""
    return read_requests


@pytest.fixture(scope="session")
def resp() -> Callable[..., Outcome]:
    """Reads responses from bytes; fails unless every cut gives the same."""
    return read_responses
