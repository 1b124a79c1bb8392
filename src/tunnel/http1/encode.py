"""Heads and chunks as bytes. Nothing is written that a reader of this package would refuse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus

from tunnel.http1.bodies import Piece
from tunnel.http1.framing import Framing

LAST_CHUNK = b"0\r\n\r\n"

_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s" % (status, status.phrase.encode("ascii")) for status in HTTPStatus}


def encode_request(
    method: bytes,
    target: bytes,
    fields: Iterable[tuple[bytes, bytes]],
    *,
    extra: Iterable[tuple[bytes, bytes]] = (),
    framing: Framing = Framing.NONE,
    length: int = -1,
) -> bytes:
    """A request head.

    Args:
        method: the method.
        target: the request target.
        fields: fields to send, without framing ones.
        extra: more fields, sent behind those.
        framing: NONE, LENGTH or CHUNKED; the field for it is made here.
        length: the body's length; any value from 0 is sent as Content-Length.

    Raises:
        ValueError: some part holds CR, LF or NUL, or framing and length contradict each other.
    """
    return _encode(b"%b %b HTTP/1.1" % (method, target), fields, extra, framing, length)


def encode_response(
    status: int,
    fields: Iterable[tuple[bytes, bytes]],
    *,
    extra: Iterable[tuple[bytes, bytes]] = (),
    framing: Framing = Framing.NONE,
    length: int = -1,
    close: bool = False,
) -> bytes:
    """A response head with the standard reason phrase.

    Args:
        status: 100 to 599.
        fields: fields to send, without framing ones.
        extra: more fields, sent behind those.
        framing: as for requests; UNTIL_CLOSE sends ``Connection: close`` and no framing field.
        length: any value from 0 is sent as Content-Length, also with framing NONE (an answer to HEAD, a 304).
        close: send ``Connection: close``.

    Raises:
        ValueError: some part holds CR, LF or NUL, or framing and length contradict each other.
    """
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status
    if close or framing == Framing.UNTIL_CLOSE:
        extra = (*extra, (b"Connection", b"close"))
    return _encode(line, fields, extra, framing, length)


def encode_chunk(pieces: Sequence[Piece]) -> list[Piece]:
    """One chunk that holds all pieces of a read, uncopied; nothing for no bytes, since that would end the body."""
    size = sum(map(len, pieces))
    return [b"%x\r\n" % size, *pieces, b"\r\n"] if size else []


def _encode(
    line: bytes,
    fields: Iterable[tuple[bytes, bytes]],
    extra: Iterable[tuple[bytes, bytes]],
    framing: Framing,
    length: int,
) -> bytes:
    lines = [line]
    lines.extend(map(b": ".join, fields))
    lines.extend(map(b": ".join, extra))
    if (framing == Framing.LENGTH) > (length >= 0) or (framing >= Framing.CHUNKED and length >= 0):
        raise ValueError("framing and length contradict each other")
    if framing == Framing.CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    elif length >= 0:
        lines.append(b"Content-Length: %d" % length)
    lines.append(b"\r\n")
    head = b"\r\n".join(lines)
    # A value that was percent-decoded somewhere may hold a line end; it must not become another field.
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
        raise ValueError("a field holds CR, LF or NUL")
    return head
