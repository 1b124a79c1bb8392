"""Everywhere a hub listens: its own ports and the carriers' listeners, opened, paused and closed together."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from typing import TYPE_CHECKING

from carrier_api import Registry, server_context
from carrier_api.inherited import adopt, place_of
from hubd.front import Front
from hubd.listeners import Door, ListenError, bind
from tunnel.settings import HostPort
from yamux.carrier import CarrierAddress, Listener, TlsOptions

if TYPE_CHECKING:
    from hubd.config import HubConfig
    from hubd.state import Hub

logger = logging.getLogger("hubd")


def tls_options(config: HubConfig) -> TlsOptions | None:
    """The certificate files of the settings, None without any."""
    tls = config.tls
    if tls is None:
        return None
    authorities = [str(path) for path in (tls.client_ca, config.visitors.client_ca) if path is not None]
    optional = "optional" if config.visitors.client_ca is not None else "required"
    return TlsOptions(
        ca_file=authorities[0] if authorities else None,
        also_ca_file=authorities[1] if len(authorities) > 1 else None,
        cert_file=str(tls.cert),
        key_file=str(tls.key) if tls.key is not None else None,
        client_optional=(tls.clients or optional) == "optional",
    )


def tls_context(config: HubConfig) -> ssl.SSLContext:
    """What the TLS port presents. Reads the files.

    Raises:
        ListenError: they cannot be used.
    """
    options = tls_options(config)
    assert options is not None
    try:
        return server_context(options)
    except ValueError as exc:
        raise ListenError(f"TLS: {exc}") from exc


def _check_open(config: HubConfig, address: CarrierAddress) -> None:
    """Raises ListenError for a carrier that other machines may not reach, with the setting that is missing."""
    if address.local:
        return
    if config.dev:
        raise ListenError(f"carrier {address.url} is open to other machines, and --dev lets anybody attach: drop --dev")
    if not (address.secure or config.insecure_plain_agents):
        raise ListenError(
            f"carrier {address.url} is open to other machines without TLS: use tls:// or wss:// with --tls-cert and "
            "--tls-key, or say --insecure-plain-agents"
        )


class Doors:
    """The listeners of one hub.

    Args:
        hub: whose connections they make.
        registry: carriers.

    Attributes:
        ports: the hub's own listening ports by setting; what the budget pauses.
        carriers: listeners that carriers made, with their ``host:port`` as in the settings.
    """

    def __init__(self, hub: Hub, registry: Registry) -> None:
        self.ports: dict[str, Door] = {}
        self.carriers: list[tuple[str, Listener]] = []
        self._hub = hub
        self._held: list[tuple[str, list[socket.socket]]] = []
        self._registry = registry
        self._reopening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen everywhere, as the settings say.

        Raises:
            ListenError: an address cannot be had, a certificate not be used, or a carrier URL not be served. What is
                open by then is left to `close`.
        """
        config = self._hub.config
        if config.listen is not None:
            self._port("listen", config.listen, None)
        if config.tls_listen is not None:
            self._port("tls_listen", config.tls_listen, tls_context(config))
        for door in self.ports.values():
            await door.open()
        await self._open_carriers()

    async def _open_carriers(self) -> None:
        config = self._hub.config
        for url in config.carriers:
            try:
                carrier = self._registry.for_url(url)
                address = carrier.parse(url)
                _check_open(config, address)
                tls = tls_options(config) if address.secure else None
                listener = await carrier.listen(address, self.front, tls=tls, backlog=config.limits.backlog)
                self.carriers.append((place_of(address.host, address.port or 0), listener))
            except (ValueError, OSError) as exc:
                raise ListenError(f"carrier listener: {exc}") from exc

    def front(self) -> Front:
        """A protocol for one more visitor connection."""
        budget = self._hub.budget
        budget.arrived += 1
        if budget.full:
            # Not from inside the accepting.
            self._hub.loop.call_soon(self.budget_moved)
        return Front(self._hub)

    def _port(self, name: str, address: HostPort, context: ssl.SSLContext | None) -> None:
        backlog = self._hub.limits.backlog
        self.ports[name] = Door(bind(address, backlog), self.front, backlog=backlog, context=context)

    @property
    def urls(self) -> list[str]:
        """Where the hub listens."""
        out = [url for door in self.ports.values() for url in door.urls]
        return out + [url for _, listener in self.carriers for url in listener.addresses]

    @property
    def accepting(self) -> bool:
        """Whether all ports accept connections now."""
        return all(door.accepting for door in self.ports.values())

    def budget_moved(self) -> None:
        """A connection came or went: stop accepting before descriptors run out, start again when there is room."""
        hub = self._hub
        if hub.draining:
            return
        if hub.budget.full:
            if any(door.accepting for door in self.ports.values()):
                hub.stats.accept_pauses += 1
                hub.rejects.reject(
                    "accept_paused", "file descriptors run out: accepting paused", level=logging.ERROR,
                    visitors=hub.budget.visitors, agents=hub.budget.agents, open=hub.budget.open, limit=hub.budget.limit,
                )  # fmt: skip
                self.pause()
        elif hub.budget.roomy and self._reopening is None and not self.accepting:
            self._reopening = asyncio.ensure_future(self._reopen())

    def pause(self) -> None:
        """Accept nothing on the hub's own ports; what comes waits in the kernel's queue."""
        for door in self.ports.values():
            door.pause()

    async def _reopen(self) -> None:
        try:
            for door in self.ports.values():
                if not self._hub.draining:
                    await door.open()
        except OSError as exc:
            logger.error("cannot accept again: %s", exc.strerror)  # noqa: TRY400 - one line says it all
        finally:
            self._reopening = None

    # -- for the process that follows ---------------------------------------------------------------------------------

    def heritage(self) -> list[tuple[str, list[int]]]:
        """All listening sockets: ``host:port`` as in the settings, and descriptors."""
        config = self._hub.config
        out = [(str(getattr(config, name)), door.descriptors) for name, door in self.ports.items()]
        out += [(place, getattr(listener, "descriptors", [])) for place, listener in self.carriers]
        return [entry for entry in out if entry[1]]

    def release(self) -> None:
        """Accept nothing more, so that whoever holds the same sockets gets every connection."""
        self.pause()
        for place, listener in self.carriers:
            held = [socket.socket(fileno=os.dup(number)) for number in getattr(listener, "descriptors", [])]
            self._held.append((place, held))
            listener.close()

    async def regain(self) -> None:
        """Accept again after `release`.

        Raises:
            ListenError: an address has got lost.
        """
        for place, held in self._held:
            adopt(place, held)
        self._held.clear()
        self.carriers.clear()
        await self._open_carriers()
        for door in self.ports.values():
            await door.open()

    def close(self) -> None:
        """Stop listening for good. Idempotent."""
        if self._reopening is not None:
            self._reopening.cancel()
        for _, held in self._held:
            for sock in held:
                sock.close()
        for door in self.ports.values():
            door.close()
        for _, listener in self.carriers:
            listener.close()
