"""The rule by which an agent's visitors are let in, as it is stored and as it is used."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast, get_args

from hubd.headers import Networks
from hubd.identity.passwords import hash_password, is_hash

Mode = Literal["open", "bearer", "basic", "certificate"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
MAX_USERS: Final = 1000
MAX_NETWORKS: Final = 1000

_USER: Final = re.compile(r"[^\x00-\x1f\x7f:]{1,128}")


class AccessError(ValueError):
    """A rule cannot be used.

    Args:
        field: ``mode``, ``allow_networks`` or ``users``.
        message: one line for people.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Access:
    """Who may visit.

    Args:
        mode: how visitors prove who they are.
        networks: where they may come from; empty is anywhere.
        users: hashes of passwords by name, for ``basic``.
    """

    mode: Mode = "open"
    networks: Networks = ()
    users: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def open(self) -> bool:
        """Whether everybody may."""
        return self.mode == "open" and not self.networks


def read_access(stored: Mapping[str, Any], default: Access) -> Access:
    """The rule an agent's row holds; what it leaves out is the hub's own setting.

    Args:
        stored: keys ``mode``, ``allow_networks``, ``users``.
        default: the hub's.

    Raises:
        AccessError: it cannot be used.
    """
    mode = stored.get("mode") or default.mode
    if mode not in MODES:
        raise AccessError("mode", f"{mode!r} is none of {', '.join(MODES)}")
    given = stored.get("allow_networks")
    networks = read_networks(given) if given else default.networks
    users = stored.get("users") or {}
    if len(users) > MAX_USERS or not all(_USER.fullmatch(name) and is_hash(kept) for name, kept in users.items()):
        raise AccessError("users", f"at most {MAX_USERS} users, each with the hash of a password")
    return Access(cast("Mode", mode), networks, dict(users) or default.users)


def read_networks(given: list[str]) -> Networks:
    """Networks from text.

    Raises:
        AccessError: one of them is none, or there are too many.
    """
    if len(given) > MAX_NETWORKS:
        raise AccessError("allow_networks", f"at most {MAX_NETWORKS} networks")
    try:
        return tuple(ipaddress.ip_network(text) for text in given)
    except ValueError as exc:
        raise AccessError("allow_networks", f'{exc}: write a network like "10.0.0.0/8"') from None


def to_store(
    *, mode: str, allow_networks: list[str], users: Mapping[str, str], before: Mapping[str, Any]
) -> dict[str, Any]:
    """A rule as it is stored, with passwords hashed. Each new password takes some 50 ms: call it in a thread.

    Args:
        mode: one of the modes, or "" for the hub's own.
        allow_networks: as text.
        users: passwords by name; "" keeps the password the user has.
        before: what is stored now.

    Raises:
        AccessError: it cannot be used; nothing was changed.
    """
    if mode and mode not in MODES:
        raise AccessError("mode", f"{mode!r} is none of {', '.join(MODES)}")
    networks = [str(network) for network in read_networks(allow_networks)]
    if len(users) > MAX_USERS:
        raise AccessError("users", f"at most {MAX_USERS} users")
    had = before.get("users") or {}
    kept: dict[str, str] = {}
    for name, password in users.items():
        if not _USER.fullmatch(name):
            raise AccessError("users", "a user's name has 1 to 128 characters, none of them ':' or unprintable")
        if not password and name not in had:
            raise AccessError("users", f"user {name} has no password")
        try:
            kept[name] = hash_password(password) if password else had[name]
        except ValueError as exc:
            raise AccessError("users", f"user {name}: {exc}") from None
    whole: dict[str, Any] = {"mode": mode, "allow_networks": networks, "users": kept}
    return {key: value for key, value in whole.items() if value}
