"""Chunked framing: sizes, line ends, extensions, trailers."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.smuggling.cases import Case, Seen, bad, chunked, get, good, numbered, post
from conformance.smuggling.lengths import SMUGGLED

SIZES = {
    "hex": b"0x3", "hex-upper": b"0X3", "plus": b"+3", "minus": b"-3", "minus-zero": b"-0", "underscore": b"0_3", "blank-before": b" 3",
    "blank-behind": b"3 ", "tab-before": b"\t3", "tab-behind": b"3\t", "empty": b"", "seventeen-digits": b"00000000000000003",
    "two-to-64-and-3": b"10000000000000003", "letter": b"g", "letter-behind": b"3g", "h": b"3h", "quoted": b'"3"', "comma": b"3,", "dot": b"3.0",
    "slash": b"3/", "colon": b"3:", "at": b"3@", "backquote": b"3`", "nul": b"3\x00", "nul-before": b"\x003", "vertical-tab": b"3\x0b", "form-feed": b"3\x0c",
    "high": b"3\xff", "full-width": b"\xef\xbc\x93", "dollar": b"$3", "percent": b"%33", "equals": b"3=", "minus-behind": b"3-", "two": b"3 3",
    "exponent": b"3e+0", "blank-semicolon": b"3 ;a=b", "tab-semicolon": b"3\t;a=b", "endless-zeros": b"0" * 300 + b"3", "cr-cr": b"3\r", "l": b"3L", "bom": b"\xef\xbb\xbf3",
}  # fmt: skip

EXTENSIONS = {
    "nothing": b";", "two-semicolons": b";;a", "blank": b"; ", "equals-only": b";=", "no-name": b";=b", "no-value": b";a=", "nul": b";a\x00b",
    "control": b";a\x01", "delete": b";a\x7f", "escape": b";\x1b", "open-quote": b';a="b', "quote-and-more": b';a="b"c', "quoted-cr": b';a="b\rc"',
    "quoted-lf": b';a="b\nc"', "quoted-crlf": b';a="b\r\nc"', "bare-cr": b";a\rb", "bare-lf": b";a\nb", "bare-lf-end": b";a\n3", "cr-cr": b";a\r", "comma": b",a",
    "blank-before-name": b"; a", "blank-behind-name": b";a =b", "blank-before-value": b";a= b", "blank-behind": b";a=b ", "at": b";a@b", "slash": b";a/b",
    "colon": b";a:b", "brackets": b";[a]", "high": b";\xe4", "quoted-nul": b';a="\x00"', "quoted-name": b';"a"=b', "backslash": b";a=\\", "semicolon-behind": b";a=b;",
}  # fmt: skip

ENDS = {
    "lf-behind-size": b"3\nabc\r\n0\r\n\r\n", "cr-behind-size": b"3\rabc\r\n0\r\n\r\n", "lf-behind-data": b"3\r\nabc\n0\r\n\r\n", "cr-behind-data": b"3\r\nabc\r0\r\n\r\n",
    "nothing-behind-data": b"3\r\nabc0\r\n\r\n", "two-bytes-behind-data": b"3\r\nabcXX0\r\n\r\n", "long-data": b"3\r\nabcd\r\n0\r\n\r\n", "short-data": b"4\r\nabc\r\n0\r\n\r\n",
    "lf-behind-last": b"3\r\nabc\r\n0\n\r\n", "lf-lf": b"3\r\nabc\r\n0\n\n", "lf-at-the-end": b"3\r\nabc\r\n0\r\n\n", "cr-at-the-end": b"3\r\nabc\r\n0\r\n\rX",
    "cr-behind-last": b"3\r\nabc\r\n0\r\r\n", "all-lf": b"3\nabc\n0\n\n", "crlf-before-size": b"\r\n3\r\nabc\r\n0\r\n\r\n", "two-crlf-behind-data": b"3\r\nabc\r\n\r\n0\r\n\r\n",
    "cr-cr-lf-behind-data": b"3\r\nabc\r\r\n0\r\n\r\n", "lf-cr-behind-data": b"3\r\nabc\n\r0\r\n\r\n", "blank-behind-data": b"3\r\nabc \r\n0\r\n\r\n",
    "no-size-at-all": b"xyz\r\n0\r\n\r\n", "request-instead": SMUGGLED, "blank-line-at-the-end": b"0\r\n \r\n\r\n", "nul-behind-data": b"3\r\nabc\x00\r\n0\r\n\r\n",
    "lf-behind-data-and-size": b"5\r\nhello\n3\r\nabc\r\n0\r\n\r\n", "two-bytes-of-a-size-skipped": b"2\r\nabxx12\r\nabcdefghijklmnopqr\r\n0\r\n\r\n",
    "size-spilt-into-data": b"5\r\nabcde35\r\n0\r\n\r\n", "zero-and-data": b"0\r\nabc\r\n\r\n",
}  # fmt: skip

TRAILERS = {
    "length": b"Content-Length: 3", "length-lower": b"content-length: 3", "coding": b"Transfer-Encoding: chunked", "length-underscore": b"Content_Length: 3",
    "coding-underscore": b"transfer_encoding: chunked", "no-colon": b"abc", "blank-in-name": b"a b: c", "blank-before-colon": b"a : b", "empty-name": b": b",
    "folded": b"a: b\r\n c", "leading-blank": b" a: b", "nul": b"a: \x00", "bare-lf": b"a: b\nc: d", "bare-cr": b"a: b\rc: d", "lf-end": b"a: b\n",
    "high-name": b"\xe4: b", "delete": b"a: \x7f", "request-line": b"GET /api/v1/proxy/a/smuggled HTTP/1.1", "bracket": b"[a: b", "quoted": b'"a": b',
}  # fmt: skip

_DROPPED = (
    b"Host: evil", b"Authorization: Basic YTpi", b"Cookie: a=b", b"X-Forwarded-For: 1.2.3.4", b"X-Proxy-Host: 127.0.0.1:1", b"Connection: close",
    b"X-Real-IP: 1.2.3.4", b"Content-Type: text/plain", b"Expect: 100-continue", b"Upgrade: websocket", b"Digest: x", b"Trailer: a", b"empty:",
)  # fmt: skip


def _right() -> Iterator[Case]:
    names = ("authorization", "cookie", "x-real-ip", "digest", "expect", "trailer", "empty", "content-type")
    lacks = tuple(name.encode() for name in names)
    for name, body, data in (
        ("one", b"3\r\nabc\r\n0\r\n\r\n", b"abc"), ("none", b"0\r\n\r\n", b""), ("many", b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
        ("upper", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"), ("lower", b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        ("leading-zeros", b"0003\r\nabc\r\n0\r\n\r\n", b"abc"), ("many-zeros-last", b"3\r\nabc\r\n0000\r\n\r\n", b"abc"),
        ("sixteen-digits", b"0000000000000003\r\nabc\r\n0\r\n\r\n", b"abc"), ("ends-in-data", b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
        ("last-chunk-in-data", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"), ("request-in-data", b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED), SMUGGLED),
        ("nul-in-data", b"3\r\n\x00\x00\x00\r\n0\r\n\r\n", b"\0\0\0"),
    ):  # fmt: skip
        yield good(name, "right, to be framed anew", chunked(body), post(data))
    for name, extension in {
        "name": b";a", "value": b";a=b", "two": b";a=b;c=d", "quoted": b';a="b c"', "quoted-semicolon": b';a="b;c"', "quoted-pair": b';a="b\\"c"',
        "quoted-tab": b';a="\t"', "quoted-high": b';a="\xe4"', "quoted-empty": b';a=""', "names": b";a;b;c",
    }.items():  # fmt: skip
        yield good(
            f"extension-{name}",
            "a right extension, never passed on",
            chunked(b"3%b\r\nabc\r\n0\r\n\r\n" % extension),
            post(b"abc"),
        )
        yield good(
            f"extension-last-{name}", "on the last chunk", chunked(b"3\r\nabc\r\n0%b\r\n\r\n" % extension), post(b"abc")
        )
    for line in _DROPPED:
        name = line.partition(b":")[0].decode().lower()
        yield good(
            f"trailer-{name}",
            "trailers of a request go nowhere",
            chunked(b"3\r\nabc\r\n0\r\n%b\r\n\r\n" % line),
            post(b"abc", lacks=lacks),
        )
    yield good("trailers-then-next", "what follows trailers is the next request", chunked(b"3\r\nabc\r\n0\r\na: b\r\nc: d\r\n\r\n") + SMUGGLED,
               post(b"abc"), get(b"/smuggled"))  # fmt: skip


def _budgets() -> Iterator[Case]:
    why = "framing that costs more than it carries"
    tiny = b"1;%b\r\na\r\n" % (b"x" * 1000)
    yield bad("extension-100k", why, chunked(b"3;%b\r\nabc\r\n0\r\n\r\n" % (b"x" * 100_000)))
    yield bad("extensions-on-tiny-chunks", why, chunked(tiny * 30 + b"0\r\n\r\n"))
    yield good(
        "tiny-chunks",
        "many chunks of one byte are only slow",
        chunked(b"1\r\na\r\n" * 300 + b"0\r\n\r\n"),
        post(b"a" * 300),
    )
    fields = b"".join(b"t%d: v\r\n" % n for n in range(200))
    yield bad("trailers-200", "trailers count as fields", chunked(b"0\r\n%b\r\n" % fields), 431)
    yield bad("trailer-9k", "one long trailer", chunked(b"0\r\na: %b\r\n\r\n" % (b"x" * 9000)), 431)
    yield bad(
        "trailers-33k", "trailers count as head", chunked(b"0\r\n%b\r\n" % (b"a: %b\r\n" % (b"x" * 8000) * 5)), 431
    )


def table() -> Iterator[Case]:
    """All cases of this class."""
    for name, size in SIZES.items():
        yield bad(f"chunk-size-{name}", "a size to some", chunked(b"%b\r\nabc\r\n0\r\n\r\n" % size))
    for name, size in SIZES.items():
        if name not in ("endless-zeros", "seventeen-digits") and size.strip(b"\x00\r \t\x0b\x0c"):
            last = size.replace(b"3", b"0")
            yield bad(f"chunk-last-{name}", "the end to some", chunked(b"3\r\nabc\r\n%b\r\n\r\n" % last))
    for name, extension in EXTENSIONS.items():
        yield bad(
            f"chunk-extension-{name}",
            "the line ends elsewhere for some",
            chunked(b"3%b\r\nabc\r\n0\r\n\r\n" % extension),
        )
    for name, body in ENDS.items():
        yield bad(f"chunk-end-{name}", "lines end with CRLF and nothing else", chunked(body))
    for name, line in TRAILERS.items():
        yield bad(
            f"chunk-trailer-{name}", "a trailer that is none, or more", chunked(b"3\r\nabc\r\n0\r\n%b\r\n\r\n" % line)
        )
    yield from numbered("chunk-right", _right())
    yield from numbered("chunk-budget", _budgets())
    yield good("chunk-second-path", "two chunked requests in a row", chunked(b"1\r\na\r\n0\r\n\r\n", path=b"/1") + chunked(b"1\r\nb\r\n0\r\n\r\n", path=b"/2"),
               Seen(b"POST", b"/1", b"a"), Seen(b"POST", b"/2", b"b"))  # fmt: skip
