"""Content-Length: contradicted, repeated, misspelt, and odd but right."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.smuggling.cases import Case, bad, chunked, get, good, numbered, post, request, silent

SMUGGLED = b"GET /api/v1/proxy/a/smuggled HTTP/1.1\r\nHost: hub\r\n\r\n"

WRONG = {
    "empty": b"", "plus": b"+3", "minus": b"-3", "minus-zero": b"-0", "plus-zero": b"+0", "underscore": b"1_0", "hex": b"0x3",
    "octal": b"0o3", "binary": b"0b11", "blank-inside": b"3 4", "tab-inside": b"3\t4", "fraction": b"3.0", "exponent": b"3e0",
    "word": b"three", "nan": b"NaN", "infinity": b"Infinity", "quoted": b'"3"', "single-quoted": b"'3'", "bracketed": b"(3)",
    "parameter": b"3;a=b", "semicolon": b"3;", "comma-behind": b"3,", "comma-before": b",3", "list-same": b"3, 3",
    "list-other": b"3, 4", "list-no-blank": b"3,3", "list-empty": b"3,,3", "two-to-64": b"18446744073709551616",
    "past-64-wraps-to-3": b"18446744073709551619", "past-32-in-20-digits": b"00000000004294967299", "endless": b"9" * 400,
    "full-width": b"\xef\xbc\x93", "arabic-digit": b"\xd9\xa3", "superscript": b"\xc2\xb3", "latin-1-superscript": b"\xb3",
    "nul-behind": b"3\x00", "nul-before": b"\x003", "vertical-tab-before": b"\x0b3", "vertical-tab-behind": b"3\x0b",
    "form-feed": b"\x0c3", "no-break-space": b"\xa03", "delete": b"3\x7f", "backspace": b"33\x08", "slash": b"3/1",
    "thousands": b"1.000", "dollar": b"$3", "percent": b"%33", "letter-behind": b"3a", "letter-o": b"O", "sign-behind": b"3-",
    "two-signs": b"--3", "equals": b"=3", "dot": b".", "escaped-newline": b"3\\r\\n", "comment": b"3 (bytes)",
}  # fmt: skip

_RIGHT = {
    "plain": b"3", "leading-zeros": b"0003", "trailing-blank": b"3 ", "many-blanks": b"     3   ", "nineteen-digits": b"0" * 18 + b"3",
}  # fmt: skip

_CODINGS = (b"chunked", b"identity", b"gzip", b"gzip, chunked", b"xchunked", b"CHUNKED", b"", b"chunked, chunked")


def _contradictions() -> Iterator[Case]:
    for coding in _CODINGS:
        for order in (1, -1):
            lines = (b"Content-Length: 4", b"Transfer-Encoding: " + coding)[::order]
            name = coding.decode().replace(", ", "-") or "nothing"
            yield bad(
                f"length-{'before' if order > 0 else 'behind'}-{name}", "two framings: one party goes by each",
                request(*lines, body=b"0\r\n\r\n" + SMUGGLED),
            )  # fmt: skip
    te_cl = b"8\r\nSMUGGLED\r\n0\r\n\r\n"
    yield bad(
        "te-cl", "the chunks hide what the length cuts off",
        request(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=te_cl),
    )  # fmt: skip
    yield bad(
        "zero-length", "a length of 0 beside chunks",
        request(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    )  # fmt: skip
    yield bad(
        "on-get", "both on a request that has no body as a rule",
        request(b"Content-Length: 0", b"Transfer-Encoding: chunked", method=b"GET", body=b"0\r\n\r\n"),
    )  # fmt: skip
    yield bad(
        "http-1.0", "both in HTTP/1.0, where chunks do not exist",
        request(b"Content-Length: 3", b"Transfer-Encoding: chunked", version=b"HTTP/1.0", body=b"abc"),
    )  # fmt: skip
    yield bad(
        "bad-length-and-chunks", "the length is no number, so some ignore it",
        request(b"Content-Length: x", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    )  # fmt: skip
    yield bad(
        "nominated-length", "Connection asks to drop the length that contradicts",
        request(b"Connection: Content-Length", b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    )  # fmt: skip
    yield bad(
        "nominated-chunks", "Connection asks to drop the coding that contradicts",
        request(b"Connection: Transfer-Encoding", b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"abc"),
    )  # fmt: skip


def _repeats() -> Iterator[Case]:
    why = "the first or the last of two lengths"
    for name, first, second in (
        ("same", b"3", b"3"), ("other", b"3", b"0"), ("other-reversed", b"0", b"3"), ("one-bad", b"3", b"x"),
        ("one-empty", b"3", b""), ("zeros", b"3", b"03"), ("both-zero", b"0", b"0"),
    ):  # fmt: skip
        yield bad(name, why, request(b"Content-Length: " + first, b"Content-Length: " + second, body=b"abc"))
    yield bad(
        "far-apart", "two lengths with many fields between",
        request(b"Content-Length: 3", *(b"X-%d: y" % n for n in range(40)), b"Content-Length: 3", body=b"abc"),
    )  # fmt: skip
    yield bad(
        "other-case", "names differ in case only",
        request(b"Content-Length: 3", b"content-length: 5", body=b"abcde"),
    )  # fmt: skip
    yield bad("three", why, request(*[b"Content-Length: 3"] * 3, body=b"abc"))
    yield bad("on-get", why, request(b"Content-Length: 0", b"Content-Length: 0", method=b"GET"))
    yield bad("http-1.0", why, request(b"Content-Length: 3", b"Content-Length: 3", version=b"HTTP/1.0", body=b"abc"))


def _names() -> Iterator[Case]:
    hidden = b"abc" + SMUGGLED
    why = "a name that is Content-Length to some"
    for name, line in {
        "underscore": b"Content_Length: 3", "underscore-upper": b"CONTENT_LENGTH: 3", "underscore-first": b"_Content-Length: 3",
        "blank-before-colon": b"Content-Length : 3", "tab-before-colon": b"Content-Length\t: 3", "leading-blank": b" Content-Length: 3",
        "leading-tab": b"\tContent-Length: 3", "nul-behind": b"Content-Length\x00: 3", "nul-before": b"\x00Content-Length: 3",
        "cr-behind": b"Content-Length\r: 3", "lf-behind": b"Content-Length\n: 3", "no-break-space": b"\xa0Content-Length: 3",
        "high-byte": b"Content-Length\xff: 3", "quoted": b'"Content-Length": 3', "bracketed": b"[Content-Length]: 3", "no-colon": b"Content-Length 3",
        "equals": b"Content-Length=3", "folded": b"X: y\r\n Content-Length: 3", "folded-value": b"Content-Length:\r\n 3",
        "folded-value-tab": b"Content-Length:\r\n\t3", "bare-lf-before": b"X: y\nContent-Length: 3", "bare-cr-before": b"X: y\rContent-Length: 3",
        "delete": b"Content-Length\x7f: 3", "slash": b"Content/Length: 3", "blank-inside": b"Content Length: 3", "at": b"Content@Length: 3",
    }.items():  # fmt: skip
        if name == "underscore-first":
            continue
        yield bad(name, why, request(line, body=hidden))
    for name, line in {
        "joined": b"ContentLength: 3", "dot": b"Content.Length: 3", "behind": b"Content-Length-: 3", "before": b"X-Content-Length: 3",
        "tilde": b"Content~Length: 3", "plus": b"Content+Length: 3", "two-dashes": b"Content--Length: 3", "cut": b"Content-Lengt: 3",
        "first-underscore": b"_Content-Length: 3",
    }.items():  # fmt: skip
        yield bad(
            f"not-{name}",
            "no length, so what follows is the next request",
            request(line, body=b"=bc\r\n\r\n"),
            400,
            post(b""),
        )


def table() -> Iterator[Case]:
    """All cases of this class."""
    yield from numbered("both", _contradictions())
    yield from numbered("lengths", _repeats())
    yield from numbered("length-name", _names())
    for name, value in WRONG.items():
        yield bad(f"length-{name}", "read as a number by some", request(b"Content-Length: " + value, body=b"abc"))
    for name, value in _RIGHT.items():
        yield good(
            f"length-{name}",
            "right, to be written anew",
            request(b"Content-Length: " + value, body=b"abc"),
            post(b"abc"),
        )
    yield good("length-no-blank", "no blank behind the colon", request(b"Content-Length:3", body=b"abc"), post(b"abc"))
    yield good("length-upper", "names have no case", request(b"CONTENT-LENGTH: 3", body=b"abc"), post(b"abc"))
    yield good("length-zero", "an empty body", request(b"Content-Length: 0"), post(b""))
    yield good("length-zeros", "zero in many digits", request(b"Content-Length: 0000"), post(b""))
    yield good("length-none", "POST without a body", request(), post(b""))
    yield good(
        "length-looks-like-a-request", "the body is a request, and stays a body",
        request(b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED), post(SMUGGLED),
    )  # fmt: skip
    yield good(
        "length-looks-like-chunks", "the body is chunks, and stays as it is",
        request(b"Content-Length: 5", body=b"0\r\n\r\n"), post(b"0\r\n\r\n"),
    )  # fmt: skip
    yield good("length-0-then-next", "CL.0: the next request is one of its own", request(b"Content-Length: 0") + SMUGGLED,
               post(b""), get(b"/smuggled"))  # fmt: skip
    yield silent(
        "length-cut", "the visitor leaves inside the body", request(b"Content-Length: 10", body=b"abc"), half=True
    )
    yield silent("length-cut-at-once", "the visitor leaves before the body", request(b"Content-Length: 10"), half=True)
    yield silent("length-huge-cut", "the longest length there is, and three bytes",
                 request(b"Content-Length: 9223372036854775807", body=b"abc"), half=True)  # fmt: skip
    yield silent("chunked-cut", "the visitor leaves inside a chunk", chunked(b"a\r\nabc"), half=True)
    yield silent(
        "chunked-cut-at-end", "the visitor leaves before the last empty line", chunked(b"3\r\nabc\r\n0\r\n"), half=True
    )
