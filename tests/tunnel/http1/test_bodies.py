"""Chunked bodies: rows A12 to A18, and the flood of tiny chunks of row D14."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunnel.http1 import (
    Limits,
    RequestReader,
)

Read = Callable[..., Any]
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b"0\r\n\r\n", b""),
        (b"000\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
        (b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"3\r\n\r\n\n\r\n1\r\n\r\r\n0\r\n\r\n", b"\r\n\n\r"),
        (b"1;a\r\nx\r\n1;a=b;c=d\r\ny\r\n0;z\r\n\r\n", b"xy"),
        (b'1;a="b c;\\"\\\\ \t\xff"\r\nx\r\n0\r\n\r\n', b"x"),
        (b"1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", b"x"),
        (b"fff\r\n" + b"x" * 4095 + b"\r\n0\r\n\r\n", b"x" * 4095),
    ],
)
def test_well_formed_bodies(req: Read, body: bytes, data: bytes) -> None:
    out = req(HEAD + body + NEXT)
    assert out.error is None
    assert out.bodies == [data, b""]
    assert out.heads[1].path == b"/next"


@pytest.mark.parametrize(
    "size", [b"0x3", b"+3", b"-3", b"0_3", b" 3", b"3 ", b"3\t", b"", b"0" * 16 + b"3", b"g", b"\xb3", b"3,"]
)
def test_a12_malformed_size(req: Read, size: bytes) -> None:
    assert req(HEAD + size + b"\r\nabc\r\n0\r\n\r\n").error == (400, "bad_chunk_size")


@pytest.mark.parametrize("space", [b"3 ;a=b", b"3; a=b", b"3;a =b", b"3;a= b"])
def test_a12_blanks_around_an_extension(req: Read, space: bytes) -> None:
    error = req(HEAD + space + b"\r\nabc\r\n0\r\n\r\n").error
    assert error in ((400, "bad_chunk_size"), (400, "bad_chunk_extension"))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"3\nabc\r\n0\r\n\r\n", "bad_chunk_line"),
        (b"3\rabc\r\n0\r\n\r\n", "bad_chunk_line"),
        (b"3\r\nabc\n0\r\n\r\n", "bad_chunk_line"),
        (b"3\r\nabc\r0\r\n\r\n", "bad_chunk_line"),
        (b"3\r\nabc\r\r\n0\r\n\r\n", "bad_chunk_line"),
        (b"3\r\nabcd\r\n0\r\n\r\n", "bad_chunk_end"),
        (b"3\r\nabc0\r\n\r\n", "bad_chunk_end"),
        (b"3;a\nabc\r\n0\r\n\r\n", "bad_chunk_line"),
        (b"3;a\rb\r\nabc\r\n0\r\n\r\n", "bad_chunk_line"),
        (b"3\r\nabc\r\n0\n\r\n", "bad_chunk_line"),
        (b"3\r\nabc\r\n0\r\n\n", "bad_chunk_line"),
        (b"3\r\nabc\r\n0\r\n\rX", "bad_chunk_line"),
        (b"3\r\nabc\r\n0\r\nA: b\n\r\n", "bad_chunk_line"),
        (b"3\r\nabc\r\n0\r\nA: b\rc\r\n\r\n", "bad_chunk_line"),
        (b"3\r\nabc\r\n\r\n0\r\n\r\n", "bad_chunk_size"),
    ],
)  # fmt: skip
def test_a13_bare_line_ends(req: Read, body: bytes, reason: str) -> None:
    assert req(HEAD + body + NEXT).error == (400, reason)


@pytest.mark.parametrize(
    ("extension", "reason"),
    [
        (b";", "bad_chunk_extension"),
        (b";;a", "bad_chunk_extension"),
        (b";a=", "bad_chunk_extension"),
        (b";=b", "bad_chunk_extension"),
        (b';a="b', "bad_chunk_extension"),
        (b';a="b"c', "bad_chunk_extension"),
        (b";a\x00", "bad_chunk_line"),
        (b";a\x7f", "bad_chunk_line"),
        (b';a="\r\n"', "bad_chunk_extension"),
        (b';a="\n"', "bad_chunk_line"),
        (b";\xff", "bad_chunk_extension"),
    ],
)
def test_a14_malformed_extension(req: Read, extension: bytes, reason: str) -> None:
    assert req(HEAD + b"3" + extension + b"\r\nabc\r\n0\r\n\r\n").error == (400, reason)


def test_a15_one_long_extension(req: Read) -> None:
    assert req(HEAD + b"3;" + b"a" * 9000 + b"\r\nabc\r\n").error == (400, "chunk_overhead")


def test_a15_long_extension_that_never_ends(drive_req: Read) -> None:
    pieces = [HEAD, b"ffffffffffffffff;", *[b"a" * 1000] * 100]
    assert drive_req(pieces).error == (400, "chunk_overhead")


def test_a15_tiny_chunks_with_extensions_add_up(req: Read) -> None:
    limits = Limits(chunk_overhead=200)
    chunk = b"1;" + b"a" * 30 + b"\r\nx\r\n"  # 36 bytes of framing, of which 18 are free
    assert req(HEAD + chunk * 11 + b"0\r\n\r\n", limits).body == b"x" * 11
    assert req(HEAD + chunk * 12 + b"0\r\n\r\n", limits).error == (400, "chunk_overhead")


def test_a15_padded_sizes_add_up(req: Read) -> None:
    limits = Limits(chunk_overhead=5)
    chunk = b"0000000000000001\r\nx\r\n"  # 20 bytes of framing, of which 18 are free
    assert req(HEAD + chunk * 2 + b"0\r\n\r\n", limits).body == b"xx"
    assert req(HEAD + chunk * 3 + b"0\r\n\r\n", limits).error == (400, "chunk_overhead")


def test_a15_ordinary_chunks_cost_nothing(drive_req: Read) -> None:
    out = drive_req([HEAD, *[b"1\r\nx\r\n" * 1000] * 50, b"0\r\n\r\n"], Limits(chunk_overhead=0))
    assert out.body == b"x" * 50_000


@pytest.mark.parametrize("name", [b"Content-Length", b"transfer-encoding", b"Content_Length"])
def test_a16_framing_in_trailer(req: Read, name: bytes) -> None:
    assert req(HEAD + b"0\r\n%s: 3\r\n\r\nabc" % name).error == (400, "framing_in_trailer")


@pytest.mark.parametrize("name", [b"Host", b"Authorization", b"Cookie", b"X-Forwarded-For", b"X-Proxy-Path", b"Plain"])
def test_a17_trailers_are_dropped(req: Read, name: bytes) -> None:
    out = req(HEAD + b"1\r\nx\r\n0\r\n%s: evil\r\n\r\n" % name + NEXT)
    assert out.error is None
    assert out.heads[0].host == b"a"
    assert out.heads[0].fields == out.heads[1].fields == []
    assert name.lower() not in out.heads[0].special or name == b"Host"


@pytest.mark.parametrize("line", [b"no colon", b" folded: a", b"a : b", b": b", b"a[: b", b"a: b\x00", b"\xff: a"])
def test_a17_malformed_trailer(req: Read, line: bytes) -> None:
    error = req(HEAD + b"0\r\nA: b\r\n%s\r\n\r\n" % line).error
    assert error in ((400, "bad_trailer"), (400, "bad_chunk_line"))


def test_a18_trailers_share_the_field_budget(drive_req: Read, req: Read) -> None:
    assert drive_req([HEAD, b"0\r\n", b"A: b\r\n" * 20_000, b"\r\n"]).error == (431, "too_many_fields")
    limits = Limits(fields=4)
    assert req(HEAD + b"0\r\n" + b"A: b\r\n" * 2 + b"\r\n", limits).error is None
    assert req(HEAD + b"0\r\n" + b"A: b\r\n" * 3 + b"\r\n", limits).error == (431, "too_many_fields")


def test_a18_trailers_share_the_byte_budget(req: Read) -> None:
    limits = Limits(head=len(HEAD) + 20)
    assert req(HEAD + b"0\r\n" + b"A: 34567\r\n" + b"B: 345\r\n\r\n", limits).error is None
    assert req(HEAD + b"0\r\n" + b"A: 34567\r\n" + b"B: 34567890\r\n\r\n", limits).error == (431, "head_too_large")
    assert req(HEAD + b"0\r\nA: " + b"x" * 9000 + b"\r\n\r\n").error == (431, "field_line_too_long")


def test_a18_a_full_head_leaves_room_for_no_trailers(req: Read) -> None:
    limits = Limits(head=len(HEAD))
    assert req(HEAD + b"0\r\n\r\n", limits).error is None
    assert req(HEAD + b"0\r\nA:\r\n\r\n", limits).error == (431, "head_too_large")


def test_d14_flood_of_tiny_chunks_is_one_read() -> None:
    reader = RequestReader()
    reader.feed(HEAD)
    assert reader.next_head() is not None
    reader.feed(b"1\r\nx\r\n" * 10_922)
    assert sum(map(len, reader.read_body())) == 10_922
    assert reader.buffered == 0


def test_large_pieces_are_views_of_what_came() -> None:
    reader = RequestReader()
    reader.feed(HEAD)
    assert reader.next_head() is not None
    received = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    reader.feed(received)
    (piece,) = reader.read_body()
    assert isinstance(piece, memoryview)
    assert piece.obj is received
