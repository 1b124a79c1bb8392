"""Heads the hub writes: the request for the agent and the response for the visitor. Pure; lists of bytes, joined once."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from hubd.dates import date_line
from tunnel.http1 import Framing
from tunnel.http1.phrases import STATUS_LINES

if TYPE_CHECKING:
    from hubd.routes import Route
    from tunnel.http1 import RequestHead, ResponseHead, Special

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

# What a visitor may choose as the id of its request: harmless in JSON, logs and headers.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=-]{1,128}")
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
_LIST = b", "
# Routes of one head, with other paths, for which the lines in between are kept.
MOST_KIN = 16
_NONE, _LENGTH, _CHUNKED = Framing.NONE, Framing.LENGTH, Framing.CHUNKED


class Link:
    """What is the same for all requests of one visitor connection.

    Args:
        peer: the visitor's address, "" for sockets in the file system.
        authority: our own address on this connection, for requests that name no host (HTTP/1.0).
        secure: the connection has TLS.
        trusted: the peer's own forwarding headers are kept and added to.
    """

    __slots__ = ("_lines", "_peer", "authority", "peer", "proto", "secure", "trusted")

    def __init__(self, peer: str, authority: bytes, *, secure: bool, trusted: bool) -> None:
        self.peer = peer
        self.authority = authority
        self.secure = secure
        self.trusted = trusted
        self.proto = b"https" if secure else b"http"
        # RFC 7239 section 6.2's word for an address that cannot be told.
        self._peer = peer.encode("ascii", "replace") or b"unknown"
        self._lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b" % (self._peer, self.proto)

    def forwarded(self, special: Special, host: bytes, prefix: bytes, lines: list[bytes]) -> None:
        """Append the forwarding fields for one request. Those a stranger sent are replaced by ours."""
        if self.trusted:
            self._added(special, host, prefix, lines)
            return
        lines.append(self._lines)
        lines.append(b"X-Forwarded-Host: " + host)
        if prefix:
            lines.append(b"X-Forwarded-Prefix: " + prefix)

    def _added(self, special: Special, host: bytes, prefix: bytes, lines: list[bytes]) -> None:
        chain = [*special.get(b"x-forwarded-for", []), self._peer]
        lines.append(b"X-Forwarded-For: " + _LIST.join(chain))
        for name, label, own in (
            (b"x-forwarded-proto", b"X-Forwarded-Proto: ", self.proto),
            (b"x-forwarded-host", b"X-Forwarded-Host: ", host),
        ):
            lines.append(label + _LIST.join(special.get(name, [own])))
        outer = b"".join(special.get(b"x-forwarded-prefix", [])).rstrip(b"/")
        if outer or prefix:
            lines.append(b"X-Forwarded-Prefix: " + outer + prefix)
        for name, label in ((b"forwarded", b"Forwarded: "), (b"x-real-ip", b"X-Real-IP: ")):
            lines.extend(label + value for value in special.get(name, []))


def is_trusted(peer: str, networks: Networks) -> bool:
    """Whether a peer's forwarding headers are believed."""
    if not networks:
        return False
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


def visitor_address(link: Link, special: Special, proxies: Networks) -> str:
    """Where a request comes from: the peer's address, or behind trusted proxies the last one they name that is none of
    them."""
    if not link.trusted:
        return link.peer
    chain = b",".join(special.get(b"x-forwarded-for", [])).split(b",")
    for hop in reversed(chain):
        address = hop.strip().decode("latin-1")
        if address and not is_trusted(address, proxies):
            return address[:64]
    return link.peer


def given_request_id(head: RequestHead) -> bytes | None:
    """The request's own id if it sent one that can be used; fields that cannot be used are taken out of the head."""
    for field in head.fields:
        if len(field[0]) == 12 and field[0].lower() == b"x-request-id":
            break
    else:
        return None
    values = [value for name, value in head.fields if name.lower() == b"x-request-id"]
    if len(values) == 1 and _REQUEST_ID.fullmatch(values[0]):
        return values[0]
    head.fields = [pair for pair in head.fields if pair[0].lower() != b"x-request-id"]
    return None


def passed_here(head: RequestHead, via: bytes) -> bool:
    """Whether the request carries our own Via pseudonym, so is going round in a loop."""
    values = head.special.get(b"via")
    if values is None:
        return False
    received = (member.split() for value in values for member in value.split(b","))
    return any(len(words) > 1 and words[1] == via for words in received)


