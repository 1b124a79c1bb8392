"""Section A of the bad-input table: framing of requests, and what could be smuggled past it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunnel.http1 import BadMessage, Framing, Limits, RequestReader, Truncated

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


@pytest.mark.parametrize(
    "name",
    [
        b"Transfer_Encoding", b"Content_Length", b"content_length", b"Connection_", b"X_Forwarded_For", b"X-Forwarded_For",
        b"X_Proxy_Path", b"X_Real_IP", b"Keep_Alive", b"Http2_Settings", b"Proxy_Authorization", b"X_Origin_Host",
        b"Max_Forwards", b"Sec_WebSocket_Key", b"Tunnel_Error", b"X_Proxy_Host",
    ],
)  # fmt: skip
def test_a11_underscore_hides_a_role(req: Read, name: bytes) -> None:
    out = req(post(name + b": 3\r\n"))
    if name == b"Connection_":  # "connection-" has no role
        assert out.head.fields == [(name, b"3")]
    else:
        assert out.error == (400, "disguised_field_name")
        assert req(post(name + b": 3\r\n"), underscores="drop").error == (400, "disguised_field_name")


def test_a11_other_underscores_follow_the_setting(req: Read) -> None:
    raw = post(b"My_Field: 1\r\nPlain: a_b\r\n")
    assert req(raw).head.fields == [(b"My_Field", b"1"), (b"Plain", b"a_b")]
    assert req(raw, underscores="drop").head.fields == [(b"Plain", b"a_b")]
    assert req(raw, underscores="reject").error == (400, "underscore_in_field_name")


@pytest.mark.parametrize("body", [b"", b"x", b"hello" * 20])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"DELETE"])
def test_a19_body_on_any_method_keeps_its_framing(req: Read, method: bytes, body: bytes) -> None:
    raw = b"%s / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (method, len(body), body)
    out = req(raw + NEXT)
    assert (out.head.framing, out.head.length) == (Framing.LENGTH, len(body))
    assert out.bodies == [body, b""]
    assert out.heads[1].path == b"/next"
    out = req(b"%s / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % method + NEXT)
    assert [head.framing for head in out.heads] == [Framing.CHUNKED, Framing.NONE]


@pytest.mark.parametrize(
    ("raw", "end"),
    [
        (post(b"Content-Length: 5\r\n", b"hell"), "truncated_body"),
        (post(b"Content-Length: 5\r\n"), "truncated_body"),
        (post(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n"), "truncated_body"),
        (post(b"Transfer-Encoding: chunked\r\n", b"5\r\nhel"), "truncated_body"),
        (b"POST / HTT", "truncated_head"),
        (NEXT, ""),
    ],
)
def test_a20_peer_closes_inside_a_request(req: Read, raw: bytes, end: str) -> None:
    out = req(raw)
    assert out.error is None
    assert out.end == end
    assert out.done is (end != "truncated_body")


def test_a20_end_behind_a_body_not_yet_read() -> None:
    reader = RequestReader()
    reader.feed(post(b"Content-Length: 5\r\n", b"hello"))
    assert reader.next_head() is not None
    reader.eof()
    assert reader.read_body() == [b"hello"]
    assert reader.body_done


def test_a21_pipelined_requests_come_one_at_a_time_in_order() -> None:
    reader = RequestReader()
    count = 2000
    reader.feed(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(count)))
    before = reader.buffered
    for i in range(count):
        head = reader.next_head()
        assert head is not None
        assert head.path == b"/%d" % i
        assert reader.buffered < before
        before = reader.buffered
    assert reader.next_head() is None
    assert reader.buffered == 0


def test_a21_next_request_waits_for_the_body_before_it() -> None:
    reader = RequestReader()
    reader.feed(post(b"Content-Length: 3\r\n", b"abc" + NEXT))
    assert reader.next_head() is not None
    assert reader.next_head() is None
    assert not reader.body_done
    assert reader.read_body() == [b"abc"]
    head = reader.next_head()
    assert head is not None
    assert head.path == b"/next"


def test_a21_pipelined_with_bodies(req: Read) -> None:
    out = req(
        post(b"Content-Length: 3\r\n", b"abc") + post(b"Transfer-Encoding: chunked\r\n", b"1\r\nd\r\n0\r\n\r\n") + NEXT
    )
    assert out.bodies == [b"abc", b"d", b""]


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        post(b"Content-Length: 3\r\nConnection: foo, CLOSE\r\n", b"abc"),
        post(b"Transfer-Encoding: chunked\r\nConnection: close\r\n", b"0\r\n\r\n"),
    ],
)
def test_a22_bytes_behind_the_last_request_are_ignored(req: Read, first: bytes) -> None:
    out = req(first + NEXT + b"\x00rubbish")
    assert len(out.heads) == 1
    assert out.head.keep_alive is False
    assert (out.rest, out.end) == (b"", "")


def test_a23_unread_body_shows() -> None:
    reader = RequestReader()
    reader.feed(post(b"Content-Length: 10\r\n", b"abc"))
    assert reader.next_head() is not None
    assert (reader.body_done, reader.buffered) == (False, 3)


@pytest.mark.parametrize("fields", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("method", [b"POST", b"GET"])
@pytest.mark.parametrize("token", [b"websocket", b"yamux", b"h2c, websocket"])
def test_a24_upgrade_with_body(req: Read, method: bytes, fields: bytes, token: bytes) -> None:
    raw = b"%s / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s\r\nhello" % (method, token, fields)
    assert req(raw).error == (400, "upgrade_with_body")


def test_a24_empty_body_is_no_body(req: Read) -> None:
    out = req(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: yamux\r\nContent-Length: 0\r\n\r\n")
    assert out.head.upgrade == b"yamux"


WEBSOCKET = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
)


def test_a25_bytes_behind_an_upgrade_are_held(req: Read) -> None:
    out = req(WEBSOCKET + NEXT)
    assert len(out.heads) == 1
    assert out.head.upgrade == b"websocket"
    assert out.rest == NEXT
    names = [name for name, _ in out.head.fields]
    assert names == [b"Sec-WebSocket-Key", b"Sec-WebSocket-Version", b"Sec-WebSocket-Protocol"]
    assert out.head.special[b"sec-websocket-protocol"] == [b"chat"]


def test_a25_declined_upgrade_reads_on() -> None:
    reader = RequestReader()
    reader.feed(WEBSOCKET + NEXT)
    assert reader.next_head() is not None
    assert reader.next_head() is None
    assert reader.buffered == len(NEXT)
    reader.decline_upgrade()
    head = reader.next_head()
    assert head is not None
    assert head.path == b"/next"
    with pytest.raises(RuntimeError):
        reader.decline_upgrade()


def test_a25_taking_over_closes_the_reader() -> None:
    reader = RequestReader()
    reader.feed(WEBSOCKET + b"\x81\x00")
    assert reader.next_head() is not None
    reader.feed(b"\x81\x01x")
    assert reader.take_rest() == b"\x81\x00\x81\x01x"
    reader.feed(NEXT)
    assert (reader.next_head(), reader.buffered) == (None, 0)


def test_a25_no_taking_over_inside_a_body() -> None:
    reader = RequestReader()
    reader.feed(post(b"Content-Length: 10\r\n", b"abc"))
    assert reader.next_head() is not None
    with pytest.raises(RuntimeError):
        reader.take_rest()


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


@pytest.mark.parametrize("body", [b"", b"hello"])
def test_a26_h2c_is_served_as_http_1_1(req: Read, body: bytes) -> None:
    out = req(post(H2C + b"Content-Length: %d\r\n" % len(body), body) + NEXT)
    assert out.heads[0].upgrade is None
    assert out.heads[0].fields == []
    assert out.bodies == [body, b""]


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (b"GET", b"POST", None),
        (b"HTTP/1.1", b"HTTP/1.0", None),
        (b"keep-alive, Upgrade", b"keep-alive", None),
        (b"keep-alive, Upgrade", b"close, Upgrade", None),
        (b"Upgrade: WebSocket\r\n", b"", None),
        (b"Version: 13", b"Version: 8", (426, "websocket_version")),
        (b"Sec-WebSocket-Version: 13\r\n", b"", (400, "bad_websocket_version")),
        (b"Version: 13", b"Version: 13\r\nSec-WebSocket-Version: 13", (400, "bad_websocket_version")),
        (b"b25jZQ==", b"", (400, "bad_websocket_key")),
        (b"ZQ==", b"ZR==", (400, "bad_websocket_key")),
        (b"dGhl", b"dGh-", (400, "bad_websocket_key")),
        (b"dGhl", b"dGhldGhl", (400, "bad_websocket_key")),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"", (400, "bad_websocket_key")),
        (b"Connection: keep-alive", b"Connection: sec-websocket-key", (400, "bad_websocket_key")),
        (b"Upgrade: WebSocket", b"Upgrade: web socket", (400, "bad_upgrade")),
        (b"Upgrade: WebSocket", b"Upgrade: /13", (400, "bad_upgrade")),
    ],
)  # fmt: skip
def test_a26_only_a_whole_websocket_request_is_upgraded(
    req: Read, old: bytes, new: bytes, verdict: tuple[int, str] | None
) -> None:
    raw = WEBSOCKET.replace(old, new, 1)
    assert raw != WEBSOCKET
    out = req(raw)
    if verdict is None:
        assert out.head.upgrade is None
    else:
        assert out.error == verdict


def test_a26_refused_version_names_the_right_one() -> None:
    reader = RequestReader()
    reader.feed(WEBSOCKET.replace(b"Version: 13", b"Version: 12"))
    with pytest.raises(BadMessage) as refused:
        reader.next_head()
    assert (b"Sec-WebSocket-Version", b"13") in refused.value.fields


def test_a26_other_protocols_are_named(req: Read) -> None:
    out = req(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: YAMUX, h2c, x/2\r\n\r\nrest")
    assert (out.head.upgrade, out.rest) == (b"yamux", b"rest")


@pytest.mark.parametrize("target", [b"a:443", b"/", b"*", b"http://a/", b"a"])
def test_a27_connect_is_refused(req: Read, target: bytes) -> None:
    assert req(b"CONNECT %s HTTP/1.1\r\nHost: a\r\n\r\n" % target).error == (405, "connect_refused")


def test_a28_nothing_behind_a_refused_request_is_parsed(req: Read) -> None:
    out = req(post(b"Content-Length: x\r\n", NEXT) + NEXT)
    assert out.error == (400, "bad_content_length")
    assert out.heads == []
    out = req(post(b"Transfer-Encoding: chunked\r\n", b"x\r\n" + NEXT))
    assert out.error == (400, "bad_chunk_size")
    assert len(out.heads) == 1


def test_truncated_and_refused_are_told_apart() -> None:
    reader = RequestReader()
    reader.feed(b"GET / HT")
    assert reader.next_head() is None
    with pytest.raises(Truncated):
        reader.eof()
