"""The request line: methods, targets, versions, and what comes before it."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.smuggling.cases import PREFIX, Case, Seen, bad, get, good, local, numbered, request, silent

_VERSIONS = {
    "2.0": (b"HTTP/2.0", 505), "1.2": (b"HTTP/1.2", 505), "0.9": (b"HTTP/0.9", 505), "3.0": (b"HTTP/3.0", 505), "9.9": (b"HTTP/9.9", 505), "2": (b"HTTP/2", 400), "1": (b"HTTP/1", 400),
    "lower": (b"http/1.1", 400), "mixed": (b"Http/1.1", 400), "leading-zero": (b"HTTP/01.1", 400), "trailing-zero": (b"HTTP/1.10", 400), "three": (b"HTTP/1.1.1", 400),
    "plus": (b"HTTP/+1.1", 400), "letter": (b"HTTP/1.x", 400), "blank-inside": (b"HTTP/1. 1", 400), "no-slash": (b"HTTP1.1", 400), "backslash": (b"HTTP\\1.1", 400),
    "rtsp": (b"RTSP/1.0", 505), "ice": (b"ICE/1.0", 505), "https": (b"HTTPS/1.1", 505), "comma": (b"HTTP/1,1", 400), "trailing-dot": (b"HTTP/1.1.", 400), "minus": (b"HTTP/-1.1", 400),
    "no-minor": (b"HTTP/1.", 400), "no-major": (b"HTTP/.1", 400), "nothing": (b"HTTP/", 400), "empty": (b"", 400), "trailing-blank": (b"HTTP/1.1 ", 400), "trailing-tab": (b"HTTP/1.1\t", 400),
    "nul": (b"HTTP/1.1\x00", 400), "long": (b"HTTP/11111111111.1", 400), "word": (b"FOO", 400), "hex": (b"HTTP/0x1.1", 400),
}  # fmt: skip

_LINES = {
    "http-0.9": b"GET /api/v1/proxy/a/x", "two-blanks": b"GET  /api/v1/proxy/a/x HTTP/1.1", "two-blanks-behind": b"GET /api/v1/proxy/a/x  HTTP/1.1", "tab": b"GET\t/api/v1/proxy/a/x\tHTTP/1.1",
    "leading-blank": b" GET /api/v1/proxy/a/x HTTP/1.1", "leading-tab": b"\tGET /api/v1/proxy/a/x HTTP/1.1", "no-target": b"GET HTTP/1.1", "empty-target": b"GET  HTTP/1.1", "only-method": b"GET",
    "four-words": b"GET /api/v1/proxy/a/x HTTP/1.1 HTTP/1.1", "blank-in-target": b"GET /api/v1/proxy/a/x y HTTP/1.1", "vertical-tab": b"GET\x0b/api/v1/proxy/a/x HTTP/1.1",
    "form-feed": b"GET /api/v1/proxy/a/x\x0cHTTP/1.1", "no-break-space": b"GET\xa0/api/v1/proxy/a/x HTTP/1.1", "cr": b"GET /api/v1/proxy/a/x\rHTTP/1.1", "colon": b"Foo: bar", "empty-method": b" /api/v1/proxy/a/x HTTP/1.1",
    "quoted-method": b'"GET" /api/v1/proxy/a/x HTTP/1.1', "method-colon": b"GET: /api/v1/proxy/a/x HTTP/1.1", "method-nul": b"GET\x00 /api/v1/proxy/a/x HTTP/1.1", "method-at": b"GE@T /api/v1/proxy/a/x HTTP/1.1",
    "method-high": b"G\xcbT /api/v1/proxy/a/x HTTP/1.1", "response": b"HTTP/1.1 200 OK", "braces": b"{GET} /api/v1/proxy/a/x HTTP/1.1", "json": b'{"a": "b"}', "nul-first": b"\x00GET /api/v1/proxy/a/x HTTP/1.1",
    "bom": b"\xef\xbb\xbfGET /api/v1/proxy/a/x HTTP/1.1", "slash-method": b"GET/ /api/v1/proxy/a/x HTTP/1.1", "cr-cr": b"GET /api/v1/proxy/a/x HTTP/1.1\r", "proxy-protocol": b"PROXY TCP4 1.2.3.4 5.6.7.8 9 80",
}  # fmt: skip

_BAD_TARGETS = {
    "star": b"*", "relative": b"x", "relative-path": b"api/v1/proxy/a/x", "fragment": PREFIX + b"/x#y", "fragment-only": b"#", "nul": PREFIX + b"/\x00", "control": PREFIX + b"/\x01",
    "delete": PREFIX + b"/\x7f", "high": PREFIX + b"/\xe4", "utf-8": PREFIX + b"/\xc3\xa4", "backslash": PREFIX + b"\\x", "backslash-first": b"\\api\\v1", "query-first": b"?x", "authority": b"hub:80",
    "other-scheme": b"ftp://hub/x", "file": b"file:///etc/passwd", "javascript": b"javascript:1", "two-slashes-scheme": b"http:/hub/x", "no-slashes": b"http:hub/x", "empty-authority": b"http:///x",
    "userinfo": b"http://u:p@hub" + PREFIX, "userinfo-other": b"http://hub@evil" + PREFIX, "other-host": b"http://evil" + PREFIX + b"/x", "other-port": b"http://hub:81" + PREFIX + b"/x", "port-0": b"http://hub:0" + PREFIX,
    "port-letters": b"http://hub:80a" + PREFIX, "port-big": b"http://hub:65536" + PREFIX, "comma-host": b"http://hub,evil" + PREFIX, "open-bracket": b"http://[::1" + PREFIX, "high-host": b"http://h\xfcb" + PREFIX,
    "percent-host": b"http://h%75b" + PREFIX, "dots": b"..", "cr-inside": PREFIX + b"/x\ry", "lf-inside": PREFIX + b"/x\ny", "esc": PREFIX + b"/\x1b[2J", "fragment-in-query": PREFIX + b"/x?a#b", "star-path": b"*" + PREFIX,
}  # fmt: skip

_ODD_PATHS = (
    b"//evil", b"/%2e%2e/x", b"/../x", b"/./x", b"/..%2fx", b"/x/%2e%2e%2f", b"/%00", b"/%0d%0aX:%20y", b"/%0d%0a%0d%0aGET%20/", b"/x?", b"/x??y", b"/x?a=b&a=c", b"/x?a=%0d%0a", b"/x;a=b", b"/x%", b"/x%zz",
    b"/%c0%ae", b"/x?http://evil/", b"/http://evil/", b"/@evil", b"/x:80", b"/%5cevil", b"/'\"<>", b"/{a}", b"/[a]", b"/a|b", b"/^", b"/`", b"/~a", b"/$a", b"/!a", b"/*", b"/(a)", b"/a,b", b"/a+b", b"/a=b", b"/%25%32%65",
    b"/x?a b".replace(b" ", b"%20"), b"/x?{a}", b"/x?/../", b"///", b"/a//b", b"/x?[]=1", b"/%e2%80%ae", b"/x?&", b"/x?=", b"/%2F%2f", b"/x%23y", b"/x%3fy",
)  # fmt: skip


def _methods() -> Iterator[Case]:
    for method in (
        b"get",
        b"Get",
        b"FOO",
        b"GETT",
        b"GE",
        b"PLAY",
        b"DESCRIBE",
        b"SOURCE",
        b"PRI",
        b"BOGUS",
        b"X",
        b"GET-",
        b"G.E.T",
        b"BREW",
        b"A" * 33,
        b"A" * 3000,
    ):
        name = method[:20].decode().lower()
        yield bad(name, "a method nobody here knows", request(method=method), 501)
    for name, target in {
        "authority": b"evil:443",
        "path": b"/",
        "proxy-path": PREFIX + b"/x",
        "absolute": b"http://hub/",
        "star": b"*",
        "address": b"127.0.0.1:22",
    }.items():
        yield bad(
            f"connect-{name}",
            "a tunnel of the visitor's own",
            b"CONNECT %b HTTP/1.1\r\nHost: hub\r\n\r\n" % target,
            405,
        )
    yield bad("connect-body", "CONNECT has no body", request(b"Content-Length: 3", method=b"CONNECT", body=b"abc"), 405)
    yield local("trace", "TRACE would echo secrets", request(method=b"TRACE"), 405)
    yield local("trace-hops", "the hub is the end of it", request(b"Max-Forwards: 0", method=b"TRACE"), 405)
    yield local("options-star", "the server as a whole is the hub", b"OPTIONS * HTTP/1.1\r\nHost: hub\r\n\r\n", 204)
    yield local("options-hops", "the last hop allowed is the hub", request(b"Max-Forwards: 0", method=b"OPTIONS"), 204)
    yield good("options", "an ordinary request", request(method=b"OPTIONS"), Seen(b"OPTIONS", b"/x"))
    yield good(
        "get-hops",
        "only OPTIONS and TRACE count hops",
        request(b"Max-Forwards: 0", method=b"GET"),
        get(has=((b"max-forwards", b"0"),)),
    )
    for method in (
        b"GET",
        b"HEAD",
        b"PUT",
        b"DELETE",
        b"PATCH",
        b"PROPFIND",
        b"QUERY",
        b"M-SEARCH",
        b"PURGE",
        b"SEARCH",
    ):
        yield good(f"served-{method.decode().lower()}", "passed on", request(method=method), Seen(method, b"/x"))


def _before() -> Iterator[Case]:
    whole = request(method=b"GET")
    for name, raw in {
        "lf": b"\n" + whole, "cr": b"\r" + whole, "lf-cr": b"\n\r" + whole, "crlf-lf": b"\r\n\n" + whole, "three-crlf": b"\r\n" * 3 + whole, "hundred-crlf": b"\r\n" * 100 + whole,
        "blank-crlf": b" \r\n" + whole, "nul": b"\x00" + whole, "crlf-cr": b"\r\n\r" + whole, "field-first": b"X: y\r\n" + whole, "garbage": b"\x80\x81\r\n" + whole, "text": b"hello\r\n" + whole,
    }.items():  # fmt: skip
        yield bad(name, "bytes before a request line", raw)
    for count in (1, 2):
        yield good(f"crlf-{count}", "old clients send an empty line behind a body", b"\r\n" * count + whole, get())
    yield silent(
        "tls-hello", "TLS on the plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(32)) * 15
    )
    yield silent(
        "h2-preface",
        "HTTP/2 with prior knowledge",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    )


def _sizes() -> Iterator[Case]:
    room = 8192 - len(PREFIX) - 1
    yield good(
        "target-8k",
        "the longest there may be",
        request(method=b"GET", path=b"/" + b"a" * room),
        get(b"/" + b"a" * room),
    )
    yield bad("target-8k-and-1", "one more", request(method=b"GET", path=b"/" + b"a" * (room + 1)), 414)
    yield bad("target-64k", "much more", request(method=b"GET", path=b"/" + b"a" * 65536), 414)
    yield bad("query-9k", "a query counts", request(method=b"GET", path=b"/?" + b"a" * 9000), 414)
    yield bad("endless-line", "no end in sight", b"GET /" + b"a" * 40000, 414)
    yield bad("endless-method", "no blank in sight", b"A" * 40000, 501)
    yield bad("endless-version", "a version without an end", b"GET / " + b"H" * 40000)


def table() -> Iterator[Case]:
    """All cases of this class."""
    for name, (version, status) in _VERSIONS.items():
        yield bad(f"version-{name}", "read as 1.1, 1.0 or 0.9 by some", request(method=b"GET", version=version), status)
    for name, line in _LINES.items():
        yield bad(f"line-{name}", "three words with one blank between", line + b"\r\nHost: hub\r\n\r\n")
    for name, target in _BAD_TARGETS.items():
        yield bad(f"target-{name}", "no target for an origin server", b"GET %b HTTP/1.1\r\nHost: hub\r\n\r\n" % target)
    for number, path in enumerate(_ODD_PATHS):
        yield good(
            f"path-{number:02}",
            f"{path.decode()} goes through byte for byte",
            request(method=b"GET", path=path),
            get(path),
        )
    for name, target in {
        "same": b"http://hub",
        "port": b"http://hub:80",
        "upper": b"HTTP://HUB",
        "dot": b"http://hub.",
    }.items():
        raw = b"GET %b/x HTTP/1.1\r\nHost: hub\r\n\r\n" % (target + PREFIX)
        yield good(f"absolute-{name}", "the same authority twice", raw, get())
    yield good("version-1.0", "no connection after it", request(method=b"GET", version=b"HTTP/1.0"), get(), stays=False)
    yield good(
        "version-1.0-keep",
        "unless asked for",
        request(b"Connection: keep-alive", method=b"GET", version=b"HTTP/1.0"),
        get(),
    )
    yield from numbered("method", _methods())
    yield from numbered("before", _before())
    yield from numbered("size", _sizes())
