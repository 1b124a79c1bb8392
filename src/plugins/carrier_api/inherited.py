"""Listening sockets this process was given instead of opening them: by a service manager or by the process before it.

Whoever is about to bind an address asks here first. The table is the process's own, as the descriptors are: the daemon
fills it at its start and closes at the end what nobody has taken.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

_table: list[tuple[str, list[socket.socket]]] = []


def adopt(place: str, sockets: Sequence[socket.socket]) -> None:
    """Offer sockets to whoever binds this place.

    Args:
        place: ``host:port`` as the settings say it, so that port 0 finds its socket again; "" to go by the sockets' own
            addresses alone.
        sockets: bound and listening.
    """
    _table.append((place, list(sockets)))


def take(host: str, port: int) -> list[socket.socket]:
    """The sockets for an address, which are the caller's from now on; empty if there are none."""
    place = place_of(host, port)
    for index, (offered, sockets) in enumerate(_table):
        if offered == place:
            del _table[index]
            return sockets
    taken = []
    for offered, sockets in _table:
        if not offered:
            mine = [sock for sock in sockets if _at(sock, host, port)]
            taken += mine
            sockets[:] = [sock for sock in sockets if sock not in mine]
    _table[:] = [entry for entry in _table if entry[1]]
    return taken


def close_rest() -> list[str]:
    """Close what nobody has taken; returns the addresses."""
    left = [sock for _, sockets in _table for sock in sockets]
    _table.clear()
    names = [address_of(sock) for sock in left]
    for sock in left:
        sock.close()
    return names


def place_of(host: str, port: int) -> str:
    """``host:port``, with brackets where they are needed."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_of(sock: socket.socket) -> str:
    """Where a listening socket is, for people and for settings."""
    name = sock.getsockname()
    return place_of(*name[:2]) if isinstance(name, tuple) else f"unix:{name}"


def _at(sock: socket.socket, host: str, port: int) -> bool:
    name = sock.getsockname()
    if not isinstance(name, tuple) or not port or name[1] != port:
        return False
    try:
        return ipaddress.ip_address(name[0].partition("%")[0]) == ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost" and ipaddress.ip_address(name[0]).is_loopback
