"""Responses as a target may send them: malformed, cut, longer than they say, or odd but right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from conformance.smuggling import chunks, codings, fields, lengths

BEHIND = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"
"""A response nobody asked for."""


@dataclass(frozen=True, slots=True)
class Response:
    """One payload.

    Attributes:
        id: class and name.
        why: what somebody could get wrong.
        raw: what the target sends.
        status: of the answer the visitor gets; 0 if it must get either 502 or an answer that is visibly cut.
        body: of that answer; not compared where the status is 502 or 0.
        method: of the request.
        interim: statuses before the final one.
        ends: the target closes behind it.
    """

    id: str
    why: str
    raw: bytes
    status: int
    body: bytes = b""
    method: bytes = b"GET"
    interim: tuple[int, ...] = ()
    ends: bool = False


def reply(*lines: bytes, line: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    """A response: its head from the lines given, and its body as it is."""
    return b"\r\n".join((line, *lines, b"", body))


def _chunked(body: bytes) -> bytes:
    return reply(b"Transfer-Encoding: chunked", body=body)


def _refused(name: str, why: str, raw: bytes, *, ends: bool = False) -> Response:
    return Response(name, why, raw, 502, ends=ends)


def _broken(name: str, why: str, raw: bytes, *, ends: bool = False) -> Response:
    return Response(name, why, raw, 0, ends=ends)


_STATUS_LINES = {
    "000": b"HTTP/1.1 000 Zero", "099": b"HTTP/1.1 099 X", "600": b"HTTP/1.1 600 X", "999": b"HTTP/1.1 999 X", "four-digits": b"HTTP/1.1 2000 OK", "two-digits": b"HTTP/1.1 20 OK", "plus": b"HTTP/1.1 +200 OK", "hex": b"HTTP/1.1 0xC8 OK",
    "word": b"HTTP/1.1 abc OK", "http-2": b"HTTP/2.0 200 OK", "http-2-short": b"HTTP/2 200 OK", "http-1.2": b"HTTP/1.2 200 OK", "http-0.9": b"HTTP/0.9 200 OK", "lower": b"http/1.1 200 OK", "icy": b"ICY 200 OK", "no-version": b"200 OK",
    "two-blanks": b"HTTP/1.1  200 OK", "tab": b"HTTP/1.1\t200\tOK", "leading-blank": b" HTTP/1.1 200 OK", "nul-reason": b"HTTP/1.1 200 O\x00K", "control-reason": b"HTTP/1.1 200 O\x01K", "cr-reason": b"HTTP/1.1 200 O\rK",
    "lf-reason": b"HTTP/1.1 200 O\nX: y", "delete-reason": b"HTTP/1.1 200 \x7f", "no-code": b"HTTP/1.1", "no-code-blank": b"HTTP/1.1 ", "negative": b"HTTP/1.1 -200 OK", "fraction": b"HTTP/1.1 200.1 OK", "request": b"GET / HTTP/1.1",
    "garbage": b"\x80\x81\x82", "crlf-first": b"\r\nHTTP/1.1 200 OK", "html": b"<html>", "three-parts": b"HTTP/1.1.1 200 OK", "leading-zero": b"HTTP/01.1 200 OK", "glued": b"HTTP/1.1200 OK", "full-width": b"HTTP/1.1 \xef\xbc\x92\xef\xbc\x90\xef\xbc\x90 OK",
}  # fmt: skip


def _heads() -> Iterator[Response]:
    for name, line in _STATUS_LINES.items():
        yield _refused(f"status-{name}", "no status line", reply(b"Content-Length: 3", line=line, body=b"abc"))
    for name, value in lengths.WRONG.items():
        yield _refused(f"length-{name}", "read as a number by some", reply(b"Content-Length: " + value, body=b"abc"))
    for name, value in (codings.MALFORMED | codings.UNKNOWN).items():
        if name == "tab-behind":
            continue  # around a value a tab is a blank, and the coding is written anew
        raw = reply(b"Transfer-Encoding: " + value, body=b"3\r\nabc\r\n0\r\n\r\n")
        yield _refused(f"coding-{name}", "chunked to some, until close to others", raw)
    for name, line in fields.LINES.items():
        yield _refused(f"field-{name}", "no field line, or two", reply(line, b"Content-Length: 3", body=b"abc"))


def _contradictions() -> Iterator[Response]:
    why = "two framings: one party goes by each"
    for name, lines in {
        "length-chunks": (b"Content-Length: 3", b"Transfer-Encoding: chunked"), "chunks-length": (b"Transfer-Encoding: chunked", b"Content-Length: 3"), "length-0-chunks": (b"Content-Length: 0", b"Transfer-Encoding: chunked"),
        "same": (b"Content-Length: 3", b"Content-Length: 3"), "other": (b"Content-Length: 3", b"Content-Length: 4"), "other-case": (b"Content-Length: 3", b"CONTENT-LENGTH: 3"),
        "chunked-twice": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "length-identity": (b"Content-Length: 3", b"Transfer-Encoding: identity"), "length-gzip": (b"Content-Length: 3", b"Transfer-Encoding: gzip"),
        "nominated-length": (b"Connection: Content-Length", b"Content-Length: 3"), "nominated-coding": (b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked"), "folded": (b"Content-Length:\r\n 3",), "blank-colon": (b"Content-Length : 3",),
    }.items():  # fmt: skip
        yield _refused(name, why, reply(*lines, body=b"0\r\n\r\n" + BEHIND))
    yield _refused(
        "1.0-chunked",
        "HTTP/1.0 knows no chunks",
        reply(b"Transfer-Encoding: chunked", line=b"HTTP/1.0 200 OK", body=b"0\r\n\r\n"),
    )
    for line in (b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified"):
        yield _refused(
            f"{line[9:12].decode()}-twice",
            "also where no body follows",
            reply(b"Content-Length: 3", b"Content-Length: 4", line=line),
        )
        yield _refused(
            f"{line[9:12].decode()}-both",
            "also where no body follows",
            reply(b"Content-Length: 3", b"Transfer-Encoding: chunked", line=line),
        )
    yield _refused(
        "101",
        "a protocol nobody asked for",
        reply(b"Connection: Upgrade", b"Upgrade: websocket", line=b"HTTP/1.1 101 Switching Protocols"),
    )
    yield _refused("101-bare", "not even a protocol", reply(line=b"HTTP/1.1 101 Switching Protocols"))
    yield _refused(
        "101-then-200", "what follows is no answer", reply(line=b"HTTP/1.1 101 Switching Protocols") + BEHIND
    )
    yield _refused("head-65k", "a head without an end", reply(*[b"X: " + b"a" * 1000] * 70, b"Content-Length: 0"))
    yield _refused("fields-300", "too many fields", reply(*[b"X: y"] * 300, b"Content-Length: 0"))
    yield _refused(
        "interim-17", "interim answers without an end", reply(line=b"HTTP/1.1 103 Early Hints") * 17 + BEHIND
    )
    for name, raw in {
        "lf-only": b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", "lf-line": b"HTTP/1.1 200 OK\nContent-Length: 3\r\n\r\nabc", "lf-end": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\nabc", "cr-only": b"HTTP/1.1 200 OK\rContent-Length: 3\r\rabc",
    }.items():  # fmt: skip
        yield _refused(name, "lines end with CRLF and nothing else", raw, ends=True)


def _chunks() -> Iterator[Response]:
    for name, size in chunks.SIZES.items():
        yield _broken(f"size-{name}", "a size to some", _chunked(b"%b\r\nabc\r\n0\r\n\r\n" % size))
    for name, body in chunks.ENDS.items():
        yield _broken(f"end-{name}", "lines end with CRLF and nothing else", _chunked(body))
    for name, extension in chunks.EXTENSIONS.items():
        yield _broken(
            f"extension-{name}", "the line ends elsewhere for some", _chunked(b"3%b\r\nabc\r\n0\r\n\r\n" % extension)
        )
    for name, line in chunks.TRAILERS.items():
        yield _broken(
            f"trailer-{name}", "a trailer that is none, or more", _chunked(b"3\r\nabc\r\n0\r\n%b\r\n\r\n" % line)
        )
    yield _broken(
        "extension-100k",
        "framing that costs more than it carries",
        _chunked(b"3;%b\r\nabc\r\n0\r\n\r\n" % (b"x" * 100_000)),
    )
    yield _broken(
        "trailers-70k", "trailers count as head", _chunked(b"0\r\n%b\r\n" % (b"X: %b\r\n" % (b"a" * 1000) * 70))
    )


def _cut() -> Iterator[Response]:
    why = "the target closes too early"
    yield Response("nothing", why, b"", 502, ends=True)
    for size in (1, 8, 15, 17, 30):
        yield _refused(f"head-{size}", why, reply(b"Content-Length: 3", body=b"abc")[:size], ends=True)
    for size in (0, 1, 2):
        yield _broken(f"length-{size}", why, reply(b"Content-Length: 3", body=b"abc"[:size]), ends=True)
    whole = b"3\r\nabc\r\n0\r\n\r\n"
    for size in range(len(whole)):
        yield _broken(f"chunks-{size}", why, _chunked(whole[:size]), ends=True)
    yield _broken("trailers", why, _chunked(b"3\r\nabc\r\n0\r\nX: y\r\n"), ends=True)
    yield _broken("length-huge", why, reply(b"Content-Length: 9223372036854775807", body=b"abc"), ends=True)
    yield Response("interim-only", why, reply(line=b"HTTP/1.1 103 Early Hints"), 502, interim=(103,), ends=True)
    yield _refused("1.0-head", why, b"HTTP/1.0 200 OK\r\nX: y\r\n", ends=True)
    yield _broken("1.0-length", why, reply(b"Content-Length: 10", line=b"HTTP/1.0 200 OK", body=b"abc"), ends=True)


def _bodiless() -> Iterator[Response]:
    why = "no body may follow, whatever comes"
    for status, phrase in ((204, b"No Content"), (304, b"Not Modified")):
        line = b"HTTP/1.1 %d %b" % (status, phrase)
        for name, lines, body in (
            ("plain", (), b""), ("length-0", (b"Content-Length: 0",), b""), ("length-3", (b"Content-Length: 3",), b""), ("body", (b"Content-Length: 3",), b"abc"), ("unframed", (), b"abc"),
            ("chunked", (b"Transfer-Encoding: chunked",), b""), ("chunked-body", (b"Transfer-Encoding: chunked",), b"3\r\nabc\r\n0\r\n\r\n"), ("smuggled", (), BEHIND),
        ):  # fmt: skip
            yield Response(f"{status}-{name}", why, reply(*lines, line=line, body=body), status)
    for name, lines, body in (
        ("length", (b"Content-Length: 8",), b""), ("length-body", (b"Content-Length: 8",), b"smuggled"), ("chunked", (b"Transfer-Encoding: chunked",), b""), ("chunked-body", (b"Transfer-Encoding: chunked",), b"3\r\nabc\r\n0\r\n\r\n"),
        ("none", (), b""), ("smuggled", (b"Content-Length: %d" % len(BEHIND),), BEHIND),
    ):  # fmt: skip
        yield Response(f"head-{name}", why, reply(*lines, body=body), 200, method=b"HEAD")
    yield Response("head-404", why, reply(b"Content-Length: 8", line=b"HTTP/1.1 404 Not Found"), 404, method=b"HEAD")


def _right() -> Iterator[Response]:
    three = b"Content-Length: 3"
    for name, raw, body in (
        ("length", reply(three, body=b"abc"), b"abc"), ("length-zeros", reply(b"Content-Length: 0003", body=b"abc"), b"abc"), ("length-blanks", reply(b"Content-Length:   3 ", body=b"abc"), b"abc"), ("length-upper", reply(b"CONTENT-LENGTH: 3", body=b"abc"), b"abc"),
        ("empty", reply(b"Content-Length: 0"), b""), ("extra-bytes", reply(three, body=b"abcdef"), b"abc"), ("extra-response", reply(three, body=b"abc" + BEHIND), b"abc"), ("extra-crlf", reply(three, body=b"abc\r\n"), b"abc"),
        ("chunked", _chunked(b"3\r\nabc\r\n0\r\n\r\n"), b"abc"), ("chunked-empty", _chunked(b"0\r\n\r\n"), b""), ("chunked-many", _chunked(b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"), b"abc"), ("chunked-extension", _chunked(b'3;a="b;c"\r\nabc\r\n0;x\r\n\r\n'), b"abc"),
        ("chunked-trailers", _chunked(b"3\r\nabc\r\n0\r\nX: y\r\nSet-Cookie: a=b\r\n\r\n"), b"abc"), ("chunked-extra", _chunked(b"3\r\nabc\r\n0\r\n\r\n" + BEHIND), b"abc"), ("chunked-upper", reply(b"TRANSFER-ENCODING: CHUNKED", body=b"A\r\n0123456789\r\n0\r\n\r\n"), b"0123456789"),
        ("no-reason", reply(three, line=b"HTTP/1.1 200", body=b"abc"), b"abc"), ("empty-reason", reply(three, line=b"HTTP/1.1 200 ", body=b"abc"), b"abc"), ("odd-reason", reply(three, line=b"HTTP/1.1 200 \xe4 \t!", body=b"abc"), b"abc"),
        ("response-in-body", reply(b"Content-Length: %d" % len(BEHIND), body=BEHIND), BEHIND), ("1.0-length", reply(three, line=b"HTTP/1.0 200 OK", body=b"abc"), b"abc"), ("coding-tab", reply(b"Transfer-Encoding: chunked\t", body=b"3\r\nabc\r\n0\r\n\r\n"), b"abc"), ("1.0-keep", reply(three, b"Connection: keep-alive", line=b"HTTP/1.0 200 OK", body=b"abc"), b"abc"),
        ("close", reply(three, b"Connection: close", body=b"abc"), b"abc"), ("keep-alive", reply(three, b"Keep-Alive: timeout=5, max=100", body=b"abc"), b"abc"), ("upgrade-fields", reply(three, b"Connection: Upgrade", b"Upgrade: h2c", body=b"abc"), b"abc"),
        ("nominated", reply(three, b"Connection: X-Inner", b"X-Inner: 1", body=b"abc"), b"abc"), ("hop-by-hop", reply(three, b"TE: x", b"Trailer: y", b"Proxy-Authenticate: Basic", body=b"abc"), b"abc"), ("obs-text", reply(three, b"X: \xe4\xff", body=b"abc"), b"abc"),
        ("many-cookies", reply(three, *[b"Set-Cookie: a=b"] * 50, body=b"abc"), b"abc"), ("long-value", reply(three, b"X: " + b"a" * 30000, body=b"abc"), b"abc"), ("encoded", reply(three, b"Content-Encoding: gzip", body=b"abc"), b"abc"),
    ):  # fmt: skip
        yield Response(name, "to be passed on as it is", raw, 200, body)
    for name, raw, body in (
        ("until-close", reply(body=b"abc"), b"abc"), ("until-close-empty", reply(), b""), ("until-close-1.0", reply(line=b"HTTP/1.0 200 OK", body=b"abc"), b"abc"), ("until-close-says", reply(b"Connection: close", body=b"abc"), b"abc"), ("until-close-response", reply(body=BEHIND), BEHIND),
        ("until-close-chunks", reply(body=b"3\r\nabc\r\n0\r\n\r\n"), b"3\r\nabc\r\n0\r\n\r\n"), ("until-close-long", reply(body=b"a" * 70000), b"a" * 70000), ("length-and-close", reply(b"Content-Length: 3", body=b"abc"), b"abc"),
    ):  # fmt: skip
        yield Response(name, "the end of the connection is the end", raw, 200, body, ends=True)
    for status in (200, 201, 206, 226, 299, 300, 302, 399, 400, 401, 407, 418, 421, 451, 499, 500, 503, 511, 599):
        yield Response(
            f"status-{status}",
            "any status is passed on",
            reply(three, line=b"HTTP/1.1 %d Whatever" % status, body=b"abc"),
            status,
            b"abc",
        )
    for name, raw, interim in (
        ("100", reply(line=b"HTTP/1.1 100 Continue"), (100,)), ("102", reply(line=b"HTTP/1.1 102 Processing"), (102,)), ("103", reply(b"Link: </a>", line=b"HTTP/1.1 103 Early Hints"), (103,)), ("199", reply(line=b"HTTP/1.1 199 X"), (199,)),
        ("two", reply(line=b"HTTP/1.1 103 A") + reply(line=b"HTTP/1.1 102 B"), (103, 102)), ("sixteen", reply(line=b"HTTP/1.1 103 A") * 16, (103,) * 16), ("length", reply(b"Content-Length: 3", line=b"HTTP/1.1 103 A"), (103,)),
        ("chunked", reply(b"Transfer-Encoding: chunked", line=b"HTTP/1.1 103 A"), (103,)),
    ):  # fmt: skip
        yield Response(
            f"interim-{name}", "passed on in order", raw + reply(three, body=b"abc"), 200, b"abc", interim=interim
        )


def table() -> Iterator[Response]:
    """All cases."""
    for prefix, part in (
        ("head", _heads()),
        ("framing", _contradictions()),
        ("chunk", _chunks()),
        ("cut", _cut()),
        ("bodiless", _bodiless()),
        ("right", _right()),
    ):
        for case in part:
            yield Response(
                f"{prefix}-{case.id}", case.why, case.raw, case.status, case.body, case.method, case.interim, case.ends
            )
