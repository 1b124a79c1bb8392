"""What is written can be read again, and nothing can be smuggled in by a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunnel.http1 import LAST_CHUNK, Framing, encode_chunk, encode_request, encode_response

Read = Callable[..., Any]
FIELDS = [(b"A", b"1"), (b"b", b""), (b"A", b"\xff")]


def test_request_without_a_body(req: Read) -> None:
    raw = encode_request(b"GET", b"/x?y", FIELDS, extra=[(b"Host", b"a")])
    assert raw == b"GET /x?y HTTP/1.1\r\nA: 1\r\nb: \r\nA: \xff\r\nHost: a\r\n\r\n"
    assert req(raw).head.fields == FIELDS


def test_request_without_fields() -> None:
    assert encode_request(b"GET", b"/", []) == b"GET / HTTP/1.1\r\n\r\n"


def test_request_with_a_length(req: Read) -> None:
    raw = encode_request(b"POST", b"/", FIELDS, extra=[(b"Host", b"a")], framing=Framing.LENGTH, length=3)
    out = req(raw + b"abc")
    assert (out.head.length, out.body) == (3, b"abc")


def test_chunked_request(req: Read) -> None:
    raw = encode_request(b"POST", b"/", FIELDS, extra=[(b"Host", b"a")], framing=Framing.CHUNKED)
    body = b"".join(
        (*encode_chunk([b"a" * 20, memoryview(b"bc")]), *encode_chunk([]), *encode_chunk([b""]), LAST_CHUNK)
    )
    assert body == b"16\r\n" + b"a" * 20 + b"bc\r\n0\r\n\r\n"
    assert req(raw + body).body == b"a" * 20 + b"bc"


def test_chunk_takes_its_pieces_uncopied() -> None:
    piece = b"x" * 5000
    assert encode_chunk([piece])[1] is piece


def test_responses(resp: Read) -> None:
    out = resp(encode_response(404, FIELDS, framing=Framing.LENGTH, length=2) + b"no")
    assert (out.head.status, out.head.reason, out.head.fields, out.body) == (404, b"Not Found", FIELDS, b"no")
    assert encode_response(299, []) == b"HTTP/1.1 299 \r\n\r\n"
    out = resp(encode_response(200, FIELDS, extra=[(b"X", b"y")], framing=Framing.UNTIL_CLOSE) + b"rest")
    assert (out.head.framing, out.head.keep_alive, out.body) == (Framing.UNTIL_CLOSE, False, b"rest")
    assert out.head.fields == [*FIELDS, (b"X", b"y")]
    out = resp(encode_response(200, [], length=1000), b"HEAD")
    assert (out.head.framing, out.head.length) == (Framing.NONE, 1000)
    assert resp(encode_response(200, [], length=0, framing=Framing.LENGTH, close=True)).head.keep_alive is False


@pytest.mark.parametrize("bad", [b"a\r\nX: y", b"a\nX: y", b"a\rb", b"a\0b"])
def test_line_ends_in_a_part_are_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        encode_request(b"GET", b"/", [(b"X", bad)])
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        encode_request(b"GET", b"/" + bad, [])
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        encode_response(200, [], extra=[(bad, b"")])


@pytest.mark.parametrize(("framing", "length"), [(Framing.LENGTH, -1), (Framing.CHUNKED, 3), (Framing.UNTIL_CLOSE, 0)])
def test_framing_and_length_must_agree(framing: Framing, length: int) -> None:
    with pytest.raises(ValueError, match="contradict"):
        encode_response(200, [], framing=framing, length=length)
