"""The request target for the private service, from what the hub put on the stream. Pure.

Our own hub says the path in ``X-Proxy-Path`` as the visitor spelled it. The hub of the Go programs says it decoded, and
leaves its own prefix and the ``x-proxy-host`` parameter in the request target. Both are told apart by the request
itself: a path that is the end of the request target was not decoded.
"""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

from tunnel.http1 import BadMessage, RequestHead
from tunnel.http1.startline import TARGET_BYTES

_PREFIX = b"/api/v1/proxy/"
_PARAMETER = b"x-proxy-host="
# What a path may hold unescaped. "?" would begin a query.
_PATH_BYTES = TARGET_BYTES.replace(b"?", b"")
_SAFE = "".join(chr(byte) for byte in _PATH_BYTES if byte not in b'%"<>[]^`{|}')


def origin_target(head: RequestHead, base: bytes) -> bytes:
    """Path and query to ask the private service for.

    Args:
        head: as read from the stream.
        base: goes in front of the path.

    Raises:
        BadMessage: 400, the hub named a path that is none.
    """
    path, query = head.path, head.query
    bare = head.target[-1:] == b"?"
    named = head.special.get(b"x-proxy-path")
    asked = path
    if named is not None:
        asked = named[0]
        if not path.endswith(asked) or asked[:1] != b"/":
            path, query = _foreign(path, query, asked)
            asked = path
    return join_target(base, path, query, asked, bare=bare)


def join_target(base: bytes, path: bytes, query: bytes, asked: bytes, *, bare: bool) -> bytes:
    """Path and query for a request whose target ends with the path asked for.

    Args:
        base: goes in front of the path.
        path: of the request's target.
        query: of the request's target.
        asked: the path at the private service, which is the end of ``path``.
        bare: the target ends with its "?".
    """
    if query:
        if len(asked) != len(path) and path.startswith(_PREFIX) and _PARAMETER in query:
            query = _without_parameter(query)
        if query:
            return b"%b%b?%b" % (base, asked, query)
    if bare:
        return b"%b%b?" % (base, asked)
    return base + asked if base else asked


def _foreign(path: bytes, query: bytes, asked: bytes) -> tuple[bytes, bytes]:
    """For a path the hub wrote anew: find its original spelling, or give it a spelling."""
    if asked[:1] != b"/":
        raise BadMessage(400, "bad_proxy_path")
    if path.startswith(_PREFIX):
        query = _without_parameter(query)
        slash = path.find(b"/", len(_PREFIX))
        raw = path[slash:] if slash > 0 else b"/"
        if unquote_to_bytes(raw) == asked:
            return raw, query
    if asked.translate(None, _PATH_BYTES) or (b"%" in asked and path.startswith(_PREFIX)):
        return quote(asked, safe=_SAFE).encode("ascii"), query
    return asked, query


def _without_parameter(query: bytes) -> bytes:
    return b"&".join(pair for pair in query.split(b"&") if not pair.startswith(_PARAMETER))
