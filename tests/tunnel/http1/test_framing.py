"""How long a request body is, and what could be smuggled past it: rows A1 to A11."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunnel.http1 import (
    BadMessage,
    Framing,
    Limits,
    RequestReader,
    list_members,
)

Read = Callable[..., Any]
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


def post(fields: bytes, body: bytes = b"", minor: int = 1) -> bytes:
    return b"POST /p HTTP/1.%d\r\nHost: a\r\n%s\r\n%s" % (minor, fields, body)


@pytest.mark.parametrize("coding", [b"chunked", b"identity", b"xchunked", b'"chunked"', b"gzip, chunked"])
def test_a1_length_and_encoding(req: Read, coding: bytes) -> None:
    body = b"5\r\nhello\r\n0\r\n\r\n"
    one, other = b"Content-Length: 5\r\n", b"Transfer-Encoding: %s\r\n" % coding
    assert req(post(one + other, body)).error == (400, "length_and_encoding")
    assert req(post(other + one, body)).error == (400, "length_and_encoding")


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 5\r\nContent-Length: 5\r\n", b"Content-Length: 5\r\nCONTENT-LENGTH: 6\r\n"]
)
def test_a2_two_lengths(req: Read, fields: bytes) -> None:
    assert req(post(fields, b"hello!")).error == (400, "duplicate_content_length")


@pytest.mark.parametrize("value", [b"5, 5", b"5,6", b"5,"])
def test_a2_list_of_lengths(req: Read, value: bytes) -> None:
    assert req(post(b"Content-Length: %s\r\n" % value, b"hello")).error == (400, "bad_content_length")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"+3",
        b"-3",
        b"1_0",
        b"0x3",
        b"3 4",
        b"3\xa0",
        b"3;",
        b"three",
        b"18446744073709551616",
        b"9" * 40,
        b"3.0",
        b"\xb3",
    ],
)
def test_a3_malformed_length(req: Read, value: bytes) -> None:
    assert req(post(b"Content-Length: %s\r\n" % value, b"abc")).error == (400, "bad_content_length")


def test_a3_control_byte_in_length(req: Read) -> None:
    assert req(post(b"Content-Length: 3\x0b\r\n", b"abc")).error == (400, "control_byte")


@pytest.mark.parametrize("value", [b"0003", b"3 ", b"3\t", b"  3", b"0000000000000000003"])
def test_a4_length_is_made_canonical(req: Read, value: bytes) -> None:
    out = req(post(b"Content-Length: %s\r\n" % value, b"abc"))
    assert (out.head.framing, out.head.length, out.body) == (Framing.LENGTH, 3, b"abc")
    assert out.head.fields == []


def test_a5_declared_length_over_the_limit(req: Read) -> None:
    limits = Limits(body=10)
    assert req(post(b"Content-Length: 11\r\n", b"x" * 11), limits).error == (413, "body_too_large")
    assert req(post(b"Content-Length: 10\r\n", b"x" * 10), limits).body == b"x" * 10


def test_a5_chunked_body_over_the_limit(req: Read) -> None:
    limits = Limits(body=10)
    fields = b"Transfer-Encoding: chunked\r\n"
    assert req(post(fields, b"6\r\nabcdef\r\n5\r\nghijk\r\n0\r\n\r\n"), limits).error == (413, "body_too_large")
    assert req(post(fields, b"6\r\nabcdef\r\n4\r\nghij\r\n0\r\n\r\n"), limits).body == b"abcdefghij"


def test_a5_is_refused_before_any_body(req: Read) -> None:
    reader = RequestReader(Limits(body=10))
    reader.feed(post(b"Content-Length: 11\r\n"))
    with pytest.raises(BadMessage) as refused:
        reader.next_head()
    assert refused.value.status == 413


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (b"identity", (501, "unknown_transfer_coding")),
        (b"xchunked", (501, "unknown_transfer_coding")),
        (b"gzip", (501, "unknown_transfer_coding")),
        (b'"chunked"', (400, "bad_transfer_encoding")),
        (b"chunked;a=b", (400, "bad_transfer_encoding")),
        (b"\x0bchunked", (400, "control_byte")),
        (b"chunked\t", (400, "bad_head")),
        (b"", (400, "bad_transfer_encoding")),
        (b"chunk ed", (400, "bad_transfer_encoding")),
        (b"\xa0chunked", (400, "bad_transfer_encoding")),
    ],
)
def test_a6_odd_transfer_coding(req: Read, value: bytes, verdict: tuple[int, str]) -> None:
    assert req(post(b"Transfer-Encoding: %s\r\n" % value, b"0\r\n\r\n" + NEXT)).error == verdict


@pytest.mark.parametrize(
    "fields", [b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"]
)
def test_a7_coding_below_chunked(req: Read, fields: bytes) -> None:
    assert req(post(fields, b"0\r\n\r\n")).error == (501, "unknown_transfer_coding")


@pytest.mark.parametrize("value", [b",chunked", b", chunked", b" ,\tchunked"])
def test_a8_empty_member_before_chunked(req: Read, value: bytes) -> None:
    assert req(post(b"Transfer-Encoding: %s\r\n" % value, b"0\r\n\r\n")).error == (400, "bad_transfer_encoding")


@pytest.mark.parametrize(
    "fields",
    [
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\ntransfer-encoding: identity\r\n",
        b"Transfer-Encoding: chunked, gzip\r\n",
        b"Transfer-Encoding: chunked,\r\n",
    ],
)
def test_a9_chunked_twice_or_not_last(req: Read, fields: bytes) -> None:
    assert req(post(fields, b"0\r\n\r\n")).error == (400, "bad_transfer_encoding")


def test_a10_encoding_in_http_1_0(req: Read) -> None:
    raw = post(b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n", b"0\r\n\r\n" + NEXT, minor=0)
    assert req(raw).error == (400, "encoding_in_http_1_0")


def test_list_members() -> None:
    assert list_members([b"", b"A, b,,", b" c\t"]) == [b"a", b"b", b"c"]