def request_lines(head: RequestHead, route: Route, link: Link, *, raw_path: bool, via: bytes) -> bytes | None:
    """The request head as it goes on the stream, but for the request id and the empty line.

    What changes from one request to the next comes first and last, so that the agent knows the rest again.

    Args:
        head: as read from the visitor.
        route: from the router.
        link: of the visitor's connection.
        raw_path: the agent takes ``X-Proxy-Path`` percent-encoded; else it is decoded.
        via: our pseudonym.

    Returns:
        Lines, each ended by CRLF; None if the decoded path cannot stand in a field.
    """
    path = route.path
    if not raw_path and b"%" in path:
        path = unquote_to_bytes(path)
        if _CONTROLS.search(path):
            return None
    kin = head.kin
    key = link, route.prefix, route.host
    shared: bytes | None = kin.get(key)
    if shared is None:
        if len(kin) >= MOST_KIN:
            kin.clear()
        shared = kin[key] = _shared_lines(head, route, link, via)
    return b"%b %b HTTP/1.1\r\n%bX-Proxy-Path: %b\r\n" % (head.method, route.target, shared, path)


def _shared_lines(head: RequestHead, route: Route, link: Link, via: bytes) -> bytes:
    """What is the same for requests that differ in their path only."""
    special = head.special
    host = head.host or link.authority
    lines = [b"Host: " + host]
    if route.withhold:
        lines += [b": ".join(pair) for pair in head.fields if pair[0].lower() != b"authorization"]
    else:
        lines += [b": ".join(pair) for pair in head.fields]
    framing = head.framing
    if framing is _LENGTH:
        lines.append(b"Content-Length: %d" % head.length)
    elif framing is _CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    if head.expect_continue:
        lines.append(b"Expect: 100-continue")
    if head.upgrade is not None:
        lines.append(b"Connection: Upgrade\r\nUpgrade: " + head.upgrade)
    link.forwarded(special, host, route.prefix, lines)
    if route.host is not None:
        lines.append(b"X-Proxy-Host: " + route.host)
    hops = special.get(b"via")
    received = b"1.%d %b" % (head.minor, via)
    lines.append(b"Via: " + (received if hops is None else _LIST.join([*hops, received])))
    limit = special.get(b"max-forwards")
    if limit is not None:
        lines.append(b"Max-Forwards: " + _fewer(head.method, limit[0]))
    lines.append(b"")
    return b"\r\n".join(lines)


def _fewer(method: bytes, hops: bytes) -> bytes:
    """Max-Forwards for the next hop: counted down for OPTIONS only (RFC 9110 section 7.6.2)."""
    if method == b"OPTIONS" and hops.isdigit():
        return b"%d" % max(0, int(hops[:9]) - 1)
    return hops


def response_head(head: ResponseHead, *, minor: int, close: bool) -> bytes:
    """A final response's head for the visitor, framing written anew.

    A body whose length is not known goes out chunked to HTTP/1.1 visitors and until close to HTTP/1.0 ones; the caller
    closes then. A head without a Date gets one (RFC 9110 section 6.6.1).

    Args:
        head: as read from the agent.
        minor: the visitor's HTTP/1.x version.
        close: the connection ends with this response.
    """
    if head.memo is None:
        head.memo = {}
    # A number, since this is asked for every response: tuples take longer to make and to look up.
    key = 2 * minor + close
    made: bytes | None = head.memo.get(key)
    return made if made is not None else _made(head, key, minor=minor, close=close)


def _made(head: ResponseHead, key: int, *, minor: int, close: bool) -> bytes:
    """The head, remembered for the next time: whole if it has a date, else as far as what the hub dates."""
    undated: bytes | None = head.memo.get(~key)
    if undated is None:
        made = _response_head(head, minor=minor, close=close)
        if any(name.lower() == b"date" for name, _ in head.fields):
            head.memo[key] = made
            return made
        undated = head.memo[~key] = made[:-2]
    return b"%b%b\r\n" % (undated, date_line())


def _response_head(head: ResponseHead, *, minor: int, close: bool) -> bytes:
    lines = [STATUS_LINES[head.status]]
    lines += [b": ".join(pair) for pair in head.fields]
    framing = head.framing
    if framing is _LENGTH:
        lines.append(b"Content-Length: %d" % head.length)
    elif framing is _NONE:
        # HEAD and 304 tell the length of what is not sent; 204 must not (RFC 9110 section 8.6).
        if head.length >= 0 and head.status != 204:
            lines.append(b"Content-Length: %d" % head.length)
    elif minor:
        lines.append(b"Transfer-Encoding: chunked")
    if close:
        lines.append(b"Connection: close")
    elif not minor:
        lines.append(b"Connection: keep-alive")
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def informational_head(head: ResponseHead) -> bytes:
    """A 1xx head for the visitor."""
    lines = [STATUS_LINES[head.status]]
    lines += [b": ".join(pair) for pair in head.fields]
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def switching_head(head: ResponseHead) -> bytes:
    """The 101 for the visitor; ``head.upgrade`` must be what was asked for."""
    lines = [STATUS_LINES[101], b"Connection: Upgrade", b"Upgrade: " + (head.upgrade or b"")]
    lines += [b": ".join(pair) for pair in head.fields]
    lines.append(b"\r\n")
    return b"\r\n".join(lines)
