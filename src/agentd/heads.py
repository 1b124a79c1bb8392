"""Heads the agent writes: the request for the target, the response for the stream. Pure; lists of bytes, joined once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agentd.paths import origin_target
from tunnel.http1 import Framing
from tunnel.http1.phrases import STATUS_LINES

if TYPE_CHECKING:
    from tunnel.http1 import RequestHead, ResponseHead
    from tunnel.targets import Target

# An enum member costs a look-up in the class each time.
_NONE, _LENGTH = Framing.NONE, Framing.LENGTH

# Fields with a role that the target is told all the same. The rest is hop-by-hop, framing, or between hub and agent.
_PASSED = {
    b"x-forwarded-for": b"X-Forwarded-For: ",
    b"x-forwarded-proto": b"X-Forwarded-Proto: ",
    b"x-forwarded-host": b"X-Forwarded-Host: ",
    b"x-forwarded-prefix": b"X-Forwarded-Prefix: ",
    b"x-forwarded-port": b"X-Forwarded-Port: ",
    b"forwarded": b"Forwarded: ",
    b"x-real-ip": b"X-Real-IP: ",
    b"via": b"Via: ",
    b"max-forwards": b"Max-Forwards: ",
}
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=-]{1,128}")


def target_head(head: RequestHead, target: Target, *, keep_host: bool) -> bytes:
    """The request head as the target gets it, with its empty line.

    Args:
        head: as read from the stream.
        target: where it goes.
        keep_host: send the visitor's Host instead of the target's.

    Raises:
        BadMessage: 400, the path the hub named cannot be sent.
    """
    special = head.special
    host = head.host if keep_host and head.host else target.authority
    lines = [b"%b %b HTTP/1.1\r\nHost: %b" % (head.method, origin_target(head, target.base), host)]
    lines += map(b": ".join, head.fields)
    passed = _PASSED.get
    for name, values in special.items():
        label = passed(name)
        if label is not None:
            for value in values:
                lines.append(label + value)
    if b"x-forwarded-host" not in special:
        lines.append(b"X-Forwarded-Host: " + head.host)
    asked = special.get(b"x-proxy-host")
    lines.append(b"X-Origin-Host: " + (target.authority if asked is None else asked[0]))
    if head.framing is not _NONE:
        lines.append(b"Content-Length: %d" % head.length if head.framing is _LENGTH else b"Transfer-Encoding: chunked")
        if head.expect_continue:
            lines.append(b"Expect: 100-continue")
    elif head.upgrade is not None:
        lines.append(b"Connection: Upgrade\r\nUpgrade: " + head.upgrade)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def stream_head(response: ResponseHead, *, chunked: bool) -> bytes:
    """A final response's head for the stream, framing written anew.

    Args:
        response: as read from the target.
        chunked: its body goes out in chunks.
    """
    if response.memo is None:
        response.memo = {}
    made: bytes | None = response.memo.get(chunked)
    if made is None:
        made = response.memo[chunked] = _stream_head(response, chunked=chunked)
    return made


def _stream_head(response: ResponseHead, *, chunked: bool) -> bytes:
    lines = [STATUS_LINES[response.status]]
    lines += map(b": ".join, response.fields)
    if chunked:
        lines.append(b"Transfer-Encoding: chunked")
    elif response.length >= 0:
        lines.append(b"Content-Length: %d" % response.length)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def informational_head(response: ResponseHead) -> bytes:
    """A 1xx head for the stream; with a 101 goes the protocol agreed."""
    lines = [STATUS_LINES[response.status]]
    lines += map(b": ".join, response.fields)
    if response.upgrade is not None:
        lines.append(b"Connection: Upgrade\r\nUpgrade: " + response.upgrade)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def request_id_of(head: RequestHead | None) -> bytes:
    """The request's id if it has one that is harmless anywhere, else nothing."""
    if head is not None:
        for name, value in head.fields:
            if name.lower() == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                return value
    return b""
