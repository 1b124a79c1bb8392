"""Whole heads: bytes in, RequestHead or ResponseHead out.

This is the only module that touches httptools. Each head gets a fresh parser and is fed alone, never with body bytes.
That closes what the parser leaves open: it cannot be paused between pipelined requests, does not know which request a
response answers, takes body bytes for upgraded data, and stays unusable after an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from tunnel.http1.errors import BadMessage, Fields
from tunnel.http1.framing import (
    Framing,
    connection_options,
    list_members,
    request_framing,
    response_framing,
)
from tunnel.http1.hosts import same_authority, valid_host
from tunnel.http1.limits import Limits, Underscores
from tunnel.http1.names import REQUEST_NAMES, RESPONSE_NAMES, Special, drop_nominated, split_fields
from tunnel.http1.scan import HeadRules, HeadScan, request_rules, response_rules
from tunnel.http1.startline import (
    KNOWN_STATUS_LINES,
    METHODS,
    MINORS,
    TARGET_BYTES,
    status_line_fault,
    target_fault,
)
from tunnel.http1.upgrade import requested_upgrade

_Parser = Callable[[object], HttpRequestParser] | Callable[[object], HttpResponseParser]

_SLASH = 0x2F

# An enum member costs a look-up in the class each time.
_NONE, _LENGTH, _CHUNKED, _UNTIL_CLOSE = Framing.NONE, Framing.LENGTH, Framing.CHUNKED, Framing.UNTIL_CLOSE


class RequestHead:
    """A request line and its fields, checked.

    Attributes:
        method: as received; one of the known methods.
        target: as received. For forwarding take origin_form().
        path: the path, byte for byte; ``*`` for ``OPTIONS *``.
        query: what follows the first ``?``, byte for byte; empty if there is none.
        minor: minor version, 0 or 1.
        host: Host as received and checked, or the authority of an absolute target; empty only on HTTP/1.0.
        fields: end-to-end fields in the order and spelling received.
        special: lower-case name -> values, for every name with a role. Sec-WebSocket-* is here and in ``fields``.
        framing: how the end of the body is known: NONE, LENGTH or CHUNKED.
        length: declared Content-Length, or -1 if there is none.
        keep_alive: whether the peer allows another request on this connection.
        expect_continue: whether the peer waits for a 100 before it sends the body.
        upgrade: lower-case protocol asked for, if the request may be upgraded to it, else None.
        memo: for whoever forwards the head: what has been made of it, to be used again when it is repeated.
        kin: the same for what was made of all but the target, shared by heads that differ in nothing else.
    """

    __slots__ = (
        "method", "target", "path", "query", "minor", "host", "fields", "special", "framing", "length",
        "keep_alive", "expect_continue", "upgrade", "memo", "kin",
    )  # fmt: skip

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    minor: int
    host: bytes
    fields: Fields
    special: Special
    framing: Framing
    length: int
    keep_alive: bool
    expect_continue: bool
    upgrade: bytes | None
    memo: Any
    kin: dict[Any, Any]

    def origin_form(self) -> bytes:
        """The target as a server, not a proxy, is asked for it (RFC 9112 section 3.2.1)."""
        if self.target[0] == _SLASH or self.target == b"*":
            return self.target
        rest = self.target[_authority_end(self.target) :]
        if not rest:
            return self.path
        return rest if rest[0] == _SLASH else b"/" + rest

    def __repr__(self) -> str:
        return f"<RequestHead {self.method!r} {self.framing.name} minor={self.minor} upgrade={self.upgrade!r}>"


class ResponseHead:
    """A status line and its fields, checked.

    Attributes:
        status: 100 to 599.
        minor: minor version, 0 or 1.
        reason: as received; forward the standard phrase, not this one.
        fields: end-to-end fields in the order and spelling received.
        special: lower-case name -> values, for every name with a role. Sec-WebSocket-* is here and in ``fields``.
        framing: how the end of the body is known. NONE after HEAD and for 1xx, 204 and 304.
        length: declared Content-Length, or -1; kept with framing NONE for HEAD and 304, where it describes no body.
        size: bytes of the head as received.
        whole: bytes of head and body together, or -1 if the head does not tell.
        keep_alive: whether the connection can carry another exchange once this one is complete.
        upgrade: lower-case protocol of a 101, else None.
        memo: for whoever forwards the head: what has been made of it, to be used again when it is repeated.
    """

    __slots__ = (
        "status", "minor", "reason", "fields", "special", "framing", "length", "size", "whole", "keep_alive", "upgrade",
        "memo",
    )  # fmt: skip

    status: int
    minor: int
    reason: bytes
    fields: Fields
    special: Special
    framing: Framing
    length: int
    size: int
    whole: int
    keep_alive: bool
    upgrade: bytes | None
    memo: Any

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} {self.framing.name} minor={self.minor} upgrade={self.upgrade!r}>"


class RequestPolicy:
    """Everything that decides how request heads are read, put together once per reader."""

    __slots__ = ("limits", "rules", "trusted", "underscores")

    def __init__(self, limits: Limits, trusted: bool, underscores: Underscores) -> None:
        self.limits = limits
        self.rules = request_rules(limits)
        self.trusted = trusted
        self.underscores: Underscores = underscores


class ResponsePolicy:
    """Everything that decides how response heads are read, put together once per reader."""

    __slots__ = ("limits", "rules")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.rules = response_rules(limits)


class _Once(dict[bytes, bytes]):
    """What the parser calls for each field. A dict's own method saves a Python call per field.

    It keeps only the first of equal names, so a head that repeats a name in the same spelling is read again by _All.
    """

    __slots__ = ()
    on_header = dict.setdefault


class _All:
    """What the parser calls for each field of a head that repeats names."""

    __slots__ = ("pairs",)

    def __init__(self) -> None:
        self.pairs: Fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name, value))


def parse_request(block: bytes, policy: RequestPolicy) -> RequestHead:
    """Reads one request head.

    Args:
        block: from the first byte of the request line to the end of the empty line.
        policy: limits and settings.

    Raises:
        BadMessage: any rule is broken; the status is the one to answer with.
    """
    rules, limits = policy.rules, policy.limits
    lines = block.count(b"\r\n") - 2
    parts = block[: block.find(b"\r\n")].split(b" ")
    minor = MINORS.get(parts[-1])
    if minor is None or len(parts) != 3 or parts[0] not in METHODS:
        raise explain(block, rules)
    method, target, _ = parts
    if target.translate(None, TARGET_BYTES) or not (target.startswith(b"/") or target_fault(method, target) is None):
        raise explain(block, rules)
    size = len(block)
    if len(target) > limits.target or lines > rules.fields or (size > rules.small and _over_budget(block, rules)):
        raise explain(block, rules)
    pairs = _parse(HttpRequestParser, block, lines)
    refused = pairs is None
    if pairs is None:
        pairs = _split_lines(block, rules)
    head = RequestHead()
    head.memo = None
    head.kin = {}
    head.method = method
    head.target = target
    head.minor = minor
    head.fields, head.special = split_fields(pairs, REQUEST_NAMES, policy.underscores, policy.trusted)
    hosts = head.special.get(b"host")
    if hosts is not None and len(head.special) == 1:
        head.framing = _NONE
        head.length = -1
        head.keep_alive = minor == 1
        head.expect_continue = False
        head.upgrade = None
    else:
        _set_roles(head)
    _set_target(head, hosts)
    if refused:
        raise BadMessage(400, "bad_head")
    if limits.body is not None and head.length > limits.body:
        raise BadMessage(413, "body_too_large")
    return head


def _set_roles(head: RequestHead) -> None:
    """Sets what follows from fields with a role other than Host."""
    special = head.special
    options = connection_options(special)
    if options:
        head.fields = drop_nominated(options, head.fields, special, 400)
    head.framing, head.length = request_framing(head.minor, special)
    head.keep_alive = b"close" not in options and (head.minor == 1 or b"keep-alive" in options)
    has_body = head.framing is _CHUNKED or head.length > 0
    expect = special.get(b"expect")
    head.expect_continue = expect is not None and _expects_continue(expect, head.minor) and has_body
    head.upgrade = None
    if b"upgrade" in special:
        head.upgrade = requested_upgrade(head.method, head.minor, options, special, has_body)


def parse_response(block: bytes, policy: ResponsePolicy, method: bytes) -> ResponseHead:
    """Reads one response head.

    Args:
        block: from the first byte of the status line to the end of the empty line.
        policy: limits.
        method: method of the request this answers.

    Raises:
        BadMessage: any rule is broken; the status is 502.
    """
    rules = policy.rules
    lines = block.count(b"\r\n") - 2
    line = block[: block.find(b"\r\n")]
    known = KNOWN_STATUS_LINES.get(line)
    if known is None:
        if status_line_fault(line) is not None:
            raise explain(block, rules)
        known = line[7] - 0x30, int(line[9:12])
    if lines > rules.fields or (len(block) > rules.small and _over_budget(block, rules)):
        raise explain(block, rules)
    pairs = _parse(HttpResponseParser, block, lines)
    refused = pairs is None
    if pairs is None:
        pairs = _split_lines(block, rules)
    head = ResponseHead()
    head.memo = None
    head.minor, head.status = minor, status = known
    head.reason = line[13:]
    fields, special = split_fields(pairs, RESPONSE_NAMES, "pass", True)
    options = connection_options(special)
    head.fields = drop_nominated(options, fields, special, 502) if options else fields
    head.special = special
    head.framing, head.length = framing, length = response_framing(method, status, minor, special)
    head.size = len(block)
    head.whole = head.size + length if framing is _LENGTH else head.size if framing is _NONE else -1
    head.keep_alive = (
        framing is not _UNTIL_CLOSE and b"close" not in options and (minor == 1 or b"keep-alive" in options)
    )
    head.upgrade = _granted_upgrade(options, special) if status == 101 else None
    if refused:
        raise BadMessage(502, "bad_head")
    return head


def explain(block: bytes, rules: HeadRules) -> BadMessage:
    """The first fault of a complete head that was refused."""
    return HeadScan(rules).advance(block) or BadMessage(rules.bad, "bad_head")


def _over_budget(block: bytes, rules: HeadRules) -> bool:
    # The first line has its own limits, checked by the caller.
    return len(block) > rules.head or any(len(line) > rules.line for line in block.split(b"\r\n")[1:])


def _parse(parser: _Parser, block: bytes, lines: int) -> Iterable[tuple[bytes, bytes]] | None:
    """Runs the parser over a head.

    Returns:
        The fields in order, or None if the parser refused the head or saw another number of fields than it has lines.
    """
    once = _Once()
    try:
        parser(once).feed_data(block)
    except HttpParserUpgrade:
        # Raised at the end of a head that asks for an upgrade; whether it gets one is decided elsewhere.
        pass
    except HttpParserError:
        return None
    if len(once) == lines:
        return once.items()
    every = _All()
    try:
        parser(every).feed_data(block)
    except HttpParserUpgrade:
        pass
    return every.pairs if len(every.pairs) == lines else None


def _split_lines(block: bytes, rules: HeadRules) -> Fields:
    """Takes a head apart that the parser refused, so that the refusal can name the rule; the head stays refused."""
    fault = HeadScan(rules).advance(block)
    if fault is not None:
        raise fault
    pairs: Fields = []
    for line in block[:-4].split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        pairs.append((name, value.strip(b" ")))
    return pairs


def _authority_end(target: bytes) -> int:
    start = target.find(b"://") + 3
    ends = [end for mark in (b"/", b"?") if (end := target.find(mark, start)) >= 0]
    return min(ends, default=len(target))


def _set_target(head: RequestHead, hosts: list[bytes] | None) -> None:
    """Checks Host and target against each other (RFC 9112 section 3.2) and sets host, path and query."""
    target = head.target
    if hosts is None:
        if head.minor == 1:
            raise BadMessage(400, "no_host")
        head.host = b""
    elif len(hosts) != 1:
        raise BadMessage(400, "duplicate_host")
    else:
        head.host = hosts[0]
        if not valid_host(head.host):
            raise BadMessage(400, "bad_host")
    if target[:1] == b"/":
        head.path, _, head.query = target.partition(b"?")
        return
    if target == b"*":
        head.path, head.query = target, b""
        return
    _set_absolute_target(head)


def _set_absolute_target(head: RequestHead) -> None:
    target = head.target
    scheme, _, _ = target.partition(b"://")
    end = _authority_end(target)
    authority = target[len(scheme) + 3 : end]
    if not valid_host(authority):
        raise BadMessage(400, "bad_authority")
    if head.host and not same_authority(authority, head.host, 443 if scheme.lower() == b"https" else 80):
        raise BadMessage(400, "authority_is_not_host")
    head.host = authority
    head.path, _, head.query = target[end:].partition(b"?")
    if not head.path:
        # An absolute target without path and query asks for the whole server with OPTIONS, for "/" otherwise.
        head.path = b"*" if head.method == b"OPTIONS" and end == len(target) else b"/"


def _expects_continue(values: list[bytes], minor: int) -> bool:
    if minor == 0:
        return False
    if len(values) != 1 or values[0].lower() != b"100-continue":
        raise BadMessage(417, "bad_expect")
    return True


def _granted_upgrade(options: frozenset[bytes], special: Special) -> bytes:
    tokens = list_members(special.get(b"upgrade", []))
    if len(tokens) != 1 or b"upgrade" not in options:
        raise BadMessage(502, "bad_101")
    return tokens[0]
