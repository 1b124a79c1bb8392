"""The syntax of Host, and when two authorities are the same."""

from __future__ import annotations

import ipaddress

# Letters, digits and what registered names and container names use. Everything else in a Host (comma, "@", "/",
# blank, "%") has been used to make two parties see two hosts, and no name that can be routed holds it.
_NAME_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._"


def valid_host(value: bytes) -> bool:
    """True if the value is a name, an IPv4 address or an IPv6 literal, with or without a port from 1 to 65535."""
    rest = value.translate(None, _NAME_BYTES)
    if not rest:
        return value.strip(b".") != b""
    if rest == b":":
        name, _, port = value.partition(b":")
        return name.strip(b".") != b"" and _valid_port(port)
    if value[0] != 0x5B:
        return False
    literal, bracket, port = value[1:].partition(b"]")
    if not bracket or b"%" in literal or not _valid_ipv6(literal):
        return False
    return not port or (port[0] == 0x3A and _valid_port(port[1:]))


def split_host(value: bytes) -> tuple[bytes, int | None]:
    """Splits a valid Host into what routing compares: the name in lower case without a final dot, and the port.

    Args:
        value: a Host for which valid_host() is True.

    Returns:
        The normalised name (IPv6 literals keep their brackets) and the port, or None if there is none.
    """
    end = value.rfind(b"]")
    colon = value.find(b":", end + 1)
    name, port = (value, None) if colon < 0 else (value[:colon], int(value[colon + 1 :]))
    return name.lower().removesuffix(b"."), port


def same_authority(one: bytes, other: bytes, default_port: int) -> bool:
    """True if two valid authorities name the same place, letter case and the default port aside."""
    name, port = split_host(one)
    other_name, other_port = split_host(other)
    return name == other_name and (port or default_port) == (other_port or default_port)


def _valid_port(port: bytes) -> bool:
    return port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536


def _valid_ipv6(literal: bytes) -> bool:
    try:
        ipaddress.IPv6Address(literal.decode("ascii"))
    except ValueError:
        return False
    return True
