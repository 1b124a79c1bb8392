"""When a request asks to leave HTTP, and when it may (RFC 9110 section 7.8, RFC 6455 section 4.2.1)."""

from __future__ import annotations

import re

from tunnel.http1.errors import BadMessage
from tunnel.http1.framing import list_members
from tunnel.http1.names import Special

_PROTOCOL = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:/[!#$%&'*+\-.^_`|~0-9A-Za-z]+)?")
# Sixteen bytes in base64: the last character before the padding carries only two bits.
_WEBSOCKET_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")


def requested_upgrade(
    method: bytes, minor: int, options: frozenset[bytes], special: Special, has_body: bool
) -> bytes | None:
    """The protocol a request asks to switch to.

    Args:
        method: request method.
        minor: minor version of the request.
        options: members of Connection.
        special: the fields with a role.
        has_body: whether a body follows the head.

    Returns:
        The first token of Upgrade in lower case, or None if there is no request that could be granted. ``h2c`` never
        counts: it would hand the connection to a protocol nobody here checks.

    Raises:
        BadMessage: 400 for a malformed token, a body (it would be read as data of the new protocol) or a bad WebSocket
            handshake; 426 for a WebSocket version other than 13.
    """
    values = special.get(b"upgrade")
    if values is None or minor == 0 or b"upgrade" not in options or b"close" in options:
        return None
    tokens = [token for token in list_members(values) if token != b"h2c"]
    if not all(_PROTOCOL.fullmatch(token) for token in tokens):
        raise BadMessage(400, "bad_upgrade")
    if not tokens:
        return None
    if has_body:
        raise BadMessage(400, "upgrade_with_body")
    if method != b"GET":
        return None
    if tokens[0] == b"websocket":
        _check_websocket(special)
    return tokens[0]


def _check_websocket(special: Special) -> None:
    versions = special.get(b"sec-websocket-version", [])
    if len(versions) != 1:
        raise BadMessage(400, "bad_websocket_version")
    if versions[0] != b"13":
        supported = ((b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", b"13"))
        raise BadMessage(426, "websocket_version", fields=supported)
    keys = special.get(b"sec-websocket-key", [])
    if len(keys) != 1 or not _WEBSOCKET_KEY.fullmatch(keys[0]):
        raise BadMessage(400, "bad_websocket_key")
