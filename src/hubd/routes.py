"""Where a request goes: to an agent by path or host name, or to the hub itself. Pure and synchronous.

Path bytes are never decoded, joined or re-encoded on the way to the target; only the agent id is read from them.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from hubd.reasons import BAD_TARGET, MISDIRECTED, NOT_FOUND, TRACE, Reason
from tunnel.attach import ATTACH_PREFIX
from tunnel.http1 import split_host

if TYPE_CHECKING:
    from hubd.accesslog import Outcome
    from hubd.quotas import Ticket
    from hubd.routebook import Table
    from hubd.store.routes import RouteRecord
    from tunnel.http1 import RequestHead

PROXY_PREFIX = b"/api/v1/proxy/"
HEALTH_PATH = b"/healthz"
TARGET_PARAMETER = b"x-proxy-host"

_ATTACH = ATTACH_PREFIX.encode()
_CUT = len(PROXY_PREFIX)
# The agent decides what it may reach; here only what could not stand in a header field is refused.
_TARGET = re.compile(rb"[\x21-\x7e]{1,255}")


class Local(Enum):
    """What the hub answers itself."""

    HEALTH = "health"
    ATTACH = "attach"
    OPTIONS = "options"


class Route:
    """A request on its way to an agent.

    Attributes:
        agent_id: whose pool serves it.
        prefix: what of the path belongs to the hub, b"" for host routes.
        path: path at the target, as received, starting with a slash.
        target: request target on the stream.
        host: target asked for, or None for the agent's own default.
        rest: what stands behind the path in ``target`` if that is not as received, else None.
        lines: the head made for this route, by whether the agent takes raw paths: a visitor that repeats its request
            has the same route again.
        ticket: what its requests are counted against, where anything is limited.
        credential: scheme and value of Authorization, once it was looked for. Secret.
        given: the visitor's own request id, or None.
        outcome: of its last response, as the access log has it.
        clear: the request has passed what is checked once for a head: it is not going round in a loop, and asks for no
            upgrade that is not served.
    """

    __slots__ = (
        "agent_id", "clear", "credential", "given", "host", "lines", "outcome", "passed", "path", "prefix", "rest", "target",
        "ticket", "withhold",
    )  # fmt: skip

    def __init__(
        self, agent_id: str, prefix: bytes, path: bytes, target: bytes, host: bytes | None, rest: bytes | None = None
    ) -> None:
        self.agent_id = agent_id
        self.prefix = prefix
        self.path = path
        self.target = target
        self.host = host
        self.rest = rest
        self.lines: dict[bool, bytes] = {}
        self.ticket: Ticket | None = None
        self.credential: tuple[bytes, bytes] | None = None
        self.passed: tuple[object, str] | None = None
        self.given: bytes | None = None
        self.outcome: Outcome | None = None
        self.clear = self.withhold = False


def take_target(query: bytes) -> tuple[bytes | None, bytes]:
    """Take the target parameter out of a query.

    Returns its decoded value (None if absent or empty) and the query without it, all other bytes unchanged.

    Raises:
        ValueError: it is given twice with different values.
    """
    found: list[bytes] = []
    rest: list[bytes] = []
    for pair in query.split(b"&"):
        name, equals, value = pair.partition(b"=")
        if equals and name == TARGET_PARAMETER:
            found.append(unquote_to_bytes(value))
        else:
            rest.append(pair)
    if len(set(found)) > 1:
        raise ValueError("given twice")
    return (found[0] or None) if found else None, b"&".join(rest)


class Router:
    """Reads routes from request heads.

    Args:
        domain: agents are served at ``{id}.<domain>``; None serves them by path only.

    Attributes:
        table: host routes people made; None while there is none.
    """

    __slots__ = ("_suffix", "table")

    def __init__(self, domain: str | None) -> None:
        self.table: Table | None = None
        self.serve_domain(domain)

    def serve_domain(self, domain: str | None) -> None:
        """Change the domain. Routes that were made before do not."""
        self._suffix = b"." + split_host(domain.encode("ascii"))[0] if domain else b""

    def agent_of_host(self, host: bytes) -> str | None:
        """The agent a host name belongs to; "" is not an agent's name. None for the hub's own and foreign names."""
        if not self._suffix:
            return None
        name, _ = split_host(host)
        if not name.endswith(self._suffix):
            return None
        return name[: -len(self._suffix)].decode("latin-1")

    def resolve(self, head: RequestHead, sni: str | None = None) -> Route | Local | Reason:
        """Decide on one request.

        Args:
            head: as read.
            sni: server name the visitor's TLS handshake asked for.

        Returns:
            A route to an agent, what the hub serves itself, or the reason for a refusal.
        """
        kin = head.kin
        if Route in kin:
            again = _like(head, *kin[Route])
            if again is not None:
                return again
        found = self._resolve(head, sni)
        if type(found) is Route:
            kin[Route] = head.query, found
        return found

    def _resolve(self, head: RequestHead, sni: str | None) -> Route | Local | Reason:
        agent_id = self.agent_of_host(head.host)
        if sni is not None and self._suffix:
            named = self.agent_of_host(sni.encode("ascii", "replace"))
            # A name of the hub itself may be used for any agent, a name of an agent for that one only: whoever set
            # up the connection (certificate checks, client certificates) did so for that name.
            if named is not None and named != agent_id:
                return MISDIRECTED
        if head.method == b"TRACE":
            return TRACE
        if head.method == b"OPTIONS" and _for_us(head):
            return Local.OPTIONS
        path = head.path
        table = self.table
        if table is not None:
            if sni is not None and table.rules(sni.lower().encode("ascii", "replace")) is not None:
                if split_host(head.host)[0] != sni.lower().encode("ascii", "replace"):
                    return MISDIRECTED
            made = table.find(head.host, path)
            if made:
                return NOT_FOUND if made is True else _by_table(head, made)
        if agent_id is not None:
            return self._route(head, agent_id, b"", path)
        if path.startswith(PROXY_PREFIX):
            end = path.find(b"/", _CUT)
            if end < 0:
                end = len(path)
            name = path[_CUT:end]
            agent_id = (unquote_to_bytes(name) if b"%" in name else name).decode("latin-1")
            if agent_id:
                return self._route(head, agent_id, path[:end], path[end:] or b"/")
        elif path.startswith(_ATTACH):
            return Local.ATTACH
        elif path == HEALTH_PATH:
            return Local.HEALTH
        return NOT_FOUND

    def _route(self, head: RequestHead, agent_id: str, prefix: bytes, path: bytes) -> Route | Reason:
        query = head.query
        host: bytes | None = None
        suffix: bytes | None = None
        target = head.origin_form()
        if TARGET_PARAMETER in query:
            try:
                host, rest = take_target(query)
            except ValueError:
                return BAD_TARGET
            if rest != query:
                suffix = b"?" + rest if rest else b""
                target = head.path + suffix
        if host is None:
            given = head.special.get(TARGET_PARAMETER)
            if given is not None:
                if len(given) > 1:
                    return BAD_TARGET
                host = given[0] or None
        if host is not None and not _TARGET.fullmatch(host):
            return BAD_TARGET
        return Route(agent_id, prefix, path, target, host, suffix)


def _like(head: RequestHead, query: bytes, route: Route) -> Route | None:
    """The route of a head that differs from another one in its path only; None if that leads elsewhere."""
    path, prefix = head.path, route.prefix
    size = len(prefix)
    if head.query != query or not path.startswith(prefix) or path[size : size + 1] != b"/":
        return None
    target = head.target if route.rest is None else path + route.rest
    return Route(route.agent_id, prefix, path[size:], target, route.host, route.rest)


def _by_table(head: RequestHead, record: RouteRecord) -> Route:
    """A request whose host people made a route for. The visitor has no say in the target."""
    prefix = record.path.encode() if record.strip_path else b""
    target = record.service.encode() or None
    return Route(record.agent, prefix, head.path[len(prefix) :] or b"/", head.origin_form(), target)


def _for_us(head: RequestHead) -> bool:
    """Whether an OPTIONS request ends here (RFC 9110 sections 7.6.2 and 9.3.7)."""
    if head.target == b"*":
        return True
    hops = head.special.get(b"max-forwards")
    return hops is not None and hops[0].isdigit() and int(hops[0][:9]) == 0
