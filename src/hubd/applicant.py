"""What an agent that wants to attach says of itself, and what it is granted."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hubd.peers import certificate_of, is_here
from tunnel.attach import parse_attach_path
from tunnel.http1 import list_members
from yamux.carrier import UpgradeRefused

if TYPE_CHECKING:
    from hubd.front import Front
    from hubd.headers import Link
    from hubd.reasons import Reason
    from tunnel.http1 import RequestHead

MAX_LABELS = 32

_INSTANCE = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}=[A-Za-z0-9._:/@-]{0,128}")
_TEXT = re.compile(r"[\x21-\x7e]{1,64}")


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """What an agent says of itself, before anybody believed it.

    Args:
        agent_id: from the path; letters, digits, ``.``, ``_``, ``~`` and ``-``.
        peer: its address, "" on sockets in the file system.
        secure: the connection has TLS.
        authorization: value of Authorization, or None. Secret.
        instance: ``X-Agent-Instance``, or None.
        version: ``Agent-Version``, or "".
        labels: ``X-Agent-Label`` values, ``key=value``.
        source: the address it came from, also behind a trusted proxy.
        private: nobody on the way could read it: it has TLS up to us or up to a trusted proxy, or never left the
            machine.
        certificate: of the client, in DER, if the TLS listener checked one.
        folds: it takes SYN, ACK and FIN on data frames, and the end of a request before the response.
    """

    agent_id: str
    peer: str
    secure: bool
    authorization: bytes | None = field(repr=False)
    instance: str | None
    version: str
    labels: tuple[str, ...]
    source: str = ""
    private: bool = True
    certificate: bytes | None = field(default=None, repr=False)
    folds: bool = False

    def __repr__(self) -> str:
        return f"<AttachRequest {self.agent_id} from {self.peer or 'a local socket'}>"


class AttachDenied(Exception):
    """The agent may not attach.

    Args:
        reason: what it is told.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Grant:
    """What an agent was let in by.

    Args:
        token_id: of its token, "" for none; the session ends with it.
        actor: for events: "tokens/{id}", "cert/{name}", or "" for an agent nobody asked.
        joining: it may enrol, and nothing else.
    """

    token_id: str = ""
    actor: str = ""
    joining: bool = False


Authorize = Callable[[AttachRequest], Awaitable[Grant]]
"""Returns if the agent may attach; raises AttachDenied otherwise."""


def read_request(front: Front, head: RequestHead) -> AttachRequest | None:
    """The agent's own words, checked; None for an id that cannot be.

    Raises:
        UpgradeRefused: 400 for a field that is not as it should be.
    """
    agent_id = parse_attach_path(head.path)
    if agent_id is None:
        return None
    given: dict[bytes, list[bytes]] = {}
    for name, value in head.fields:
        given.setdefault(name.lower(), []).append(value)
    instance = _one(given, b"x-agent-instance", _INSTANCE)
    version = _one(given, b"agent-version", _TEXT)
    labels = tuple(value.decode("latin-1") for value in given.get(b"x-agent-label", []))
    if len(labels) > MAX_LABELS or not all(_LABEL.fullmatch(label) for label in labels):
        raise UpgradeRefused(400, "bad_label", f"a label is key=value; at most {MAX_LABELS} of them")
    tokens = given.get(b"authorization", [])
    if len(tokens) > 1:
        raise UpgradeRefused(400, "bad_authorization", "more than one Authorization")
    link = front.link
    source, private = _origin(link, head)
    return AttachRequest(
        agent_id,
        link.peer,
        link.secure,
        tokens[0] if tokens else None,
        instance,
        version or "",
        labels,
        source,
        private,
        certificate_of(front.transport) if link.secure else None,
        b"fold" in list_members(head.special.get(b"tunnel-agent", [])),
    )


def _origin(link: Link, head: RequestHead) -> tuple[str, bool]:
    """Where a request came from, and whether nobody on the way could read it."""
    private = link.secure or is_here(link.peer)
    if not link.trusted:
        return link.peer, private
    hops = b",".join(head.special.get(b"x-forwarded-for", [])).rpartition(b",")[2].strip()
    proto = head.special.get(b"x-forwarded-proto")
    if proto is not None:
        private = proto[-1].rpartition(b",")[2].strip().lower() == b"https"
    return hops[:64].decode("latin-1") or link.peer, private


def _one(given: dict[bytes, list[bytes]], name: bytes, form: re.Pattern[str]) -> str | None:
    values = [value.decode("latin-1") for value in given.get(name, [])]
    if not values:
        return None
    if len(values) > 1 or not form.fullmatch(values[0]):
        text = name.decode()
        raise UpgradeRefused(400, "bad_" + text.removeprefix("x-").replace("-", "_"), f"{text} is not valid")
    return values[0]
