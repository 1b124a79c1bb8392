"""Connection, Upgrade, Expect: what one hop says to the next, and may not say beyond."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.smuggling.cases import Case, Seen, bad, chunked, get, good, numbered, post, request
from conformance.smuggling.lengths import SMUGGLED

_WEBSOCKET = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def _nominations() -> Iterator[Case]:
    for nominated in (
        b"Content-Length", b"content-length", b"Transfer-Encoding", b"Host", b"close, Host", b"Host,close",
        b"keep-alive, transfer-encoding",
    ):  # fmt: skip
        label = nominated.decode().lower().replace(", ", "-").replace(",", "-")
        yield bad(
            f"protected-{label}",
            "takes the framing out of the message",
            request(b"Connection: " + nominated, b"Content-Length: 3", body=b"abc"),
        )
    for name, value in {
        "one": b"X-Secret", "lower": b"x-secret", "list": b"x-a, X-Secret", "close-to": b"keep-alive,X-Secret", "empty-members": b",, X-Secret ,", "two-blanks": b"keep-alive ,  X-Secret",
    }.items():  # fmt: skip
        raw = request(b"Connection: " + value, b"X-Secret: 1", b"X-A: 2", method=b"GET")
        yield good(name, "a nominated field ends here", raw, get(lacks=(b"x-secret", b"connection")))
    yield good(
        "first-line-empty",
        "an empty first line hides nothing",
        request(b"Connection:", b"Connection: X-Secret", b"X-Secret: 1", method=b"GET"),
        get(lacks=(b"x-secret",)),
    )
    yield good(
        "two-lines",
        "both lines count",
        request(b"Connection: X-A", b"Connection: X-Secret", b"X-Secret: 1", b"X-A: 1", method=b"GET"),
        get(lacks=(b"x-secret", b"x-a")),
    )
    yield good(
        "behind-close",
        "close and more",
        request(b"Connection: close, X-Secret", b"X-Secret: 1", method=b"GET"),
        get(lacks=(b"x-secret",)),
        stays=False,
    )
    yield good(
        "forwarded",
        "the hub's own field cannot be taken away",
        request(b"Connection: X-Forwarded-For", b"X-Forwarded-For: 6.6.6.6", method=b"GET"),
        get(has=((b"x-forwarded-for", b"127.0.0.1"),)),
    )
    yield good(
        "forwarded-host",
        "nor this one",
        request(b"Connection: X-Forwarded-Host", method=b"GET"),
        get(has=((b"x-forwarded-host", b"hub"),)),
    )
    yield good(
        "cookie",
        "end-to-end fields may be nominated",
        request(b"Connection: Cookie", b"Cookie: a=b", method=b"GET"),
        get(lacks=(b"cookie",)),
    )
    yield good(
        "garbage",
        "members that are no tokens name nothing",
        request(b"Connection: @, {x}, \xe4", method=b"GET"),
        get(lacks=(b"connection",)),
    )


def _closing() -> Iterator[Case]:
    for name, value in {
        "close": b"close",
        "upper": b"CLOSE",
        "list": b"foo, close",
        "first": b"close, foo",
        "both": b"keep-alive, close",
        "blanks": b"  close  ",
    }.items():
        yield good(
            name, "no request behind it is read", request(b"Connection: " + value, method=b"GET"), get(), stays=False
        )
    yield good(
        "then-garbage",
        "nor is garbage looked at",
        request(b"Connection: close", method=b"GET") + b"\x00\xff\r\n",
        get(),
        stays=False,
    )
    yield good(
        "then-request",
        "nor another request",
        request(b"Connection: close", method=b"GET") + SMUGGLED,
        get(),
        stays=False,
    )
    yield good(
        "body-then-request",
        "the body is read, no more",
        request(b"Connection: close", b"Content-Length: 3", body=b"abc") + SMUGGLED,
        post(b"abc"),
        stays=False,
    )
    yield good(
        "chunks-then-request",
        "the chunks are read, no more",
        chunked(b"3\r\nabc\r\n0\r\n\r\n", b"Connection: close") + SMUGGLED,
        post(b"abc"),
        stays=False,
    )
    yield good(
        "1.0-then-request",
        "HTTP/1.0 closes by itself",
        request(method=b"GET", version=b"HTTP/1.0") + SMUGGLED,
        get(),
        stays=False,
    )
    yield good(
        "1.0-close-wins",
        "close wins over keep-alive",
        request(b"Connection: keep-alive, close", method=b"GET", version=b"HTTP/1.0"),
        get(),
        stays=False,
    )
    yield good("proxy-connection", "means nothing", request(b"Proxy-Connection: close", method=b"GET"), get())
    yield good("closed", "another word", request(b"Connection: closed", method=b"GET"), get())


def _upgrades() -> Iterator[Case]:
    why = "the body would be read as bytes of the new protocol"
    yield bad("post-length", why, request(*_WEBSOCKET, b"Content-Length: 3", body=b"abc"))
    yield bad("get-length", why, request(*_WEBSOCKET, b"Content-Length: 3", method=b"GET", body=b"abc"))
    yield bad("get-chunked", why, request(*_WEBSOCKET, b"Transfer-Encoding: chunked", method=b"GET", body=b"0\r\n\r\n"))
    yield bad("post-chunked", why, request(*_WEBSOCKET, b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n"))
    yield bad("other-length", why, request(b"Connection: Upgrade", b"Upgrade: foo", b"Content-Length: 3", body=b"abc"))
    yield bad(
        "smuggled-body", why, request(*_WEBSOCKET, b"Content-Length: %d" % len(SMUGGLED), method=b"GET", body=SMUGGLED)
    )
    yield bad("no-key", "no handshake", request(*_WEBSOCKET[:3], method=b"GET"))
    yield bad("bad-key", "no handshake", request(*_WEBSOCKET[:3], b"Sec-WebSocket-Key: x", method=b"GET"))
    yield bad("two-keys", "no handshake", request(*_WEBSOCKET, _WEBSOCKET[3], method=b"GET"))
    yield bad("no-version", "no handshake", request(_WEBSOCKET[0], _WEBSOCKET[1], _WEBSOCKET[3], method=b"GET"))
    yield bad(
        "version-8",
        "no version that is served",
        request(_WEBSOCKET[0], _WEBSOCKET[1], b"Sec-WebSocket-Version: 8", _WEBSOCKET[3], method=b"GET"),
        426,
    )
    yield bad("token-garbage", "no protocol", request(b"Connection: Upgrade", b"Upgrade: web socket", method=b"GET"))
    yield bad("token-quoted", "no protocol", request(b"Connection: Upgrade", b'Upgrade: "websocket"', method=b"GET"))
    declined = get(lacks=(b"upgrade", b"http2-settings", b"connection"))
    yield good(
        "h2c",
        "served as HTTP/1.1",
        request(
            b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__", method=b"GET"
        ),
        declined,
    )
    yield good(
        "h2c-upper", "in any spelling", request(b"Connection: upgrade", b"Upgrade: H2C", method=b"GET"), declined
    )
    yield good(
        "h2c-body",
        "with its body",
        request(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 3", body=b"abc"),
        post(b"abc", lacks=(b"upgrade",)),
    )
    yield good(
        "h2c-smuggle",
        "the second request is HTTP too",
        request(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAA", method=b"GET")
        + SMUGGLED,
        declined,
        get(b"/smuggled"),
    )
    yield good(
        "tls",
        "no protocol that is passed on",
        request(b"Connection: Upgrade", b"Upgrade: TLS/1.0", method=b"GET"),
        declined,
    )
    yield good(
        "foo-then-request",
        "what follows is HTTP",
        request(b"Connection: Upgrade", b"Upgrade: foo", method=b"GET") + SMUGGLED,
        declined,
        get(b"/smuggled"),
    )
    yield good(
        "not-nominated",
        "Upgrade without Connection asks for nothing",
        request(*_WEBSOCKET[1:], method=b"GET"),
        get(lacks=(b"upgrade",)),
    )
    yield good(
        "1.0",
        "HTTP/1.0 cannot upgrade",
        request(*_WEBSOCKET, method=b"GET", version=b"HTTP/1.0"),
        get(lacks=(b"upgrade",)),
        stays=False,
    )
    yield good(
        "with-close",
        "close leaves no connection to upgrade",
        request(b"Connection: Upgrade, close", *_WEBSOCKET[1:], method=b"GET"),
        get(lacks=(b"upgrade",)),
        stays=False,
    )
    yield good(
        "post", "only GET opens a WebSocket", request(*_WEBSOCKET, b"Content-Length: 0"), post(b"", lacks=(b"upgrade",))
    )
    yield good(
        "declined",
        "an answer that is no 101 ends the connection",
        request(*_WEBSOCKET, method=b"GET") + SMUGGLED,
        get(has=((b"upgrade", b"websocket"),)),
        stays=False,
    )


def _expectations() -> Iterator[Case]:
    for name, value in {
        "other": b"200-ok", "suffix": b"100-continue-x", "blank": b"100 continue", "list": b"100-continue, foo", "twice": b"100-continue, 100-continue", "prefix": b"x100-continue", "empty": b"", "parameter": b"100-continue;a",
        "number": b"100", "quoted": b'"100-continue"', "underscore": b"100_continue",
    }.items():  # fmt: skip
        yield bad(
            name, "an expectation nobody can meet", request(b"Expect: " + value, b"Content-Length: 3", body=b"abc"), 417
        )
    yield bad(
        "two-lines",
        "one of the two",
        request(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 3", body=b"abc"),
        417,
    )
    yield bad("on-get", "also without a body", request(b"Expect: foo", method=b"GET"), 417)
    expecting = Seen(b"POST", b"/x", b"abc", has=((b"expect", b"100-continue"),))
    yield good(
        "right",
        "passed on, body and all",
        request(b"Expect: 100-continue", b"Content-Length: 3", body=b"abc"),
        expecting,
    )
    yield good(
        "right-upper", "it has no case", request(b"Expect: 100-Continue", b"Content-Length: 3", body=b"abc"), expecting
    )
    yield good(
        "right-chunked",
        "with chunks",
        request(b"Expect: 100-continue", b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n"),
        expecting,
    )
    yield good(
        "no-body", "nothing to wait for", request(b"Expect: 100-continue", method=b"GET"), get(lacks=(b"expect",))
    )
    yield good(
        "1.0",
        "HTTP/1.0 knows none",
        request(b"Expect: 100-continue", b"Content-Length: 3", version=b"HTTP/1.0", body=b"abc"),
        post(b"abc", lacks=(b"expect",)),
        stays=False,
    )
    yield good(
        "1.0-other",
        "not even a wrong one",
        request(b"Expect: foo", b"Content-Length: 3", version=b"HTTP/1.0", body=b"abc"),
        post(b"abc", lacks=(b"expect",)),
        stays=False,
    )
    yield bad(
        "name-blank",
        "a name that is Expect to some",
        request(b"Expect : 100-continue", b"Content-Length: 3", body=b"abc"),
    )
    yield bad("folded", "folded", request(b"Expect:\r\n 100-continue", b"Content-Length: 3", body=b"abc"))


def table() -> Iterator[Case]:
    """All cases of this class."""
    yield from numbered("nominated", _nominations())
    yield from numbered("closing", _closing())
    yield from numbered("upgrade", _upgrades())
    yield from numbered("expect", _expectations())
