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
    named = head.special.get(b"x-proxy-path")
    if named is not None:
        asked = named[0]
        if not path.endswith(asked) or asked[:1] != b"/":
            path, query = _foreign(path, query, asked)
        else:
            if len(asked) != len(path) and query and path.startswith(_PREFIX) and _PARAMETER in query:
                query = _without_parameter(query)
            path = asked
    if query:
        return b"%b%b?%b" % (base, path, query)
    if head.target[-1:] == b"?":
        return b"%b%b?" % (base, path)
    return base + path if base else path


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
