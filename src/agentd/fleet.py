"""All uplinks of an agent: one pool of them for each hub, as large and over the carriers the plan wants."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from agentd.uplink import RENEWAL, Uplink

if TYPE_CHECKING:
    from agentd.hubs import Hub
    from agentd.serve import Server
    from agentd.terms import Terms
    from agentd.uplink import Attend
    from yamux.carrier import CarrierAddress

logger = logging.getLogger("agentd")

Key = tuple[str, int | None, str]
"""Host, port and agent id: what is the same for all ways to one hub."""


class Fleet:
    """Keeps the agent connected.

    Args:
        terms: for sessions from now on.
        server: gets the streams.
        attend: opens control streams; None opens none.

    Attributes:
        pools: uplinks by hub.
    """

    def __init__(self, terms: Terms, server: Server, attend: Attend | None = None) -> None:
        self.terms = terms
        self.pools: dict[Key, list[Uplink]] = {}
        self._server = server
        self._attend = attend
        self._ways: dict[Key, list[Hub]] = {}
        self._size = 1
        self._carriers: tuple[str, ...] = ()
        self._retiring: set[asyncio.Task[None]] = set()
        self._leaving = False

    @property
    def uplinks(self) -> list[Uplink]:
        """All of them, by hub."""
        return [uplink for pool in self.pools.values() for uplink in pool]

    @property
    def places(self) -> set[tuple[str, int | None]]:
        """Hosts and ports of the hubs."""
        return {(host, port) for host, port, _ in self._ways}

    def connect(self, hubs: Iterable[Hub], size: int, carriers: Sequence[str] = ()) -> None:
        """Stay connected to these hubs and no others; new sessions come before old ones go.

        Args:
            hubs: in the order of the settings. Those with one host, port and id are several ways to the same hub.
            size: sessions to each.
            carriers: URL schemes in order of preference.
        """
        ways: dict[Key, list[Hub]] = {}
        for hub in hubs:
            ways.setdefault((hub.address.host.lower(), hub.address.port, hub.agent_id), []).append(hub)
        changed = {key for key, given in ways.items() if _addresses(self._ways.get(key, given)) != _addresses(given)}
        self._ways, self._size, self._carriers = ways, size, tuple(carriers)
        for key in [key for key in self.pools if key not in ways or key in changed]:
            self._retire(self.pools.pop(key))
        self._fit()

    def resize(self, size: int, carriers: Sequence[str]) -> None:
        """Keep so many sessions to each hub, over these carriers where there is a choice."""
        self._size, self._carriers = size, tuple(carriers)
        self._fit()

    def set_terms(self, terms: Terms, *, renew: bool) -> None:
        """Attach by other terms from now on.

        Args:
            terms: for the next sessions.
            renew: replace the present ones, each by one that is there before it goes.
        """
        self.terms = terms
        for pool in self.pools.values():
            for index, uplink in enumerate(pool):
                uplink.terms = self._terms(index)
                if renew and uplink.session is not None:
                    uplink.renew(RENEWAL)

    def _fit(self) -> None:
        if self._leaving:
            return
        for key, ways in self._ways.items():
            pool = self.pools.setdefault(key, [])
            for uplink in pool:
                uplink.prefer(self._carriers)
            while len(pool) < self._size:
                uplink = Uplink(ways, self._terms(len(pool)), self._server, attend=self._attend)
                uplink.prefer(self._carriers)
                pool.append(uplink)
                uplink.start()
            self._retire(pool[self._size :])
            del pool[self._size :]

    def _terms(self, index: int) -> Terms:
        """A hub takes a second session of one instance for the first one's successor, so each has its own."""
        terms = self.terms
        return terms if not index else dataclasses.replace(terms, instance=f"{terms.instance}.{index}")

    def _retire(self, uplinks: Sequence[Uplink]) -> None:
        for uplink in uplinks:
            task = asyncio.get_running_loop().create_task(_see_off(uplink))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    def report(self) -> None:
        """Tell every hub how the agent is."""
        for uplink in self.uplinks:
            if uplink.control is not None:
                uplink.control.report()

    def drain(self) -> None:
        """Take no new streams and connect no more. Idempotent."""
        self._leaving = True
        for uplink in self.uplinks:
            uplink.drain()

    async def quiet(self) -> None:
        """Return when no stream is open, on uplinks that are being replaced neither. Call drain() first."""
        for uplink in self.uplinks:
            await uplink.quiet()
        if self._retiring:
            await asyncio.wait(self._retiring)

    async def close(self, *, now: bool = False) -> None:
        """End every session. Call drain() first, and let the exchanges end.

        Args:
            now: reset what is still open.
        """
        self.drain()
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await asyncio.gather(*(uplink.close(now=now) for uplink in self.uplinks))


def _addresses(ways: Sequence[Hub]) -> list[CarrierAddress]:
    return [way.address for way in ways]


async def _see_off(uplink: Uplink) -> None:
    """End an uplink that is not wanted any more, once its streams have ended."""
    uplink.drain()
    try:
        await uplink.quiet()
    finally:
        await uplink.close()
