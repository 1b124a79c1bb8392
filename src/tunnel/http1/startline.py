"""Rules for request lines and status lines. Each returns the fault or None, so that callers choose when to raise."""

from __future__ import annotations

import re
from http import HTTPStatus

from tunnel.http1.errors import BadMessage
from tunnel.http1.limits import Limits

MINORS = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}

# The closed list of the parser below us, without the methods of other protocols it also knows.
METHODS = frozenset(
    b"GET HEAD POST PUT DELETE OPTIONS TRACE PATCH QUERY COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND "
    b"REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PURGE MKCALENDAR LINK "
    b"UNLINK".split()
)

# Visible ASCII without "#" (a fragment is never sent) and "\" (some servers read it as "/"). Brackets, braces, quotes
# and the like are not allowed by RFC 3986 either, but browsers send them and they split nothing.
TARGET_BYTES = bytes(byte for byte in range(0x21, 0x7F) if byte not in b"#\\")

# Those of them that RFC 3986 allows in a path or query, so that no reader takes offence.
PLAIN_TARGET_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?@!$&'()*+,;=%"

# Longer than any method there is (RFC 9110 section 9.1 asks for 501).
_LONGEST_METHOD = 32
# Room for the method, two blanks and the version beside the target.
_LINE_MARGIN = 64

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VERSION = re.compile(rb"[A-Z]+/[0-9]\.[0-9]")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [0-9]{3}(?: [\t\x20-\x7e\x80-\xff]*)?")
_ABSOLUTE = re.compile(rb"https?://", re.IGNORECASE)

# (bytes that had to be seen to know it, the fault)
Found = tuple[int, BadMessage]


def request_line_fault(line: bytes, limits: Limits) -> BadMessage | None:
    """Judges a complete request line, without its CRLF."""
    parts = line.split(b" ")
    if parts[0] == b"PRI" and line == b"PRI * HTTP/2.0":
        return BadMessage(505, "h2_preface")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]):
        return BadMessage(400, "bad_request_line")
    method, target, version = parts
    if version not in MINORS:
        return BadMessage(505, "http_version") if _VERSION.fullmatch(version) else BadMessage(400, "bad_version")
    if len(target) > limits.target:
        return BadMessage(414, "target_too_long")
    if method == b"CONNECT":
        return BadMessage(405, "connect_refused")
    if method not in METHODS:
        return BadMessage(501, "unknown_method")
    return target_fault(method, target)


def target_fault(method: bytes, target: bytes) -> BadMessage | None:
    """Judges the form of a request target (RFC 9112 section 3.2); the authority of an absolute one is judged later."""
    if b"#" in target:
        return BadMessage(400, "fragment_in_target")
    if not target or target.translate(None, TARGET_BYTES):
        return BadMessage(400, "bad_target")
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS") or _ABSOLUTE.match(target):
        return None
    return BadMessage(400, "bad_target")


def partial_request_line_fault(line: bytes, limits: Limits) -> Found | None:
    """Judges a request line of which more may follow.

    Args:
        line: what is there of it, up to its LF.
        limits: the budgets.

    Returns:
        How many bytes of the line had to be seen and the fault, or None.
    """
    line = line.rstrip(b"\r\n")
    first = line[:1]
    if first == b"\x16":
        return 1, BadMessage(400, "tls_on_plain_port")
    if first and not _TOKEN.match(first):
        return 1, BadMessage(400, "bad_first_byte")
    blank = line.find(b" ", 0, _LONGEST_METHOD + 1)
    if blank < 0:
        return (_LONGEST_METHOD + 1, BadMessage(501, "unknown_method")) if len(line) > _LONGEST_METHOD else None
    end = line.find(b" ", blank + 1)
    if (len(line) if end < 0 else end) - blank - 1 > limits.target:
        return blank + limits.target + 2, BadMessage(414, "target_too_long")
    longest = limits.target + _LINE_MARGIN
    return (longest + 1, BadMessage(400, "bad_request_line")) if len(line) > longest else None


# Status lines with a standard phrase, that is nearly all: line -> (minor version, status).
KNOWN_STATUS_LINES = {
    b"HTTP/1.%d %d %b" % (minor, status, status.phrase.encode("ascii")): (minor, status.value)
    for status in HTTPStatus
    for minor in (0, 1)
}


def status_line_fault(line: bytes) -> BadMessage | None:
    """Judges a complete status line, without its CRLF. The blank before an empty reason may be missing."""
    if not _STATUS_LINE.fullmatch(line):
        return BadMessage(502, "bad_status_line")
    if not 100 <= int(line[9:12]) <= 599:
        return BadMessage(502, "bad_status")
    return None


def partial_status_line_fault(line: bytes) -> Found | None:
    """Judges a status line of which more may follow: it must at least begin as HTTP does."""
    return (1, BadMessage(502, "bad_status_line")) if line[:1] not in (b"", b"H") else None
