"""Several messages on one connection: where one ends and the next begins."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.smuggling.cases import Case, Seen, bad, chunked, get, good, local, numbered, post, request
from conformance.smuggling.lengths import SMUGGLED

_GET = request(method=b"GET")
_ABC = b"3\r\nabc\r\n0\r\n\r\n"


def _pipelines() -> Iterator[Case]:
    yield good("two", "answered in order", _GET + SMUGGLED, get(), get(b"/smuggled"))
    yield good(
        "twenty",
        "answered in order",
        b"".join(request(method=b"GET", path=b"/%d" % n) for n in range(20)),
        *(get(b"/%d" % n) for n in range(20)),
    )
    yield good(
        "body-get",
        "a body between",
        request(b"Content-Length: 3", body=b"abc") + SMUGGLED,
        post(b"abc"),
        get(b"/smuggled"),
    )
    yield good(
        "get-body-get",
        "a body in the middle",
        _GET + request(b"Content-Length: 3", body=b"abc") + SMUGGLED,
        get(),
        post(b"abc"),
        get(b"/smuggled"),
    )
    yield good("chunks-chunks", "two chunked bodies", chunked(_ABC) + chunked(_ABC), post(b"abc"), post(b"abc"))
    yield good(
        "head-get",
        "HEAD has no body, its answer neither",
        request(method=b"HEAD") + SMUGGLED,
        Seen(b"HEAD", b"/x"),
        get(b"/smuggled"),
    )
    yield good(
        "crlf-between",
        "an empty line behind a body",
        request(b"Content-Length: 3", body=b"abc") + b"\r\n" + SMUGGLED,
        post(b"abc"),
        get(b"/smuggled"),
    )
    yield local("options-then", "the hub's own answer keeps its place", b"OPTIONS * HTTP/1.1\r\nHost: hub\r\n\r\n", 204)
    yield local(
        "health-body",
        "a body for the hub itself is read to its end",
        b"GET /healthz HTTP/1.1\r\nHost: hub\r\nContent-Length: 3\r\n\r\nabc",
        200,
        stays=None,
    )
    yield local(
        "trace-body",
        "also for what is refused",
        request(b"Content-Length: %d" % len(SMUGGLED), method=b"TRACE", body=SMUGGLED),
        405,
        stays=None,
    )
    yield local(
        "unknown-agent",
        "also for nobody's",
        b"POST /api/v1/proxy/nobody/x HTTP/1.1\r\nHost: hub\r\nContent-Length: 3\r\n\r\nabc",
        404,
        stays=None,
    )
    yield local(
        "unknown-path",
        "also for nothing",
        b"POST /nothing HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n" + _ABC,
        404,
        stays=None,
    )
    yield local(
        "bad-target",
        "also for a target that is none",
        request(b"X-Proxy-Host: a b", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        400,
        stays=None,
    )
    yield local(
        "two-targets",
        "also for two targets",
        request(b"X-Proxy-Host: a:1", b"X-Proxy-Host: b:2", b"Content-Length: 3", body=b"abc"),
        400,
        stays=None,
    )


def _then_bad() -> Iterator[Case]:
    for name, rest, status in (
        ("garbage", b"\x01\x02\x03", 400), ("no-host", b"GET / HTTP/1.1\r\n\r\n", 400), ("method", b"FOO / HTTP/1.1\r\nHost: hub\r\n\r\n", 501), ("version", b"GET / HTTP/3.0\r\nHost: hub\r\n\r\n", 505),
        ("lengths", b"POST / HTTP/1.1\r\nHost: hub\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400), ("connect", b"CONNECT a:1 HTTP/1.1\r\nHost: hub\r\n\r\n", 405),
    ):  # fmt: skip
        yield bad(f"get-{name}", "the good one is answered, then no more", _GET + rest, status, get())
        yield bad(
            f"post-{name}", "behind a body", request(b"Content-Length: 3", body=b"abc") + rest, status, post(b"abc")
        )
        yield bad(f"chunks-{name}", "behind chunks", chunked(_ABC) + rest, status, post(b"abc"))
    yield bad(
        "length-short",
        "more body than its length: the rest is no request",
        request(b"Content-Length: 3", body=b"abcdef\r\n\r\n"),
        400,
        post(b"abc"),
    )
    yield bad("chunks-long", "more behind the last chunk", chunked(_ABC + b"\x00"), 400, post(b"abc"))
    yield bad(
        "get-body-unframed",
        "a body without a length is no body",
        request(method=b"GET", body=b'{"a": 1}\r\n\r\n'),
        400,
        get(),
    )


def _bodies() -> Iterator[Case]:
    for method in (b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"PUT", b"PATCH", b"PROPFIND"):
        name = method.decode().lower()
        yield good(
            f"{name}-length",
            "keeps its framing",
            request(b"Content-Length: %d" % len(SMUGGLED), method=method, body=SMUGGLED),
            Seen(method, b"/x", SMUGGLED),
        )
        raw = request(
            b"Transfer-Encoding: chunked", method=method, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
        )
        yield good(f"{name}-chunked", "keeps its framing", raw, Seen(method, b"/x", SMUGGLED))
    yield good("64k", "a body of many reads", request(b"Content-Length: 65536", body=b"a" * 65536), post(b"a" * 65536))
    yield good(
        "64k-chunked", "a body of many reads", chunked(b"10000\r\n%b\r\n0\r\n\r\n" % (b"a" * 65536)), post(b"a" * 65536)
    )


def table() -> Iterator[Case]:
    """All cases of this class."""
    yield from numbered("pipeline", _pipelines())
    yield from numbered("then", _then_bad())
    yield from numbered("body", _bodies())
