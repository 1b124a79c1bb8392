"""Field lines, Host, and names that mean something between hub and agent."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.smuggling.cases import PREFIX, Case, bad, get, good, numbered, request

LINES = {
    "blank-before-colon": b"X : y", "tab-before-colon": b"X\t: y", "no-colon": b"X", "empty-name": b": y", "only-colon": b":", "bracket": b"[X: y", "high-name": b"X\xe4: y", "utf-8-name": b"X\xc3\xa4: y",
    "nul-name": b"X\x00: y", "nul-value": b"X: \x00", "nul-inside": b"X: a\x00b", "control-value": b"X: \x01", "bell": b"X: \x07", "backspace": b"X: a\x08", "vertical-tab": b"X: a\x0bb", "form-feed": b"X: a\x0cb",
    "escape": b"X: \x1b[2J", "delete": b"X: \x7f", "bare-cr": b"X: a\rb", "bare-cr-field": b"X: a\rY: b", "bare-lf-field": b"X: a\nY: b", "bare-lf-end": b"X: a\n", "lf-lf": b"X: a\n\n", "cr-cr-lf": b"X: a\r\r\nY: b",
    "lf-crlf": b"X: a\n\r\nY: b", "folded-blank": b"X: a\r\n b", "folded-tab": b"X: a\r\n\tb", "folded-empty": b"X: a\r\n ", "folded-field": b"X: a\r\n Y: b", "quoted-name": b'"X": y', "parentheses": b"(X): y", "comma-name": b"X,Y: z",
    "slash-name": b"X/Y: z", "at-name": b"X@Y: z", "equals-name": b"X=Y: z", "question-name": b"X?: y", "braces-name": b"{X}: y", "angle-name": b"<X>: y", "backslash-name": b"X\\: y", "semicolon-name": b"X;: y",
    "blank-in-name": b"X Y: z", "leading-blank": b" X: y", "leading-tab": b"\tX: y", "request-line": b"GET / HTTP/1.1", "status-line": b"HTTP/1.1 200 OK", "no-break-space": b"X\xa0: y", "delete-name": b"X\x7f: y",
}  # fmt: skip

_HOSTS = {
    "empty": b"", "comma": b"hub,evil", "userinfo": b"u@hub", "userinfo-port": b"u:p@hub", "path": b"hub/x", "blank": b"h ub", "tab": b"h\tub", "port-empty": b"hub:", "port-letters": b"hub:80a", "port-0": b"hub:0",
    "port-big": b"hub:65536", "port-minus": b"hub:-1", "port-plus": b"hub:+80", "port-blank": b"hub: 80", "two-ports": b"hub:80:80", "only-port": b":80", "question": b"hub?x", "fragment": b"hub#x", "backslash": b"hub\\evil",
    "percent": b"h%75b", "nul": b"hub\x00evil", "high": b"h\xfcb", "utf-8": b"h\xc3\xbcb", "scheme": b"http://hub", "quoted": b'"hub"', "angle": b"<hub>", "open-bracket": b"[::1", "close-bracket": b"::1]", "bare-v6": b"::1",
    "v6-zone": b"[fe80::1%eth0]", "v6-bad": b"[::g]", "v6-behind": b"[::1]x", "dot": b".", "dots": b"..", "crlf": b"hub\\r\\n", "semicolon": b"hub;x", "star": b"*", "brackets": b"[hub]", "pipe": b"hub|evil", "caret": b"hub^",
    "port-nine-digits": b"hub:000000080", "control": b"hub\x01", "two-in-one": b"hub hub", "equals": b"hub=x", "plus": b"hub+x", "dollar": b"$hub", "bang": b"hub!", "apostrophe": b"hub'",
}  # fmt: skip

_DISGUISED = (
    b"Transfer_Encoding", b"Content_Length", b"X_Forwarded_For", b"X-Forwarded_For", b"x_forwarded_host", b"X_Forwarded_Proto", b"X_Proxy_Host", b"X-Proxy_Host", b"X_Proxy_Path", b"X_Real_IP", b"Proxy_Authorization",
    b"Keep_Alive", b"Max_Forwards", b"X_Origin_Host", b"Tunnel_Error", b"Proxy_Connection", b"HTTP2_Settings", b"Sec_WebSocket_Key", b"X_Forwarded_Prefix",
)  # fmt: skip

_STRIPPED = (
    b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"Proxy-Authorization: Basic YTpi", b"Proxy-Authenticate: Basic", b"TE: trailers", b"TE: gzip", b"Trailer: X", b"Upgrade: h2c", b"Upgrade: foo", b"HTTP2-Settings: AAA",
    b"Proxy: http://evil", b"X-Proxy-Foo: 1", b"Tunnel-Error: x", b"Tunnel-Hub: x", b"Connection: keep-alive", b"Connection: x", b"Proxy-Foo: y",
)  # fmt: skip


def _hosts() -> Iterator[Case]:
    for name, value in _HOSTS.items():
        yield bad(name, "another host to some", request(method=b"GET", host=value))
    yield bad("missing", "HTTP/1.1 without a host", request(method=b"GET", host=None))
    yield bad("twice-same", "two hosts, even equal ones", request(b"Host: hub", method=b"GET"))
    yield bad("twice-other", "the first or the last", request(b"Host: evil", method=b"GET"))
    yield bad("twice-case", "names differ in case only", request(b"HOST: hub", method=b"GET"))
    yield bad("twice-one-empty", "an empty one beside", request(b"Host:", method=b"GET"))
    yield bad("blank-before-colon", "ignored by some", request(b"Host : hub", method=b"GET", host=None))
    yield bad("folded", "another host to some", request(b"X: y\r\n Host: evil", method=b"GET"))
    yield bad("folded-value", "another host to some", request(b"Host:\r\n hub", method=b"GET", host=None))
    yield bad("leading-blank", "another host to some", request(b" Host: hub", method=b"GET", host=None))
    yield bad("nominated", "Connection takes the host away", request(b"Connection: Host", method=b"GET"))
    yield bad("1.0-twice", "also in HTTP/1.0", request(b"Host: hub", method=b"GET", version=b"HTTP/1.0"))
    yield good(
        "1.0-missing", "HTTP/1.0 needs none", request(method=b"GET", version=b"HTTP/1.0", host=None), get(), stays=False
    )
    for value in (
        b"HUB",
        b"hub.",
        b"hub:80",
        b"hub:8882",
        b"127.0.0.1",
        b"127.0.0.1:1",
        b"[::1]",
        b"[::1]:80",
        b"a-b.c_d",
        b"xn--hb-xka",
        b"1",
        b"hub:65535",
    ):
        yield good(f"right-{value.decode()}", "passed on as received", request(method=b"GET", host=value), get())
    yield good(
        "right-blanks",
        "blanks around a value do not count",
        request(b"Host:   hub   ", method=b"GET", host=None),
        get(),
    )


def _sizes() -> Iterator[Case]:
    yield good(
        "value-8k",
        "the longest line there may be",
        request(b"X: " + b"a" * (8192 - 3), method=b"GET"),
        get(has=((b"x", b"a" * (8192 - 3)),)),
    )
    yield bad("value-8k-and-1", "one more", request(b"X: " + b"a" * (8193 - 3), method=b"GET"), 431)
    yield bad("value-40k", "much more", request(b"X: " + b"a" * 40000, method=b"GET"), 431)
    yield bad("name-9k", "a long name", request(b"X" * 9000 + b": y", method=b"GET"), 431)
    yield bad("block-33k", "many long lines", request(*[b"X: " + b"a" * 8000] * 5, method=b"GET"), 431)
    yield good("fields-100", "the most there may be", request(*[b"X: y"] * 99, method=b"GET"), get())
    yield bad("fields-101", "one more", request(*[b"X: y"] * 100, method=b"GET"), 431)
    yield bad("fields-2000", "many more", request(*[b"X: y"] * 2000, method=b"GET"), 431)
    yield bad("endless-value", "no end in sight", b"GET / HTTP/1.1\r\nHost: hub\r\nX: " + b"a" * 40000, 431)
    yield bad("endless-fields", "no empty line in sight", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000, 431)


def _first() -> Iterator[Case]:
    line = b"GET %b/x HTTP/1.1\r\n" % PREFIX
    for name, rest in {
        "folded": b" X: y\r\nHost: hub\r\n\r\n", "tab": b"\tX: y\r\nHost: hub\r\n\r\n", "blank-line": b" \r\nHost: hub\r\n\r\n", "cr": b"\rHost: hub\r\n\r\n", "lf": b"\nHost: hub\r\n\r\n",
        "folded-host": b" Host: evil\r\nHost: hub\r\n\r\n", "nul": b"\x00\r\nHost: hub\r\n\r\n",
    }.items():  # fmt: skip
        yield bad(name, "the line behind the request line", line + rest)
    for name, raw in {
        "lf-only": b"GET %b/x HTTP/1.1\nHost: hub\n\n", "lf-line": b"GET %b/x HTTP/1.1\nHost: hub\r\n\r\n", "lf-field": b"GET %b/x HTTP/1.1\r\nHost: hub\n\r\n", "lf-end": b"GET %b/x HTTP/1.1\r\nHost: hub\r\n\n",
        "cr-only": b"GET %b/x HTTP/1.1\rHost: hub\r\r", "cr-end": b"GET %b/x HTTP/1.1\r\nHost: hub\r\n\rX", "crlf-cr-cr-lf": b"GET %b/x HTTP/1.1\r\nHost: hub\r\n\r\r\n",
    }.items():  # fmt: skip
        yield bad(f"end-{name}", "lines end with CRLF and nothing else", raw % PREFIX)


def table() -> Iterator[Case]:
    """All cases of this class."""
    for name, line in LINES.items():
        yield bad(f"field-{name}", "no field line, or two", request(line, method=b"GET"))
    yield from numbered("host", _hosts())
    for disguise in _DISGUISED:
        raw = request(disguise + b": x", method=b"GET")
        yield bad(f"disguised-{disguise.decode().lower()}", "another name to CGI and WSGI", raw)
    for line in _STRIPPED:
        stripped = line.partition(b":")[0].lower()
        yield good(
            f"stripped-{line.decode().lower().replace(' ', '')}",
            "ends at this hop",
            request(line, method=b"GET"),
            get(lacks=(stripped,)),
        )
    yield from numbered("size-field", _sizes())
    yield from numbered("first", _first())
    for name, value in {
        "obs-text": b"\xe4\xff",
        "tabs": b"a\tb",
        "empty": b"",
        "commas": b",,",
        "colons": b"::a",
        "quoted": b'"a',
        "long-list": b"a, " * 100 + b"b",
    }.items():
        yield good(
            f"value-{name}",
            "any visible byte is a value's",
            request(b"X: " + value, method=b"GET"),
            get(has=((b"x", value),)),
        )
    yield good(
        "name-underscore",
        "people's applications use them",
        request(b"My_Field: y", method=b"GET"),
        get(has=((b"my_field", b"y"),)),
    )
    yield good(
        "name-odd",
        "every token is a name",
        request(b"!#$%&'*+-.^`|~: y", method=b"GET"),
        get(has=((b"!#$%&'*+-.^`|~", b"y"),)),
    )
