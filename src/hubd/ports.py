"""The ports of TCP routes: opened when a route is made or the hub starts, closed when it goes."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from hubd.listeners import Door, ListenError, bind
from hubd.tcp import TcpVisitor
from tunnel.settings import HostPort

if TYPE_CHECKING:
    from hubd.state import Hub
    from hubd.store.routes import RouteRecord

logger = logging.getLogger("hubd.tcp")


class Ports:
    """Listeners of TCP routes. One of the parts of a hub: only one process has them.

    Args:
        hub: shared state.

    Attributes:
        errors: why a port could not be opened, by route id.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._open: dict[str, tuple[int, Door]] = {}
        self.errors: dict[str, str] = {}

    async def start(self) -> None:
        """Open the ports of all routes. One that cannot be had is told, and does not keep the hub from serving."""
        for record in self._hub.routes.all():
            if record.tcp_port:
                try:
                    await self.open(record)
                except ListenError as exc:
                    self.errors[record.id] = str(exc)
                    logger.error("TCP route %s: %s", record.id, exc)  # noqa: TRY400 - one line says it all

    def heritage(self) -> list[tuple[str, list[int]]]:
        """All open ports, for the process that follows: ``host:port`` and descriptors."""
        host = self._hub.config.routes.host
        return [(str(HostPort(host, port)), door.descriptors) for port, door in self._open.values()]

    async def stop(self) -> None:
        """Accept nothing more; connections go on."""
        for _, door in self._open.values():
            door.close()
        self._open.clear()

    async def open(self, record: RouteRecord) -> None:
        """Open a route's port, or serve the route as it is now if it is open already.

        Raises:
            ListenError: it cannot be had.
        """
        backlog = self._hub.limits.backlog
        sockets = bind(HostPort(self._hub.config.routes.host, record.tcp_port), backlog)
        door = Door(sockets, partial(TcpVisitor, self._hub, record), backlog=backlog)
        await door.open()
        self._open[record.id] = (record.tcp_port, door)
        self.errors.pop(record.id, None)

    async def change(self, before: RouteRecord, after: RouteRecord) -> None:
        """A route has changed. The new port is opened before the old one is closed.

        Raises:
            ListenError: the new port cannot be had; the old one stays open.
        """
        held = self._open.get(before.id)
        if after.tcp_port and (held is None or held[0] != after.tcp_port):
            await self.open(after)
            if held is not None:
                held[1].close()
        elif held is not None and after.tcp_port:
            await held[1].serve(partial(TcpVisitor, self._hub, after))
        elif held is not None:
            self.close(before.id)

    def close(self, route_id: str) -> None:
        """Close a route's port, if it has one; connections go on."""
        self.errors.pop(route_id, None)
        held = self._open.pop(route_id, None)
        if held is not None:
            held[1].close()
