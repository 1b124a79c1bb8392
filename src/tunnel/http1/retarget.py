"""Heads that differ from the one before in their target only, as those of a client that asks for one thing after another."""

from __future__ import annotations

from tunnel.http1.heads import RequestHead
from tunnel.http1.limits import Limits
from tunnel.http1.startline import MINORS, PLAIN_TARGET_BYTES


def retarget(head: RequestHead, line: bytes, limits: Limits) -> RequestHead | None:
    """The head that differs from ``head`` in its request line only, and there only in the target; None if in more.

    All other rules were kept by ``head``, so only the target is looked at. One with a rare character, or in another form
    than a path, is left to parse_request().

    Args:
        head: as read.
        line: the other one's request line, without its CRLF.
        limits: budgets.
    """
    method, _, rest = line.partition(b" ")
    target, _, version = rest.partition(b" ")
    if (
        method != head.method
        or MINORS.get(version) != head.minor
        or target[:1] != b"/"
        or target.translate(None, PLAIN_TARGET_BYTES)
        or len(target) > limits.target
        or head.target[:1] != b"/"
    ):
        return None
    other = RequestHead()
    other.memo = None
    other.kin = head.kin
    other.method = method
    other.target = target
    other.path, _, other.query = target.partition(b"?")
    other.minor = head.minor
    other.host = head.host
    other.fields = head.fields
    other.special = head.special
    other.framing = head.framing
    other.length = head.length
    other.keep_alive = head.keep_alive
    other.expect_continue = head.expect_continue
    other.upgrade = None
    return other
