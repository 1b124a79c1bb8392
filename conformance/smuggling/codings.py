"""Transfer-Encoding: misspelt, disguised, repeated, unknown."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.smuggling.cases import Case, Seen, bad, get, good, numbered, post, request
from conformance.smuggling.lengths import SMUGGLED

_ABC = b"3\r\nabc\r\n0\r\n\r\n"

MALFORMED = {
    "empty": b"", "quoted": b'"chunked"', "half-quoted": b'"chunked', "parameter": b"chunked;a=b", "semicolon": b"chunked;",
    "quality": b"chunked;q=1", "comma-before": b",chunked", "comma-behind": b"chunked,", "comma-both": b", chunked ,", "commas": b",,chunked",
    "twice": b"chunked, chunked", "twice-no-blank": b"chunked,chunked", "blank-between": b"chunked chunked", "not-last": b"chunked, gzip",
    "not-last-identity": b"chunked, identity", "in-the-middle": b"gzip, chunked, identity", "blank-inside": b"chu nked",
    "tab-behind": b"chunked\t", "vertical-tab-before": b"\x0bchunked", "vertical-tab-behind": b"chunked\x0b", "form-feed": b"\x0cchunked",
    "nul-inside": b"chunk\x00ed", "nul-behind": b"chunked\x00", "delete": b"chunked\x7f", "backspace": b"chunkedd\x08",
    "no-break-space-before": b"\xa0chunked", "no-break-space-behind": b"chunked\xa0", "soft-hyphen": b"chunked\xc2\xad", "kelvin": b"chun\xe2\x84\xaaed",
    "accent": b"ch\xc3\xbcnked", "high-bit": b"\xe3hunked", "brackets": b"[chunked]", "braces": b"{chunked}", "parentheses": b"(chunked)",
    "equals": b"chunked=1", "colon": b"chunked:", "colon-before": b":chunked", "slash": b"chunked/1.1", "backslash": b"chunked\\", "at": b"@chunked",
    "angle": b"<chunked>", "question": b"chunked?", "comment": b"chunked (really)", "escaped": b"chunked\\r\\n", "next-line": b"\x85chunked",
    "line-separator": b"\xe2\x80\xa8chunked", "escape": b"\x1bchunked", "bell": b"chunked\x07",
}  # fmt: skip

UNKNOWN = {
    "identity": b"identity", "x-before": b"xchunked", "x-behind": b"chunkedx", "x-dash": b"x-chunked", "number": b"chunked1", "cut": b"chunke",
    "gzip": b"gzip", "gzip-chunked": b"gzip, chunked", "gzip-chunked-no-blank": b"gzip,chunked", "deflate-chunked": b"deflate, chunked",
    "identity-chunked": b"identity, chunked", "compress": b"compress", "trailers": b"trailers", "cow": b"cow", "cow-chunked": b"cow, chunked",
    "apostrophes": b"'chunked'", "percent": b"%63hunked", "plus": b"+chunked", "tilde": b"~chunked", "backquote": b"`chunked`", "dot": b"chunked.",
    "underscore": b"chunked_", "bar": b"chunked|", "caret": b"^chunked", "star": b"chunked*", "hash": b"#chunked", "null": b"null", "br": b"br",
}  # fmt: skip


def _values() -> Iterator[Case]:
    for name, value in MALFORMED.items():
        yield bad(name, "chunked to some, nothing to others", request(b"Transfer-Encoding: " + value, body=_ABC))
    for name, value in UNKNOWN.items():
        yield bad(name, "a coding that is not served", request(b"Transfer-Encoding: " + value, body=_ABC), 501)
    for name, value in {
        "upper": b"CHUNKED",
        "mixed": b"chunKeD",
        "blanks": b"   chunked",
        "blank-behind": b"chunked  ",
    }.items():
        yield good(name, "right, to be written anew", request(b"Transfer-Encoding: " + value, body=_ABC), post(b"abc"))


def _lines() -> Iterator[Case]:
    te = b"Transfer-Encoding: "
    for name, values, status in (
        ("chunked-chunked", (b"chunked", b"chunked"), 400), ("chunked-identity", (b"chunked", b"identity"), 400),
        ("identity-chunked", (b"identity", b"chunked"), 501), ("chunked-cow", (b"chunked", b"cow"), 400), ("cow-chunked", (b"cow", b"chunked"), 501),
        ("chunked-empty", (b"chunked", b""), 400), ("empty-chunked", (b"", b"chunked"), 400), ("gzip-chunked", (b"gzip", b"chunked"), 501),
        ("three", (b"gzip", b"deflate", b"chunked"), 501),
    ):  # fmt: skip
        yield bad(name, "two lines are one list, or not", request(*(te + value for value in values), body=_ABC), status)
    yield bad(
        "other-case",
        "names differ in case only",
        request(b"Transfer-Encoding: chunked", b"transfer-encoding: x", body=_ABC),
    )


def _names() -> Iterator[Case]:
    why = "a name that is Transfer-Encoding to some"
    for name, line in {
        "underscore": b"Transfer_Encoding: chunked", "underscore-upper": b"TRANSFER_ENCODING: chunked", "blank-before-colon": b"Transfer-Encoding : chunked",
        "tab-before-colon": b"Transfer-Encoding\t: chunked", "leading-blank": b" Transfer-Encoding: chunked", "leading-tab": b"\tTransfer-Encoding: chunked",
        "nul-behind": b"Transfer-Encoding\x00: chunked", "nul-before": b"\x00Transfer-Encoding: chunked", "cr-behind": b"Transfer-Encoding\r: chunked",
        "lf-behind": b"Transfer-Encoding\n: chunked", "folded": b"X: y\r\n Transfer-Encoding: chunked", "folded-value": b"Transfer-Encoding:\r\n chunked",
        "folded-tab": b"Transfer-Encoding:\r\n\tchunked", "folded-empty": b"Transfer-Encoding: chunked\r\n ", "bare-lf-before": b"X: y\nTransfer-Encoding: chunked",
        "bare-cr-before": b"X: y\rTransfer-Encoding: chunked", "cr-cr-lf-before": b"X: y\r\r\nTransfer-Encoding: chunked", "bare-lf-behind": b"Transfer-Encoding: chunked\nX: y",
        "bare-cr-behind": b"Transfer-Encoding: chunked\rX: y", "lf-value": b"Transfer-Encoding:\n chunked", "cr-value": b"Transfer-Encoding: \rchunked",
        "two-colons-blank": b"Transfer-Encoding :: chunked", "no-colon": b"Transfer-Encoding chunked", "equals": b"Transfer-Encoding= chunked",
        "high-byte": b"Transfer-Encoding\xff: chunked", "no-break-space": b"\xa0Transfer-Encoding: chunked", "bom": b"\xef\xbb\xbfTransfer-Encoding: chunked",
        "quoted": b'"Transfer-Encoding": chunked', "slash": b"Transfer/Encoding: chunked", "blank-inside": b"Transfer Encoding: chunked",
        "next-line": b"X: y\x00\r\nTransfer-Encoding: chunked", "nul-value": b"X: \x00Transfer-Encoding: chunked", "colon-first": b": Transfer-Encoding: chunked",
        "empty-name": b": chunked", "two-colons": b"Transfer-Encoding:: chunked",
    }.items():  # fmt: skip
        yield bad(name, why, request(line, body=_ABC))
    for name, line in {
        "joined": b"TransferEncoding: chunked", "behind": b"Transfer-Encoding-: chunked", "before": b"X-Transfer-Encoding: chunked",
        "dot": b"Transfer.Encoding: chunked", "te": b"TE: chunked", "content-encoding": b"Content-Encoding: chunked",
        "content-transfer": b"Content-Transfer-Encoding: chunked", "cut": b"Transfer-Encodin: chunked", "two-dashes": b"Transfer--Encoding: chunked",
        "underscore-behind": b"Transfer-Encoding_: chunked", "apostrophe": b"Transfer'Encoding: chunked",
    }.items():  # fmt: skip
        yield bad(
            f"not-{name}", "no coding, so what follows is the next request", request(line, body=_ABC), 400, post(b"")
        )


def _versions() -> Iterator[Case]:
    why = "HTTP/1.0 knows no chunks"
    te = b"Transfer-Encoding: chunked"
    yield bad("1.0", why, request(te, version=b"HTTP/1.0", body=_ABC))
    yield bad("1.0-keep-alive", why, request(b"Connection: keep-alive", te, version=b"HTTP/1.0", body=_ABC))
    yield bad("1.0-get", why, request(te, version=b"HTTP/1.0", method=b"GET", body=b"0\r\n\r\n"))
    yield bad("1.0-identity", why, request(b"Transfer-Encoding: identity", version=b"HTTP/1.0"))
    yield bad("1.0-unknown", why, request(b"Transfer-Encoding: cow", version=b"HTTP/1.0"))


def table() -> Iterator[Case]:
    """All cases of this class."""
    yield from numbered("coding", _values())
    yield from numbered("coding-lines", _lines())
    yield from numbered("coding-name", _names())
    yield from numbered("coding-version", _versions())
    yield good("coding-on-get", "GET with chunks keeps them", request(b"Transfer-Encoding: chunked", method=b"GET", body=_ABC),
               Seen(b"GET", b"/x", b"abc"))  # fmt: skip
    yield good("coding-then-next", "the request behind chunks is one of its own",
               request(b"Transfer-Encoding: chunked", body=_ABC) + SMUGGLED, post(b"abc"),
               get(b"/smuggled"))  # fmt: skip
