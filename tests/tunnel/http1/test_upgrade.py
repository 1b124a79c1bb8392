"""Requests that ask to leave HTTP: rows A24 to A26."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunnel.http1 import (
    BadMessage,
    RequestReader,
)

Read = Callable[..., Any]
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
WEBSOCKET = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
)
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


def post(fields: bytes, body: bytes = b"", minor: int = 1) -> bytes:
    return b"POST /p HTTP/1.%d\r\nHost: a\r\n%s\r\n%s" % (minor, fields, body)


@pytest.mark.parametrize("fields", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("method", [b"POST", b"GET"])
@pytest.mark.parametrize("token", [b"websocket", b"yamux", b"h2c, websocket"])
def test_a24_upgrade_with_body(req: Read, method: bytes, fields: bytes, token: bytes) -> None:
    raw = b"%s / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s\r\nhello" % (method, token, fields)
    assert req(raw).error == (400, "upgrade_with_body")


def test_a24_empty_body_is_no_body(req: Read) -> None:
    out = req(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: yamux\r\nContent-Length: 0\r\n\r\n")
    assert out.head.upgrade == b"yamux"


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


def test_a26_repeated_names_do_not_hide_an_upgrade(req: Read) -> None:
    out = req(b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nConnection: upgrade\r\nX: 2\r\nUpgrade: yamux\r\n\r\nrest")
    assert (out.head.upgrade, out.head.fields, out.rest) == (b"yamux", [(b"X", b"1"), (b"X", b"2")], b"rest")
