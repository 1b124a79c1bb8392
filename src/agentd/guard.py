"""Where the agent connects to in no case, whatever names resolve to: places that were not meant, and itself.

A listed address is taken at its word. A listed name is not, since whoever answers for it could point it elsewhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # most clouds; link-local anyway
        "fd00:ec2::254",  # AWS, IPv6
        "fd20:ce::254",  # Google, IPv6
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure's host agent
        "192.0.0.192",  # Oracle
    )
)
_THIS_NETWORK: Final = ipaddress.IPv4Network("0.0.0.0/8")  # Linux takes 0.0.0.0 for this machine
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_PORTS: Final = {"ws": 80, "http": 80, "wss": 443, "https": 443, "tls": 443}


def is_denied(address: str) -> bool:
    """Whether a name may not lead to this address: link-local, metadata of clouds, unspecified, multicast, reserved,
    and IPv4 in IPv6 clothes."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        # No resolver's answer, so another spelling of something.
        return True
    return _denied(parsed)


def _denied(address: _Address) -> bool:
    if address.is_loopback:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            # How networks without IPv4 reach all of it: as good or bad as what it stands for, but never this machine.
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
            return inner.is_loopback or _denied(inner)
        if address.ipv4_mapped is not None or address in _COMPATIBLE or address.sixtofour is not None:
            return True
        if address.teredo is not None or address.is_site_local:
            return True
    elif address in _THIS_NETWORK:
        return True
    return (
        address in _METADATA
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or address.is_reserved
    )


class Guard:
    """The agent's own places: requests to them would go round in circles.

    Args:
        hubs: URLs of the hubs.

    Attributes:
        ports: TCP ports the agent itself listens at, on loopback.
        sockets: the same for sockets in the file system.
    """

    def __init__(self, hubs: Iterable[str] = ()) -> None:
        self.ports: set[int] = set()
        self.sockets: set[str] = set()
        self._hubs: dict[int, set[str]] = {}
        self.know(hubs)

    def know(self, hubs: Iterable[str]) -> None:
        """Take these hubs for the ones there are."""
        self._hubs = {}
        for url in hubs:
            host, port = _place(url)
            if port:
                self._hubs.setdefault(port, set()).add(host)

    def own_socket(self, path: str) -> bool:
        """Whether a socket is the agent's own, also by another name."""
        return os.path.realpath(path) in {os.path.realpath(own) for own in self.sockets}

    async def loops(self, addresses: Iterable[str], port: int) -> str:
        """Why a target is a place of our own; "" if it is none.

        Args:
            addresses: where the target is.
            port: its port.

        Resolves the hubs' names, but only for a target with a hub's port.
        """
        places = {_plain(address) for address in addresses}
        here = any(place.is_loopback for place in places)
        if here and port in self.ports:
            return "the agent itself"
        for host in self._hubs.get(port, ()):
            theirs = await _resolve(host, port)
            if places & theirs or (here and any(place.is_loopback for place in theirs)):
                return "the hub itself"
        return ""


async def _resolve(host: str, port: int) -> set[_Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return set()
    return {_plain(str(entry[4][0])) for entry in found}


def _plain(address: str) -> _Address:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


def _place(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return "", 0
