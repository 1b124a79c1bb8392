"""Response heads: section C of the bad-input table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunnel.http1 import (
    BadMessage,
    Framing,
    Limits,
    ResponseReader,
)

Read = Callable[..., Any]
OK = b"HTTP/1.1 200 OK\r\n"
NEXT = OK + b"Content-Length: 4\r\n\r\nnext"


def ok(*fields: bytes, body: bytes = b"", line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((line, *fields, b"", body))


def test_plain_response(resp: Read) -> None:
    out = resp(ok(b"Server: x", b"Content-Length: 3", b"Set-Cookie: a", b"Set-Cookie: b", body=b"abc"))
    head = out.head
    assert (head.status, head.minor, head.reason, head.keep_alive, head.upgrade) == (200, 1, b"OK", True, None)
    assert head.fields == [(b"Server", b"x"), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")]
    assert (head.framing, head.length, out.body, out.done) == (Framing.LENGTH, 3, b"abc", True)


def test_a4_length_is_made_canonical(resp: Read) -> None:
    assert resp(ok(b"Content-Length: 003 ", body=b"abc")).head.length == 3


def test_c1_c3_a_100_comes_before_the_answer(resp: Read) -> None:
    out = resp(b"HTTP/1.1 100 Continue\r\n\r\n" + NEXT)
    assert [head.status for head in out.heads] == [100, 200]
    assert out.heads[0].framing == Framing.NONE
    assert out.bodies == [b"", b"next"]


def test_c2_an_answer_instead_of_100(resp: Read) -> None:
    out = resp(ok(b"Content-Length: 0", line=b"HTTP/1.1 413 Content Too Large"), b"POST")
    assert (out.head.status, out.done) == (413, True)


def test_c5_informational_heads_in_order(resp: Read) -> None:
    raw = ok(b"Link: a", b"Keep-Alive: x", line=b"HTTP/1.1 103 Early Hints") + ok(line=b"HTTP/1.1 102 Processing")
    out = resp(raw + NEXT)
    assert [head.status for head in out.heads] == [103, 102, 200]
    assert out.heads[0].fields == [(b"Link", b"a")]


def test_c5_too_many_informational_heads(resp: Read) -> None:
    limits = Limits(informational=3)
    early = ok(line=b"HTTP/1.1 103 Early Hints")
    assert len(resp(early * 3 + NEXT, limits=limits).heads) == 4
    assert resp(early * 4 + NEXT, limits=limits).error == (502, "too_many_informational")
    assert len(resp((early * 3 + NEXT) * 2, b"GET", b"GET", limits=limits).heads) == 8


def test_c6_head_response_with_a_length(resp: Read) -> None:
    out = resp(ok(b"Content-Length: 1000") + NEXT, b"HEAD", b"GET")
    assert out.bodies == [b"", b"next"]
    assert (out.heads[0].framing, out.heads[0].length) == (Framing.NONE, 1000)
    out = resp(ok(b"Transfer-Encoding: chunked") + NEXT, b"HEAD", b"GET")
    assert out.bodies == [b"", b"next"]


@pytest.mark.parametrize(
    ("method", "line", "length"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK", 3),
        (b"GET", b"HTTP/1.1 204 No Content", -1),
        (b"GET", b"HTTP/1.1 304 Not Modified", 3),
    ],
)
def test_c7_body_where_none_may_be(resp: Read, method: bytes, line: bytes, length: int) -> None:
    out = resp(ok(b"Content-Length: 3", line=line, body=b"abc"), method)
    assert (out.head.framing, out.head.length, out.body) == (Framing.NONE, length, b"")
    assert out.rest == b"abc"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (b"Content-Length: 3\r\nTransfer-Encoding: chunked", "length_and_encoding"),
        (b"Content-Length: 3\r\nContent-Length: 3", "duplicate_content_length"),
        (b"Content-Length: 3\r\ncontent-length: 4", "duplicate_content_length"),
        (b"Content-Length: 3, 3", "bad_content_length"),
        (b"Content-Length: +3", "bad_content_length"),
        (b"Content-Length:", "bad_content_length"),
        (b"A: b\nC: d", "bare_lf"),
        (b"A: b\r\n c", "folded_line"),
        (b"A: b\x00", "control_byte"),
        (b"A : b", "bad_field_line"),
        (b"A: b\rc", "bare_cr"),
        (b"no colon", "bad_field_line"),
        (b"Connection: content-length", "protected_field_nominated"),
    ],
)
def test_c8_malformed_fields(resp: Read, lines: bytes, reason: str) -> None:
    assert resp(ok(lines, body=b"abc")).error == (502, reason)


@pytest.mark.parametrize("line", [b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 100 Continue"])
def test_c8_contradiction_without_a_body(resp: Read, line: bytes) -> None:
    assert resp(ok(b"Content-Length: 3", b"Transfer-Encoding: chunked", line=line)).error == (
        502,
        "length_and_encoding",
    )


@pytest.mark.parametrize(
    "fields",
    [
        (b"Transfer-Encoding: chunked, gzip",), (b"Transfer-Encoding: gzip, chunked",), (b"Transfer-Encoding: gzip",),
        (b"Transfer-Encoding: identity",), (b"Transfer-Encoding: ,chunked",), (b"Transfer-Encoding:",),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), (b"Transfer-Encoding: xchunked",),
    ],
)  # fmt: skip
def test_c9_unknown_coding(resp: Read, fields: tuple[bytes, ...]) -> None:
    assert resp(ok(*fields, body=b"0\r\n\r\n")).error == (502, "bad_transfer_encoding")


def test_c9_coding_in_http_1_0(resp: Read) -> None:
    raw = ok(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", line=b"HTTP/1.0 200 OK")
    assert resp(raw).error == (502, "encoding_in_http_1_0")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"HTTP/1.1 000 x", "bad_status"), (b"HTTP/1.1 099 x", "bad_status"), (b"HTTP/1.1 600 x", "bad_status"),
        (b"HTTP/1.1 999", "bad_status"), (b"HTTP/1.1 20 OK", "bad_status_line"), (b"HTTP/1.1 2000 OK", "bad_status_line"),
        (b"HTTP/1.1  200 OK", "bad_status_line"), (b"HTTP/1.1 +20 OK", "bad_status_line"), (b"HTTP/1.1 2x0 OK", "bad_status_line"),
        (b"HTTP/2.0 200 OK", "bad_status_line"), (b"HTTP/1.2 200 OK", "bad_status_line"), (b"HTTP/0.9 200 OK", "bad_status_line"),
        (b"HTTP/2 200", "bad_status_line"), (b"http/1.1 200 OK", "bad_status_line"), (b"ICY 200 OK", "bad_status_line"),
        (b"RTSP/1.0 200 OK", "bad_status_line"), (b"HTTP/1.1\t200 OK", "bad_status_line"), (b"HTTP/1.1 200\tOK", "bad_status_line"),
        (b"<html>", "bad_status_line"), (b"", "bad_status_line"), (b" HTTP/1.1 200 OK", "bad_status_line"),
        (b"HTTP/1.1 200 a\x00b", "control_byte"), (b"HTTP/1.1 200 a\x1bb", "control_byte"), (b"HTTP/1.1 200 a\x7f", "control_byte"),
        (b"HTTP/1.1 200 a\rb", "bare_cr"), (b"HTTP/1.1 200 a\nb", "bare_lf"), (b"\x16\x03", "bad_status_line"),
    ],
)  # fmt: skip
def test_c13_malformed_status_line(resp: Read, line: bytes, reason: str) -> None:
    assert resp(ok(b"Content-Length: 0", line=line)).error == (502, reason)


@pytest.mark.parametrize("reason", [b" ", b"", b" Any Thing", b" \xff", b" a\tb", b"  x"])
def test_c13_reasons_that_are_taken(resp: Read, reason: bytes) -> None:
    head = resp(ok(b"Content-Length: 0", line=b"HTTP/1.1 299" + reason)).head
    assert (head.status, head.reason) == (299, reason[1:])


def switching(*fields: bytes) -> bytes:
    return ok(*fields, line=b"HTTP/1.1 101 Switching Protocols")


def test_c14_granted_upgrade(resp: Read) -> None:
    out = resp(
        switching(b"Upgrade: WebSocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: x", b"Tunnel-Hub: y")
        + b"\x81\x00"
    )
    assert (out.head.upgrade, out.head.framing, out.rest) == (b"websocket", Framing.NONE, b"\x81\x00")
    assert out.head.fields == [(b"Sec-WebSocket-Accept", b"x")]
    assert out.head.special[b"tunnel-hub"] == [b"y"]


@pytest.mark.parametrize(
    "fields", [(), (b"Upgrade: websocket",), (b"Connection: upgrade",), (b"Connection: upgrade", b"Upgrade: a, b")]
)
def test_c14_101_that_grants_nothing(resp: Read, fields: tuple[bytes, ...]) -> None:
    assert resp(switching(*fields)).error == (502, "bad_101")


@pytest.mark.parametrize(("asked", "fine"), [(b"websocket", True), (b"yamux", False), (None, True)])
def test_c14_101_for_another_protocol(asked: bytes | None, fine: bool) -> None:
    reader = ResponseReader()
    reader.expect(b"GET", asked)
    reader.feed(switching(b"Upgrade: websocket", b"Connection: upgrade"))
    if fine:
        assert reader.next_head() is not None
    else:
        with pytest.raises(BadMessage) as refused:
            reader.next_head()
        assert (refused.value.status, refused.value.reason) == (502, "other_protocol_in_101")


def test_c15_200_with_upgrade_is_ordinary(resp: Read) -> None:
    out = resp(ok(b"Upgrade: websocket", b"Connection: Upgrade", b"Content-Length: 3", body=b"abc"))
    assert (out.head.upgrade, out.head.fields, out.body) == (None, [], b"abc")


def test_c16_large_head(resp: Read, drive_resp: Read) -> None:
    limits = Limits(response_head=200)
    fields = (b"Content-Length: 0", b"X: " + b"x" * (200 - len(ok(b"Content-Length: 0", b"X: "))))
    assert resp(ok(*fields), limits=limits).error is None
    assert resp(ok(*fields, b"Y:"), limits=limits).error == (502, "head_too_large")
    big = ok(b"X: " + b"x" * 70_000)
    assert drive_resp([big], [b"GET"]).error == (502, "head_too_large")
    assert drive_resp([OK, *[b"X: %s\r\n" % (b"x" * 1000)] * 70], [b"GET"]).error == (502, "head_too_large")
    assert drive_resp([ok(b"X: " + b"x" * 60_000, b"Content-Length: 0")], [b"GET"]).error is None
    assert resp(ok(*[b"X:"] * 257)).error == (502, "too_many_fields")


def test_c17_answer_before_the_request_is_sent(resp: Read) -> None:
    out = resp(ok(b"Content-Length: 2", b"Connection: close", line=b"HTTP/1.1 401 Unauthorized", body=b"no"), b"POST")
    assert (out.head.status, out.head.keep_alive, out.body) == (401, False, b"no")


def test_c21_coded_bodies_are_not_touched(resp: Read) -> None:
    body = b"\x1f\x8b\x08\x00rubbish"
    out = resp(ok(b"Content-Encoding: gzip", b"Content-Length: %d" % len(body), body=body))
    assert (out.body, out.head.fields) == (body, [(b"Content-Encoding", b"gzip")])


@pytest.mark.parametrize("size", [b"0x3", b"3 ", b"", b"-1", b"g"])
def test_a12_malformed_chunk_size(resp: Read, size: bytes) -> None:
    raw = ok(b"Transfer-Encoding: chunked", body=size + b"\r\nabc\r\n0\r\n\r\n")
    assert resp(raw).error == (502, "bad_chunk_size")


def test_a18_trailers_count_against_the_response_head(resp: Read) -> None:
    limits = Limits(response_fields=3)
    raw = ok(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n")
    assert resp(raw + b"A: b\r\n" * 2 + b"\r\n", limits=limits).body == b"abc"
    assert resp(raw + b"A: b\r\n" * 3 + b"\r\n", limits=limits).error == (502, "too_many_fields")


def test_b21_b23_hop_by_hop_fields_do_not_go_on(resp: Read) -> None:
    hops = [
        b"Keep-Alive: x", b"Proxy-Authenticate: x", b"Proxy-Connection: x", b"TE: x", b"Trailer: x", b"Upgrade: x",
        b"Connection: x-mine", b"X-Mine: x", b"Tunnel-Error: refused",
    ]  # fmt: skip
    for line in (b"HTTP/1.1 200 OK", b"HTTP/1.1 103 Early Hints"):
        out = resp(ok(b"Via: 1.1 x", *hops, b"X_Y: 2", b"Content-Length: 0", line=line))
        assert out.heads[0].fields == [(b"Via", b"1.1 x"), (b"X_Y", b"2")]
        assert out.heads[0].special[b"tunnel-error"] == [b"refused"]


@pytest.mark.parametrize(
    ("line", "connection", "keep"),
    [
        (b"HTTP/1.1 200 OK", b"", True),
        (b"HTTP/1.1 200 OK", b"close", False),
        (b"HTTP/1.0 200 OK", b"", False),
        (b"HTTP/1.0 200 OK", b"keep-alive", True),
    ],
)
def test_keep_alive(resp: Read, line: bytes, connection: bytes, keep: bool) -> None:
    assert resp(ok(b"Content-Length: 0", b"Connection: " + connection, line=line)).head.keep_alive is keep
