"""How long a body is, and what Connection asks for. One wrong reading here is a smuggled request."""

from __future__ import annotations

import re
from enum import IntEnum

from tunnel.http1.errors import BadMessage
from tunnel.http1.names import Special

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

# Nineteen digits always fit in 64 bits and are more than any body; twenty may not fit.
_LONGEST_LENGTH = 19

_NO_OPTIONS: frozenset[bytes] = frozenset()
_COMMON_OPTIONS = {
    b"keep-alive": frozenset({b"keep-alive"}),
    b"Keep-Alive": frozenset({b"keep-alive"}),
    b"close": frozenset({b"close"}),
    b"upgrade": frozenset({b"upgrade"}),
    b"Upgrade": frozenset({b"upgrade"}),
}


class Framing(IntEnum):
    """How the end of a body is known (RFC 9112 section 6)."""

    NONE = 0
    LENGTH = 1
    CHUNKED = 2
    UNTIL_CLOSE = 3


def list_members(values: list[bytes]) -> list[bytes]:
    """The non-empty members of a comma list spread over any number of lines, in lower case."""
    return [member for value in values for part in value.split(b",") if (member := part.strip().lower())]


def connection_options(special: Special) -> frozenset[bytes]:
    """The members of Connection, in lower case."""
    values = special.get(b"connection")
    if values is None:
        return _NO_OPTIONS
    if len(values) == 1:
        common = _COMMON_OPTIONS.get(values[0])
        if common is not None:
            return common
    return frozenset(list_members(values))


def content_length(values: list[bytes], status: int) -> int:
    """Reads Content-Length (RFC 9110 section 8.6).

    Args:
        values: its values, one per line.
        status: the status of a refusal.

    Raises:
        BadMessage: more than one, or anything but a short run of digits.
    """
    if len(values) != 1:
        raise BadMessage(status, "duplicate_content_length")
    value = values[0]
    if not value.isdigit() or len(value) > _LONGEST_LENGTH:
        raise BadMessage(status, "bad_content_length")
    return int(value)


def transfer_coding_fault(values: list[bytes]) -> BadMessage | None:
    """Judges Transfer-Encoding in a request: only a single ``chunked`` is taken.

    Returns:
        None for exactly that; 501 for well-formed codings we do not have; 400 for everything else.
    """
    if len(values) == 1 and values[0].lower() == b"chunked":
        return None
    codings = [part.strip(b" ").lower() for value in values for part in value.split(b",")]
    if not all(_TOKEN.fullmatch(coding) for coding in codings):
        return BadMessage(400, "bad_transfer_encoding")
    chunked = codings.count(b"chunked")
    if chunked == 0 or (chunked == 1 and codings[-1] == b"chunked"):
        return BadMessage(501, "unknown_transfer_coding")
    return BadMessage(400, "bad_transfer_encoding")


def request_framing(minor: int, special: Special) -> tuple[Framing, int]:
    """The framing of a request body and its declared length, -1 if none is declared (RFC 9112 section 6.3)."""
    lengths = special.get(b"content-length")
    codings = special.get(b"transfer-encoding")
    if codings is not None:
        if lengths is not None:
            raise BadMessage(400, "length_and_encoding")
        if minor == 0:
            raise BadMessage(400, "encoding_in_http_1_0")
        fault = transfer_coding_fault(codings)
        if fault is not None:
            raise fault
        return Framing.CHUNKED, -1
    if lengths is not None:
        return Framing.LENGTH, content_length(lengths, 400)
    return Framing.NONE, -1


def response_framing(method: bytes, status: int, minor: int, special: Special) -> tuple[Framing, int]:
    """The framing of a response body and its declared length, -1 if none is declared (RFC 9112 section 6.3).

    Args:
        method: the method of the request this answers.
        status: the status code.
        minor: the minor version of the response.
        special: its fields with a role.

    Raises:
        BadMessage: 502 for contradicting, repeated or unknown framing, also where no body can follow.
    """
    lengths = special.get(b"content-length")
    codings = special.get(b"transfer-encoding")
    length = -1
    if codings is not None:
        if lengths is not None:
            raise BadMessage(502, "length_and_encoding")
        if minor == 0:
            raise BadMessage(502, "encoding_in_http_1_0")
        if transfer_coding_fault(codings) is not None:
            raise BadMessage(502, "bad_transfer_encoding")
    elif lengths is not None:
        length = content_length(lengths, 502)
    if status < 200 or status == 204:
        # Neither may carry a length (RFC 9110 section 8.6); real servers send "0" with 204, so it is dropped.
        return Framing.NONE, -1
    if method == b"HEAD" or status == 304:
        return Framing.NONE, length
    if codings is not None:
        return Framing.CHUNKED, -1
    return (Framing.LENGTH, length) if length >= 0 else (Framing.UNTIL_CLOSE, -1)
