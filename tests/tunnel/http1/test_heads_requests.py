"""Request heads: section B of the bad-input table, Expect and CONNECT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunnel.http1 import (
    BadMessage,
    Framing,
    Limits,
    RequestReader,
)

Read = Callable[..., Any]


def get(line: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join((line, *fields, b"", b""))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [((), "no_host"), ((b"Host: a", b"Host: a"), "duplicate_host"), ((b"Host: a", b"hOST: b"), "duplicate_host")],
)
def test_b1_host_missing_or_twice(req: Read, fields: tuple[bytes, ...], reason: str) -> None:
    assert req(get(b"GET / HTTP/1.1", *fields)).error == (400, reason)


def test_b1_http_1_0_needs_no_host(req: Read) -> None:
    assert req(get(b"GET / HTTP/1.0")).head.host == b""
    assert req(get(b"GET / HTTP/1.0", b"Host: a", b"Host: a")).error == (400, "duplicate_host")


@pytest.mark.parametrize(
    "host",
    [
        b"", b"a,b", b"a, b", b"u@a", b"u:p@a", b"a/b", b"/", b"a b", b"a:", b"a:x", b"a:0", b"a:65536", b"a:080808", b"a:8 0",
        b"a:-1", b":80", b"a:80:80", b".", b"..:80", b"a?b", b"a#b", b"a%2eb", b"a\\b", b"a;b", b"[::1", b"::1", b"[::1]80",
        b"[::1]:", b"[::1]:x", b"[]", b"[1.2.3.4]", b"[fe80::1%25eth0]", b"[v1.x]", b"[::1]:80:80", b"\xc3\xa4.example",
        b"[\xc3\xa4]", b"http://a", b"a*", b"(a)",
    ],
)  # fmt: skip
def test_b2_malformed_host(req: Read, host: bytes) -> None:
    assert req(get(b"GET / HTTP/1.1", b"Host: " + host)).error == (400, "bad_host")
    assert req(get(b"GET / HTTP/1.0", b"Host: " + host)).error == (400, "bad_host")


@pytest.mark.parametrize(
    "host",
    [
        b"a", b"A.Example.COM", b"a.example.", b"a:80", b"a.example:65535", b"127.0.0.1", b"127.0.0.1:8080", b"[::1]",
        b"[::1]:8080", b"[2001:DB8::1]", b"[::ffff:1.2.3.4]:1", b"my_app", b"xn--nxasmq6b", b"a-b.c",
    ],
)  # fmt: skip
def test_b3_host_is_kept_as_received(req: Read, host: bytes) -> None:
    out = req(get(b"GET / HTTP/1.1", b"Host:\t" + host + b" "))
    assert out.head.host == host
    assert out.head.special[b"host"] == [host]
    assert out.head.fields == []


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://a/", b"b"), (b"http://a:81/", b"a"), (b"http://a/", b"a:81"), (b"http://a:443/", b"a"), (b"https://a:80/", b"a"),
        (b"http://a.b/", b"a"), (b"http://[::1]/", b"[::2]"),
    ],
)  # fmt: skip
def test_b4_authority_is_not_host(req: Read, target: bytes, host: bytes) -> None:
    error = req(get(b"GET %s HTTP/1.1" % target, b"Host: " + host)).error
    assert error == (400, "authority_is_not_host")


@pytest.mark.parametrize(
    ("target", "host", "path", "query", "origin"),
    [
        (b"http://a", b"a", b"/", b"", b"/"),
        (b"http://a/", b"a", b"/", b"", b"/"),
        (b"HTTP://A.b:80/x/y?z?=1", b"a.B", b"/x/y", b"z?=1", b"/x/y?z?=1"),
        (b"https://a/x", b"a:443", b"/x", b"", b"/x"),
        (b"http://a?x=/y", b"a", b"/", b"x=/y", b"/?x=/y"),
        (b"http://a./x?", b"a", b"/x", b"", b"/x?"),
        (b"http://[::1]:8080//x", b"[::1]:8080", b"//x", b"", b"//x"),
    ],
)
def test_b4_equal_authority_is_taken(
    req: Read, target: bytes, host: bytes, path: bytes, query: bytes, origin: bytes
) -> None:
    head = req(get(b"GET %s HTTP/1.1" % target, b"Host: " + host)).head
    assert (head.target, head.path, head.query, head.origin_form()) == (target, path, query, origin)
    assert head.host == target.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]


@pytest.mark.parametrize("authority", [b"", b"u@a", b"u:p@a", b"a:", b"a,b", b":80"])
def test_b4_malformed_authority(req: Read, authority: bytes) -> None:
    assert req(get(b"GET http://%s/ HTTP/1.1" % authority, b"Host: a")).error == (400, "bad_authority")


def test_b4_absolute_target_is_the_host_of_http_1_0(req: Read) -> None:
    assert req(get(b"GET http://a:8080/ HTTP/1.0")).head.host == b"a:8080"


@pytest.mark.parametrize(
    "target",
    [b"*", b"foo", b"foo/bar", b"a:80", b"?x", b"ftp://a/", b"://a/", b"http:/a", b"http:a", b"*x", b"javascript:x"],
)
def test_b7_wrong_form_of_target(req: Read, target: bytes) -> None:
    assert req(get(b"GET %s HTTP/1.1" % target, b"Host: a")).error == (400, "bad_target")


def test_b7_options_for_the_whole_server(req: Read) -> None:
    head = req(get(b"OPTIONS * HTTP/1.1", b"Host: a")).head
    assert (head.path, head.query, head.origin_form()) == (b"*", b"", b"*")
    head = req(get(b"OPTIONS http://a HTTP/1.1", b"Host: a")).head
    assert (head.path, head.origin_form()) == (b"*", b"*")
    head = req(get(b"OPTIONS /* HTTP/1.1", b"Host: a")).head
    assert head.path == b"/*"


@pytest.mark.parametrize("target", [b"/#", b"/a#b", b"#", b"http://a/#", b"/?#x"])
def test_b8_fragment(req: Read, target: bytes) -> None:
    assert req(get(b"GET %s HTTP/1.1" % target, b"Host: a")).error == (400, "fragment_in_target")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (b"/a\\b", "bad_target"), (b"/\xff", "bad_target"), (b"/\xc3\xa4", "bad_target"), (b"/a b", "bad_request_line"),
        (b"/\t", "bad_target"), (b"/\x00", "control_byte"), (b"/\x1b[0m", "control_byte"), (b"/\x7f", "control_byte"),
        (b"", "bad_target"), (b" /", "bad_request_line"), (b"/ ", "bad_request_line"), (b"/\rx", "bare_cr"), (b"/\nx", "bare_lf"),
    ],
)  # fmt: skip
def test_b9_bytes_that_no_target_has(req: Read, target: bytes, reason: str) -> None:
    assert req(get(b"GET %s HTTP/1.1" % target, b"Host: a")).error == (400, reason)


@pytest.mark.parametrize(
    "target",
    [
        b"//evil", b"///", b"/%2e%2e/%2E", b"/../a/./b", b"/%00", b"/%0d%0aX: y", b"/a?b=%23&&c;d=?", b"/?", b"/a%zz%",
        b"/{a}|^`<>\"[]'()", b"/a;b,c@d:e=f$g!h~i*j+k", b"/http://b/",
    ],
)  # fmt: skip
def test_b10_target_is_kept_byte_for_byte(req: Read, target: bytes) -> None:
    if b" " in target:
        target = target.replace(b" ", b"%20")
    head = req(get(b"GET %s HTTP/1.1" % target, b"Host: a")).head
    assert head.target == head.origin_form() == target
    path, mark, query = target.partition(b"?")
    assert (head.path, head.query) == (path, query)
    assert head.path + mark + head.query == target


def test_b11_long_target(req: Read) -> None:
    limits = Limits(target=100)
    assert req(get(b"GET /%s HTTP/1.1" % (b"x" * 99), b"Host: a"), limits).error is None
    assert req(get(b"GET /%s HTTP/1.1" % (b"x" * 100), b"Host: a"), limits).error == (414, "target_too_long")
    assert req(get(b"GET /%s" % (b"x" * 10_000))).error == (414, "target_too_long")


def test_b11_long_field_line(req: Read) -> None:
    limits = Limits(line=100)
    assert req(get(b"GET / HTTP/1.1", b"Host: a", b"X: " + b"x" * 97), limits).error is None
    assert req(get(b"GET / HTTP/1.1", b"Host: a", b"X: " + b"x" * 98), limits).error == (431, "field_line_too_long")
    assert req(b"GET / HTTP/1.1\r\nX: " + b"x" * 9000).error == (431, "field_line_too_long")


def test_b11_long_head(req: Read) -> None:
    raw = get(b"GET / HTTP/1.1", b"Host: a", *[b"X: " + b"x" * 100] * 10)
    assert req(raw, Limits(head=len(raw))).error is None
    assert req(raw, Limits(head=len(raw) - 1)).error == (431, "head_too_large")
    assert req(raw[:-4], Limits(head=len(raw) - 5)).error == (431, "head_too_large")


def test_b11_many_fields(req: Read) -> None:
    limits = Limits(fields=5)
    for name in (b"X", b"Host: a\r\nX"):
        fields = [name + b": y", *[b"X: %d" % i for i in range(4 - name.count(b"\n"))]]
        line = b"GET / HTTP/1.0"
        assert req(get(line, *fields), limits).error is None
        assert req(get(line, *fields, b"Y: z"), limits).error == (431, "too_many_fields")


def test_b11_is_refused_while_it_grows(drive_req: Read) -> None:
    assert drive_req([b"GET / HTTP/1.1\r\n", *[b"X: y\r\n"] * 101]).error == (431, "too_many_fields")
    assert drive_req([b"GET / HTTP/1.1\r\n", *[b"X: %s\r\n" % (b"y" * 1000)] * 33]).error == (431, "head_too_large")
    assert drive_req([b"GET /", *[b"x" * 1000] * 9]).error == (414, "target_too_long")


def test_b12_small_pieces_of_a_head_are_each_looked_at_once(drive_req: Read) -> None:
    raw = get(b"GET / HTTP/1.1", b"Host: a", *[b"X: " + b"x" * 7000] * 4)
    out = drive_req([raw[i : i + 1] for i in range(len(raw))])
    assert len(out.head.fields) == 4


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        (b"GET /", (400, "bad_request_line")),
        (b"GET", (400, "bad_request_line")),
        (b"GET / ", (400, "bad_version")),
        (b"GET / HTTP/2.0", (505, "http_version")),
        (b"GET / HTTP/0.9", (505, "http_version")),
        (b"GET / RTSP/1.0", (505, "http_version")),
        (b"GET / ICE/1.0", (505, "http_version")),
        (b"GET / HTTP/3.0", (505, "http_version")),
    ],
)
def test_b13_other_versions_and_none(req: Read, line: bytes, verdict: tuple[int, str]) -> None:
    assert req(get(line, b"Host: a")).error == verdict


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        (b"HTTP/1.2", (505, "http_version")),
        (b"HTTP/1.9", (505, "http_version")),
        (b"http/1.1", (400, "bad_version")),
        (b"HTTP/01.1", (400, "bad_version")),
        (b"HTTP/1.10", (400, "bad_version")),
        (b"HTTP/1", (400, "bad_version")),
        (b"HTTP/1.1 x", (400, "bad_request_line")),
        (b"HTTP/1.1 ", (400, "bad_request_line")),
        (b"HTTP/1.1\t", (400, "bad_version")),
        (b"HTTP/1,1", (400, "bad_version")),
        (b"\xef\xbc\xa8TTP/1.1", (400, "bad_version")),
        (b"HTTP/1.1" + b"1" * 9000, (400, "bad_request_line")),
    ],
)
def test_b14_malformed_version(req: Read, version: bytes, verdict: tuple[int, str]) -> None:
    assert req(get(b"GET / " + version, b"Host: a")).error == verdict


def silent(raw: bytes) -> bool:
    reader = RequestReader()
    reader.feed(raw)
    with pytest.raises(BadMessage) as refused:
        reader.next_head()
    return refused.value.silent


def test_b15_http_2_preface(req: Read) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    assert req(preface).error == (505, "h2_preface")
    assert silent(preface)


def test_b15_tls_on_the_plain_port(req: Read) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    assert req(hello).error == (400, "tls_on_plain_port")
    assert req(hello[:1]).error == (400, "tls_on_plain_port")
    assert silent(hello)
    assert not silent(b"GET / HTTP/9.9\r\n")


@pytest.mark.parametrize("first", [b"\x00", b"\xff", b" GET", b"\tGET", b"(", b"{}", b"\x7f", b"@", b":", b'"'])
def test_b15_first_byte_that_begins_no_method(req: Read, first: bytes) -> None:
    assert req(first).error == (400, "bad_first_byte")
    assert req(get(first + b" / HTTP/1.1", b"Host: a")).error == (400, "bad_first_byte")


@pytest.mark.parametrize(
    "method", [b"FOO", b"get", b"Get", b"G", b"GETX", b"PRI", b"SOURCE", b"DESCRIBE", b"X-A.b", b"A" * 40]
)
def test_b16_unknown_method(req: Read, method: bytes) -> None:
    assert req(get(method + b" / HTTP/1.1", b"Host: a")).error == (501, "unknown_method")


def test_b16_long_method_is_refused_early(req: Read) -> None:
    assert req(b"A" * 33).error == (501, "unknown_method")
    assert req(b"A" * 32).error is None


@pytest.mark.parametrize("method", [b"GE(T", b"GET\xff", b"GET\t", b"G@T"])
def test_b16_malformed_method(req: Read, method: bytes) -> None:
    assert req(get(method + b" / HTTP/1.1", b"Host: a")).error == (400, "bad_request_line")


def test_b16_every_method_of_the_list_is_taken(drive_req: Read) -> None:
    from tunnel.http1.startline import METHODS

    for method in METHODS:
        assert drive_req([get(method + b" / HTTP/1.1", b"Host: a")]).head.method == method


def test_b17_trace_is_read(req: Read) -> None:
    head = req(get(b"TRACE / HTTP/1.1", b"Host: a", b"Max-Forwards: 0")).head
    assert (head.method, head.special[b"max-forwards"], head.fields) == (b"TRACE", [b"0"], [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"X : y", "bad_field_line"), (b"X\t: y", "bad_field_line"), (b"no colon", "bad_field_line"), (b": y", "bad_field_line"),
        (b"X[: y", "bad_field_line"), (b"X\xff: y", "bad_field_line"), (b"X(): y", "bad_field_line"), (b"X@: y", "bad_field_line"),
        (b"X\x00: y", "control_byte"), (b"X: a\x00", "control_byte"), (b"X: \x01", "control_byte"), (b"X: \x1f", "control_byte"),
        (b"X: a\x7f", "control_byte"), (b"X: a\x0bb", "control_byte"), (b"X: a\rb", "bare_cr"), (b"X: a\nb", "bare_lf"),
        (b"X: a\nY: b", "bare_lf"), (b" X: y", "folded_line"), (b"\tX: y", "folded_line"), (b"Y: a\r\n b", "folded_line"),
        (b"Y: a\r\n\tb", "folded_line"), (b"Y: a\r\n ", "folded_line"), (b"Content-Length : 3", "bad_field_line"),
        (b"Y: a\r", "bare_cr"),
    ],
)  # fmt: skip
def test_b18_malformed_field_line(req: Read, line: bytes, reason: str) -> None:
    assert req(get(b"GET / HTTP/1.1", b"Host: a", line)).error == (400, reason)
    assert req(get(b"GET / HTTP/1.1", line, b"Host: a")).error == (400, reason)


def test_b18_line_before_the_fields(req: Read) -> None:
    assert req(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n").error == (400, "folded_line")
    assert req(b"GET / HTTP/1.1\nHost: a\n\n").error == (400, "bare_lf")


def test_b19_obs_text_is_carried_unchanged(req: Read) -> None:
    value = bytes(range(0x80, 0x100))
    assert req(get(b"GET / HTTP/1.1", b"Host: a", b"X: " + value)).head.fields == [(b"X", value)]


@pytest.mark.parametrize("lines", [1, 2])
def test_b20_two_empty_lines_are_borne(req: Read, lines: int) -> None:
    raw = b"\r\n" * lines + get(b"GET / HTTP/1.1", b"Host: a")
    assert len(req(raw).heads) == 1
    assert len(req(raw * 3).heads) == 3


def test_b20_empty_line_behind_a_body(req: Read) -> None:
    post = get(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 3") + b"abc"
    assert len(req(post + b"\r\n" + post).heads) == 2


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\r\n\r\n\r\n", "empty_lines"),
        (b"\r\n\r\n\r", "empty_lines"),
        (b"\n", "bare_lf"),
        (b"\r\n\n", "bare_lf"),
        (b"\r\r\n", "bare_cr"),
        (b"\rGET", "bare_cr"),
    ],
)
def test_b20_more_than_two_empty_lines(req: Read, raw: bytes, reason: str) -> None:
    assert req(raw + get(b"GET / HTTP/1.1", b"Host: a")).error == (400, reason)


@pytest.mark.parametrize(
    "connection",
    [
        (b"Connection: X-Forwarded-For, X-Mine",),
        (b"Connection: x-mine", b"Connection: x-forwarded-for"),
        (b"Connection:", b"Connection: ,x-mine,,X-FORWARDED-FOR,"),
        (b"Connection: close, X-Mine, X-Forwarded-For, keep-alive, X-Absent",),
    ],
)
def test_b21_nominated_fields_are_removed(req: Read, connection: tuple[bytes, ...]) -> None:
    raw = get(
        b"GET / HTTP/1.1", b"Host: a", *connection, b"X-Mine: 1", b"x-MINE: 2", b"X-Other: 3", b"X-Forwarded-For: 4"
    )
    head = req(raw).head
    assert head.fields == [(b"X-Other", b"3")]
    assert b"x-forwarded-for" not in head.special


@pytest.mark.parametrize("name", [b"Content-Length", b"transfer-encoding", b"HOST", b"close, host"])
def test_b22_nominating_framing(req: Read, name: bytes) -> None:
    raw = get(b"GET / HTTP/1.1", b"Host: a", b"Connection: " + name)
    assert req(raw).error == (400, "protected_field_nominated")


def test_b23_hop_by_hop_fields_do_not_go_on(req: Read) -> None:
    hops = [
        b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"Proxy-Authorization: x", b"Proxy-Whatever: x", b"Proxy: x",
        b"TE: trailers, deflate", b"Trailer: X", b"Upgrade: x", b"HTTP2-Settings: x", b"Connection: te",
    ]  # fmt: skip
    head = req(get(b"GET / HTTP/1.1", b"Host: a", b"A: 1", *hops, b"B: 2")).head
    assert head.fields == [(b"A", b"1"), (b"B", b"2")]
    assert head.special[b"te"] == [b"trailers, deflate"]


def test_b24_forwarding_fields_are_set_apart(req: Read) -> None:
    names = [
        b"X-Forwarded-For",
        b"X-Forwarded-Proto",
        b"X-Forwarded-Anything",
        b"Forwarded",
        b"X-Real-IP",
        b"X-Origin-Host",
        b"Via",
    ]
    head = req(get(b"GET / HTTP/1.1", b"Host: a", *[name + b": x" for name in names])).head
    assert head.fields == []
    assert all(head.special[name.lower()] == [b"x"] for name in names)


def test_b24_proxy_fields_need_trust(req: Read) -> None:
    raw = get(b"GET / HTTP/1.1", b"Host: a", b"X-Proxy-Host: t", b"X-Proxy-Path: /p", b"X-Proxy-Other: o")
    head = req(raw).head
    assert head.fields == []
    assert sorted(head.special) == [b"host", b"x-proxy-host"]
    head = req(raw, trusted=True).head
    assert head.fields == []
    assert (head.special[b"x-proxy-path"], head.special[b"x-proxy-other"]) == ([b"/p"], [b"o"])


def test_b26_via_is_told(req: Read) -> None:
    head = req(get(b"GET / HTTP/1.1", b"Host: a", b"Via: 1.1 x", b"via: 1.1 hub")).head
    assert head.special[b"via"] == [b"1.1 x", b"1.1 hub"]


def test_c1_expect_continue(req: Read) -> None:
    raw = get(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 3", b"Expect: 100-Continue") + b"abc"
    head = req(raw).head
    assert head.expect_continue
    assert head.fields == []
    assert not req(raw.replace(b": 3", b": 0")[:-3]).head.expect_continue
    assert not req(raw.replace(b"Content-Length: 3\r\n", b"")[:-3]).head.expect_continue


@pytest.mark.parametrize(
    "expect",
    [b"100-continue, x", b"x", b"", b"100 continue", b"y 100-continue", b"100-continue;q=1", b"\xa0100-continue"],
)
def test_c4_other_expectations(req: Read, expect: bytes) -> None:
    raw = get(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 3", b"Expect: " + expect) + b"abc"
    assert req(raw).error == (417, "bad_expect")
    head = req(raw.replace(b"HTTP/1.1", b"HTTP/1.0")).head
    assert not head.expect_continue
    assert head.fields == []


def test_c4_expect_twice(req: Read) -> None:
    raw = get(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 3", b"Expect: 100-continue", b"Expect: 100-continue")
    assert req(raw + b"abc").error == (417, "bad_expect")


@pytest.mark.parametrize(
    ("minor", "connection", "keep"),
    [
        (1, b"", True), (1, b"close", False), (1, b"keep-alive, close", False), (1, b"keep-alive", True), (1, b"CLOSE", False),
        (0, b"", False), (0, b"keep-alive", True), (0, b"Keep-Alive", True), (0, b"keep-alive, close", False), (1, b"closed", True),
    ],
)  # fmt: skip
def test_keep_alive(req: Read, minor: int, connection: bytes, keep: bool) -> None:
    head = req(get(b"GET / HTTP/1.%d" % minor, b"Host: a", b"Connection: " + connection)).head
    assert (head.keep_alive, head.minor, head.framing) == (keep, minor, Framing.NONE)


def test_field_order_spelling_and_repeats_are_kept(req: Read) -> None:
    fields = [(b"b", b"1"), (b"A", b"2"), (b"b", b"3"), (b"B", b""), (b"A", b"2")]
    raw = get(
        b"GET / HTTP/1.1",
        *[b"%b:%b" % field for field in fields[:2]],
        b"Host: a",
        *[b"%b: %b" % field for field in fields[2:]],
    )
    assert req(raw).head.fields == fields


@pytest.mark.parametrize("target", [b"a:443", b"/", b"*", b"http://a/", b"a"])
def test_a27_connect_is_refused(req: Read, target: bytes) -> None:
    assert req(b"CONNECT %s HTTP/1.1\r\nHost: a\r\n\r\n" % target).error == (405, "connect_refused")
