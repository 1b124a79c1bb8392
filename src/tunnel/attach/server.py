"""The hub's side of attach: what to answer, decided on the request head alone. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tunnel.http1 import RequestHead, list_members
from yamux.carrier import Fields, Framing, Upgrade, UpgradeRefused

ATTACH_PREFIX = "/api/v1/hubs/"

AGENT_ID = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,127}")
"""What an agent may be called: unreserved URL characters, so that no two spellings name the same agent."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An upgrade the server agrees to.

    Args:
        token: the upgrade token chosen.
        headers: fields the 101 needs beside `Upgrade` and `Connection`.
        framing: to be started once the 101 is written.
    """

    token: bytes
    headers: Fields
    framing: Framing


def parse_attach_path(path: bytes) -> str | None:
    """The agent id of an attach request's path, None if the path is another one or the id is not valid."""
    prefix = ATTACH_PREFIX.encode()
    if not path.startswith(prefix):
        return None
    agent_id = path[len(prefix) :].decode("latin-1")
    return agent_id if AGENT_ID.fullmatch(agent_id) else None


def check_upgrade(head: RequestHead, upgrades: dict[bytes, Upgrade]) -> Accepted:
    """Decide on an attach request's upgrade. Pure; says nothing about who may attach.

    Args:
        head: a request whose path is an attach path.
        upgrades: known tokens, from the carrier registry.

    Raises:
        UpgradeRefused: 426 no upgrade or none we know, 403 `Origin` present, 400 token in the query or bad fields,
            405 not a GET, 505 not HTTP/1.1.
    """
    known: Fields = [(b"Upgrade", b", ".join(sorted(upgrades)))]
    if head.method != b"GET":
        raise UpgradeRefused(405, "method_not_allowed", "attach with GET", [(b"Allow", b"GET")])
    if head.minor != 1:
        raise UpgradeRefused(505, "http_version", "an upgrade needs HTTP/1.1")
    if any(name.lower() == b"origin" for name, _ in head.fields):
        raise UpgradeRefused(403, "origin_not_allowed", "browsers may not attach")
    if any(pair.partition(b"=")[0].lower() == b"token" for pair in head.query.split(b"&")):
        raise UpgradeRefused(400, "token_in_query", "send the token as Authorization: Bearer, never in the URL")
    if head.special.get(b"content-length", [b"0"]) != [b"0"] or b"transfer-encoding" in head.special:
        raise UpgradeRefused(400, "upgrade_with_body", "an upgrade request has no body")
    wishes = list_members(head.special.get(b"upgrade", []))
    if not wishes or b"upgrade" not in list_members(head.special.get(b"connection", [])):
        raise UpgradeRefused(426, "upgrade_required", "this path needs an Upgrade", known)
    for token in wishes:
        upgrade = upgrades.get(token)
        if upgrade is not None:
            headers, framing = upgrade.accept(head.fields)
            return Accepted(token, headers, framing)
    raise UpgradeRefused(426, "upgrade_unknown", "none of the offered upgrades is known here", known)


def encode_101(token: bytes, headers: Fields) -> bytes:
    """The 101's head.

    Args:
        token: from `Accepted`.
        headers: `Accepted.headers` and whatever the server adds.
    """
    lines = [b"HTTP/1.1 101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: " + token]
    lines += [b"%b: %b" % field for field in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"
