"""The buffer below both readers: nothing is copied that need not be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunnel.http1 import (
    RequestReader,
    ResponseReader,
)

Read = Callable[..., Any]
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def ok(*fields: bytes, body: bytes = b"", line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((line, *fields, b"", body))


def test_body_with_a_length_is_not_copied() -> None:
    reader = ResponseReader()
    reader.expect(b"GET")
    first = ok(b"Content-Length: 200000", body=b"a" * 60_000)
    reader.feed(first)
    assert reader.next_head() is not None
    (piece,) = reader.read_body()
    assert isinstance(piece, memoryview)
    assert piece.obj is first
    middle = [b"b" * 60_000, memoryview(b"c" * 60_000)]
    for part in middle:
        reader.feed(part)
    pieces = reader.read_body()
    assert pieces[0] is middle[0]
    assert pieces[1] is middle[1]
    reader.feed(b"")
    assert reader.read_body() == []
    last = b"d" * 30_000
    reader.feed(last)
    (piece,) = reader.read_body()
    assert len(piece) == 20_000
    assert (reader.body_done, reader.buffered) == (True, 10_000)


def test_views_are_taken_too() -> None:
    reader = RequestReader()
    for part in (HEAD, b"3\r\nab", b"c\r\n0\r", b"\n\r\n"):
        reader.feed(memoryview(part))
        reader.next_head()
        reader.read_body()
    assert reader.body_done
