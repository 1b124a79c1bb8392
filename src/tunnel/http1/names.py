"""Field names that have a role, and the one-pass split of a head into end-to-end fields and the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tunnel.http1.errors import BadMessage, Fields
from tunnel.http1.limits import Underscores

Special = dict[bytes, list[bytes]]

# What the table says of a name: nothing for an ordinary one, the lower-case name for one with a role, and for the few
# that need more thought a mark, which is never a letter, in front.
_ORDINARY = b""
_UNDERSCORE = b"_"  # an ordinary name with "_" in it: the setting decides
_DISGUISED = b"!"  # a name with a role once "_" is read as "-", as CGI and WSGI servers do
_IN_BOTH = b"+"  # Sec-WebSocket-*: has a role and goes to the other end as well
_INNER = b"?"  # X-Proxy-*: means something only if the hub wrote it
_FIRST_LETTER = 0x61

# Hop-by-hop by RFC 9110 section 7.6.1, or named in Connection by habit: never forwarded, nominated or not.
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"http2-settings"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
# "proxy" is no real field: CGI would turn it into HTTP_PROXY, which clients in the application obey.
_REQUEST_ONLY = frozenset(
    {b"host", b"expect", b"via", b"max-forwards", b"forwarded", b"x-real-ip", b"x-origin-host", b"proxy"}
)
_REQUEST_PREFIXES = (b"proxy-", b"x-forwarded-", b"x-proxy-", b"sec-websocket-", b"tunnel-")
_RESPONSE_PREFIXES = (b"proxy-", b"sec-websocket-", b"tunnel-")

# Names a peer may not take out of the message by naming them in Connection.
PROTECTED = frozenset({b"content-length", b"transfer-encoding", b"host"})
# Naming these changes nothing: they are options, or stripped in any case.
_IDLE_NOMINATIONS = _HOP_BY_HOP | {b"close", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization"}

# Bounds the memory that invented names can take: 1,024 names of at most 64 bytes.
_CACHE_ENTRIES = 1024
_CACHE_NAME = 64

_COMMON_NAMES = (
    b"Host User-Agent Accept Accept-Encoding Accept-Language Accept-Charset Authorization Cache-Control Connection "
    b"Content-Length Content-Type Cookie DNT Expect Forwarded If-Match If-Modified-Since If-None-Match If-Range "
    b"Keep-Alive Max-Forwards Origin Pragma Priority Proxy-Connection Range Referer Sec-Ch-Ua Sec-Ch-Ua-Mobile "
    b"Sec-Ch-Ua-Platform Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Sec-WebSocket-Extensions "
    b"Sec-WebSocket-Key Sec-WebSocket-Protocol Sec-WebSocket-Version TE Trailer Transfer-Encoding Traceparent "
    b"Tracestate Upgrade Upgrade-Insecure-Requests Via X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto "
    b"X-Forwarded-Prefix X-Proxy-Host X-Proxy-Path X-Real-Ip X-Request-Id X-Requested-With "
    b"Accept-Ranges Access-Control-Allow-Headers Access-Control-Allow-Methods Access-Control-Allow-Origin Age Allow "
    b"Alt-Svc Content-Disposition Content-Encoding Content-Language Content-Location Content-Range "
    b"Content-Security-Policy Date ETag Expires Last-Modified Link Location Retry-After Server Set-Cookie "
    b"Strict-Transport-Security Vary WWW-Authenticate X-Content-Type-Options X-Frame-Options X-Powered-By "
    b"Tunnel-Error Tunnel-Hub"
).split()


class FieldTable:
    """Maps a field name as received to its role; remembers a bounded number of answers."""

    __slots__ = ("known", "_exact", "_prefixes", "_mind_underscores")

    def __init__(self, exact: frozenset[bytes], prefixes: tuple[bytes, ...], mind_underscores: bool) -> None:
        self.known: dict[bytes, bytes] = {}
        self._exact = exact
        self._prefixes = prefixes
        self._mind_underscores = mind_underscores
        for name in _COMMON_NAMES:
            self.known[name] = self._role(name)
            self.known[name.lower()] = self._role(name)

    def classify(self, name: bytes) -> bytes:
        """Returns the role of a name not met before and remembers it while there is room.

        Args:
            name: a field name as received, already known to be a token.

        Returns:
            The lower-case name if it has a role, possibly behind a mark, or an empty value if it is ordinary.
        """
        role = self._role(name)
        if len(self.known) < _CACHE_ENTRIES and len(name) <= _CACHE_NAME:
            self.known[name] = role
        return role

    def _role(self, name: bytes) -> bytes:
        lower = name.lower()
        if lower in self._exact or lower.startswith(self._prefixes):
            if lower.startswith(b"sec-"):
                return _IN_BOTH + lower
            return _INNER + lower if lower.startswith(b"x-proxy-") and lower != b"x-proxy-host" else lower
        if self._mind_underscores and b"_" in lower:
            return _DISGUISED if self._role(lower.replace(b"_", b"-")) else _UNDERSCORE
        return _ORDINARY


REQUEST_NAMES = FieldTable(_HOP_BY_HOP | _FRAMING | _REQUEST_ONLY, _REQUEST_PREFIXES, mind_underscores=True)
RESPONSE_NAMES = FieldTable(_HOP_BY_HOP | _FRAMING, _RESPONSE_PREFIXES, mind_underscores=False)


def split_fields(
    pairs: Iterable[tuple[bytes, bytes]], table: FieldTable, underscores: Underscores, trusted: bool
) -> tuple[Fields, Special]:
    """Splits the fields of a head by the role of their names.

    Args:
        pairs: names and values in the order received.
        table: the roles, for requests or for responses.
        underscores: what becomes of ordinary names with "_" in them.
        trusted: True keeps every X-Proxy-* field; otherwise only X-Proxy-Host is kept.

    Returns:
        The end-to-end fields, and lower-case name -> values for every name with a role. Sec-WebSocket-* is in both.

    Raises:
        BadMessage: 400 for a name that has a role once "_" is read as "-".
    """
    fields: Fields = []
    special: Special = {}
    ordinary = fields.append
    known: Callable[[bytes], bytes | None] = table.known.get
    for pair in pairs:
        key = known(pair[0])
        if key is None:
            key = table.classify(pair[0])
        if not key:
            ordinary(pair)
            continue
        if key[0] < _FIRST_LETTER:
            key = _ponder(key, pair, fields, underscores, trusted)
            if not key:
                continue
        if key in special:
            special[key].append(pair[1].strip())
        else:
            special[key] = [pair[1].strip()]
    return fields, special


def _ponder(mark: bytes, pair: tuple[bytes, bytes], fields: Fields, underscores: Underscores, trusted: bool) -> bytes:
    """Deals with a marked name; returns the key to file it under, or nothing."""
    if mark == _DISGUISED:
        raise BadMessage(400, "disguised_field_name")
    if mark == _UNDERSCORE:
        if underscores == "reject":
            raise BadMessage(400, "underscore_in_field_name")
        if underscores == "pass":
            fields.append(pair)
        return b""
    if mark[:1] == _IN_BOTH:
        fields.append(pair)
        return mark[1:]
    return mark[1:] if trusted else b""


def drop_nominated(options: frozenset[bytes], fields: Fields, special: Special, status: int) -> Fields:
    """Takes out what Connection names (RFC 9110 section 7.6.1).

    Args:
        options: lower-case members of Connection.
        fields: the end-to-end fields.
        special: the fields with a role; nominated ones are removed in place.
        status: the status of a refusal.

    Returns:
        The end-to-end fields without the nominated ones.

    Raises:
        BadMessage: a framing field or Host is nominated.
    """
    if options <= _IDLE_NOMINATIONS:
        return fields
    nominated = options - _IDLE_NOMINATIONS
    if not nominated.isdisjoint(PROTECTED):
        raise BadMessage(status, "protected_field_nominated")
    for name in nominated:
        special.pop(name, None)
    return [pair for pair in fields if pair[0].lower() not in nominated]
