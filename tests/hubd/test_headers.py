"""Heads as written."""

from __future__ import annotations

import ipaddress

import pytest

from hubd import headers
from hubd.dates import line_at
from hubd.headers import (
    Link,
    given_request_id,
    informational_head,
    is_trusted,
    passed_here,
    request_lines,
    response_head,
    switching_head,
)
from hubd.routes import Route
from tunnel.http1 import RequestReader, ResponseReader


def asked(*lines: str, line: str = "GET /p HTTP/1.1"):
    reader = RequestReader()
    reader.feed("\r\n".join([line, "Host: h", *lines, "", ""]).encode("latin-1"))
    return reader.next_head()


def answered(*lines: str, line: str = "HTTP/1.1 200 OK", method: bytes = b"GET"):
    reader = ResponseReader()
    reader.expect(method)
    reader.feed("\r\n".join([line, *lines, "", ""]).encode("latin-1"))
    return reader.next_head()


def link(peer: str = "192.0.2.1", *, secure: bool = False, trusted: bool = False) -> Link:
    return Link(peer, b"own:1", secure=secure, trusted=trusted)


def write(head, *, path: bytes = b"/p", raw: bool = True, host: bytes | None = None, via: Link | None = None):
    route = Route("a", b"/pre", path, b"/pre/p", host)
    return request_lines(head, route, via or link(), raw_path=raw, via=b"hub-1")


def test_a_whole_request_head():
    assert write(asked("A: b", "Content-Length: 3"), host=b"t:1") == (
        b"GET /pre/p HTTP/1.1\r\nHost: h\r\nA: b\r\nContent-Length: 3\r\nX-Forwarded-For: 192.0.2.1\r\n"
        b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nX-Forwarded-Prefix: /pre\r\nX-Proxy-Host: t:1\r\n"
        b"Via: 1.1 hub-1\r\nX-Proxy-Path: /p\r\n"
    )


def test_framing_and_expectation():
    assert b"\r\nTransfer-Encoding: chunked\r\n" in write(asked("transfer-encoding: Chunked"))
    assert b"\r\nExpect: 100-continue\r\n" in write(asked("Content-Length: 3", "Expect: 100-Continue"))


@pytest.mark.parametrize(
    ("path", "raw", "out"),
    [
        (b"/a%20b", True, b"/a%20b"),
        (b"/a%20b", False, b"/a b"),
        (b"/%C3%A9", False, b"/\xc3\xa9"),
        (b"/a%0Ab", False, None),
    ],
)
def test_paths_by_kind_of_agent(path, raw, out):
    found = write(asked(), path=path, raw=raw)
    if out is None:
        assert found is None
    else:
        assert b"\r\nX-Proxy-Path: " + out + b"\r\n" in found


def test_http_1_0_without_a_host():
    reader = RequestReader()
    reader.feed(b"GET / HTTP/1.0\r\n\r\n")
    head = write(reader.next_head())
    assert b"\r\nHost: own:1\r\n" in head and b"\r\nVia: 1.0 hub-1\r\n" in head


def test_unix_peers_and_tls():
    head = write(asked(), via=link("", secure=True))
    assert b"\r\nX-Forwarded-For: unknown\r\nX-Forwarded-Proto: https\r\n" in head


@pytest.mark.parametrize(
    ("peer", "networks", "trusted"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("::ffff:10.1.2.3", "10.0.0.0/8", True),
        ("fe80::1%eth0", "fe80::/10", True),
        ("", "10.0.0.0/8", False),
        ("10.1.2.3", "", False),
    ],
)
def test_trusted_peers(peer, networks, trusted):
    found = tuple(ipaddress.ip_network(network) for network in networks.split(",") if network)
    assert is_trusted(peer, found) == trusted


@pytest.mark.parametrize("via", ["1.1 hub-1", "1.0 fred, 1.1 hub-1", "1.1 hub-1 (comment)", "HTTP/1.1 hub-1"])
def test_b26_own_token(via):
    assert passed_here(asked(f"Via: {via}"), b"hub-1")
    assert not passed_here(asked(f"Via: {via}"), b"hub-2")


def test_b26_no_or_odd_via():
    assert not passed_here(asked(), b"hub-1")
    assert not passed_here(asked("Via: ,, 1.1"), b"hub-1")


def test_request_ids():
    assert given_request_id(asked("x-request-ID: a.b-C~1")) == b"a.b-C~1"
    for lines in (
        ("X-Request-Id: a b",),
        ("X-Request-Id: ",),
        ("X-Request-Id: a", "x-request-id: a"),
        ("X-Request-Id: " + "a" * 129,),
    ):
        head = asked(*lines, "A: b")
        assert given_request_id(head) is None
        assert head.fields == [(b"A", b"b")]
    assert given_request_id(asked("A: b")) is None


DATE = "Date: Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("lines", "minor", "close", "out"),
    [
        (("Content-Length: 003",), 1, False, b"Content-Length: 3\r\n\r\n"),
        (("Transfer-Encoding: chunked",), 1, True, b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"),
        (("Transfer-Encoding: chunked",), 0, True, b"Connection: close\r\n\r\n"),
        ((), 1, False, b"Transfer-Encoding: chunked\r\n\r\n"),
        (("Content-Length: 3",), 0, False, b"Content-Length: 3\r\nConnection: keep-alive\r\n\r\n"),
    ],
)
def test_response_framing(lines, minor, close, out):
    found = response_head(answered(DATE, *lines, line="HTTP/1.1 200 Fine"), minor=minor, close=close)
    assert found == b"HTTP/1.1 200 OK\r\n%b\r\n" % DATE.encode() + out


@pytest.mark.parametrize(
    ("line", "method", "out"),
    [
        ("HTTP/1.1 200 OK", b"HEAD", b"Content-Length: 3\r\n\r\n"),
        ("HTTP/1.1 304 Not Modified", b"GET", b"Content-Length: 3\r\n\r\n"),
        ("HTTP/1.1 204 No Content", b"GET", b"\r\n"),
    ],
)
def test_responses_without_a_body(line, method, out):
    found = response_head(answered(DATE, "Content-Length: 3", line=line, method=method), minor=1, close=False)
    assert found == b"%b\r\n%b\r\n" % (line.encode(), DATE.encode()) + out


def test_a_response_without_a_date_gets_the_time_of_its_passing(monkeypatch):
    now = 784111777
    monkeypatch.setattr(headers, "date_line", lambda: line_at(now))
    head = answered("A: b", "Content-Length: 3")
    begin = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 3\r\n"
    assert response_head(head, minor=1, close=False) == begin + b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
    # A head known again tells its own time.
    now += 1
    assert response_head(head, minor=1, close=False) == begin + b"Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n\r\n"
    assert response_head(head, minor=1, close=True).count(b"Date: ") == 1
    assert response_head(answered("dAtE: then"), minor=1, close=False).lower().count(b"date: ") == 1


def test_interim_and_switching_heads():
    assert informational_head(answered("A: b", line="HTTP/1.1 103 x")) == b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"
    head = answered("Upgrade: websocket", "Connection: upgrade", "A: b", line="HTTP/1.1 101 x")
    assert switching_head(head) == (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n"
    )
