"""Reason phrases and status lines, for everything that writes a response."""

from __future__ import annotations

from http import HTTPStatus

_STANDARD = {status.value: status.phrase.encode() for status in HTTPStatus}
_STANDARD.update({413: b"Content Too Large", 414: b"URI Too Long", 422: b"Unprocessable Content", 103: b"Early Hints"})
_CLASS = {1: b"Informational", 2: b"Success", 3: b"Redirection", 4: b"Client Error", 5: b"Server Error"}

PHRASES: list[bytes] = [_STANDARD.get(n, _CLASS.get(n // 100, b"Unknown")) for n in range(600)]
"""Reason phrase by status. What a peer sends as a phrase is never passed on (RFC 9112 section 4: clients ignore it)."""

STATUS_LINES: list[bytes] = [b"HTTP/1.1 %d %b" % (n, PHRASES[n]) for n in range(600)]
"""Status line by status, without the line's end."""
