from __future__ import annotations

import pytest

from agentd.heads import informational_head, request_id_of, stream_head, target_head
from tunnel.http1 import RequestReader, ResponseReader
from tunnel.targets import parse_target

TARGET = parse_target("http://app.internal:8080/base")


def request(fields: bytes, first: bytes = b"GET /api/v1/proxy/a/x HTTP/1.1\r\nHost: visitor\r\nX-Proxy-Path: /x"):
    reader = RequestReader(trusted=True)
    reader.feed(first + b"\r\n" + fields + b"\r\n")
    head = reader.next_head()
    assert head is not None
    return head


def response(data: bytes, method: bytes = b"GET"):
    reader = ResponseReader()
    reader.expect(method)
    reader.feed(data)
    head = reader.next_head()
    assert head is not None
    return head


def lines(head: bytes) -> list[bytes]:
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].split(b"\r\n")


def test_request_for_the_target():
    head = request(b"Accept: */*\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nVia: 1.1 hubd-1\r\n")
    assert lines(target_head(head, TARGET, keep_host=False)) == [
        b"GET /base/x HTTP/1.1",
        b"Host: app.internal:8080",
        b"Accept: */*",
        b"X-Forwarded-For: 1.2.3.4",
        b"X-Forwarded-Proto: https",
        b"Via: 1.1 hubd-1",
        b"X-Forwarded-Host: visitor",
        b"X-Origin-Host: app.internal:8080",
    ]


def test_host_can_be_kept():
    assert b"\r\nHost: visitor\r\n" in target_head(request(b""), TARGET, keep_host=True)
    old = request(b"", b"GET / HTTP/1.0")
    assert b"\r\nHost: app.internal:8080\r\n" in target_head(old, TARGET, keep_host=True)


def test_forwarded_host_of_the_hub_is_passed_on():
    head = target_head(request(b"X-Forwarded-Host: first\r\n"), TARGET, keep_host=False)
    assert head.count(b"X-Forwarded-Host") == 1
    assert b"X-Forwarded-Host: first\r\n" in head


def test_origin_host_is_what_was_asked_for():
    head = target_head(
        request(b"X-Proxy-Host: APP.internal:8080\r\nX-Origin-Host: forged\r\n"), TARGET, keep_host=False
    )
    assert head.count(b"X-Origin-Host") == 1
    assert b"X-Origin-Host: APP.internal:8080\r\n" in head


def test_b23_hop_by_hop_and_inner_fields_end_here():
    fields = (
        b"Connection: X-Named\r\nX-Named: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\nTrailer: a\r\nProxy-Authorization: b\r\n"
        b"Proxy-Connection: c\r\nX-Proxy-Host: h\r\nX-Proxy-Other: d\r\nTunnel-Thing: e\r\nProxy: f\r\nHTTP2-Settings: g\r\n"
    )
    head = target_head(request(fields), TARGET, keep_host=False).lower()
    for name in (b"named", b"keep-alive", b"te:", b"trailer", b"proxy", b"tunnel", b"http2", b"connection"):
        assert name not in head


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        (b"Content-Length: 0005\r\n", b"Content-Length: 5"),
        (b"Transfer-Encoding: Chunked\r\n", b"Transfer-Encoding: chunked"),
        (b"Content-Length: 5\r\nExpect: 100-Continue\r\n", b"Content-Length: 5\r\nExpect: 100-continue"),
    ],
)
def test_framing_is_written_anew(fields, wanted):
    head = request(fields, b"POST / HTTP/1.1\r\nHost: v")
    assert target_head(head, TARGET, keep_host=False).endswith(b"\r\n" + wanted + b"\r\n\r\n")


def test_upgrade_is_asked_for():
    fields = b"Connection: upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    head = target_head(request(fields), TARGET, keep_host=False)
    assert head.endswith(b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert head.count(b"Sec-WebSocket-Key") == 1


def test_response_for_the_stream():
    head = response(
        b"HTTP/1.0 200 Anything\r\nContent-Length: 007\r\nConnection: keep-alive\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n"
    )
    assert lines(stream_head(head, chunked=False)) == [
        b"HTTP/1.1 200 OK", b"Set-Cookie: a", b"Set-Cookie: b", b"Content-Length: 7",
    ]  # fmt: skip
    head = response(b"HTTP/1.1 299 Odd\r\n\r\n")
    assert lines(stream_head(head, chunked=True)) == [b"HTTP/1.1 299 Success", b"Transfer-Encoding: chunked"]
    assert lines(stream_head(response(b"HTTP/1.1 204 N\r\nContent-Length: 0\r\n\r\n"), chunked=False)) == [
        b"HTTP/1.1 204 No Content"
    ]


def test_informational_heads():
    assert informational_head(response(b"HTTP/1.1 103 E\r\nLink: x\r\nConnection: close\r\n\r\n")) == (
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        (b"x-request-ID: abc\r\n", b"abc"),
        (b"", b""),
        (b'X-Request-Id: "\r\n', b""),
        (b"X-Request-Id: " + b"a" * 200 + b"\r\n", b""),
    ],
)
def test_request_ids(fields, wanted):
    assert request_id_of(request(fields)) == wanted
    assert request_id_of(None) == b""
