"""What the checks stand on: a listener, connections to it, and both ends' framing started."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

from yamux.carrier import Carrier, CarrierAddress, Framing, Listener, TlsOptions
from yamux.testing import Recorder


class ComplianceError(AssertionError):
    """A carrier that does not do what it must; the text says which check and what was seen."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What the kit needs to know about a carrier.

    Args:
        carrier: the one to test.
        url: where to listen, with a free port; the kit dials what the listener says it got.
        client_tls: for `dial`.
        server_tls: for `listen`.
        marks_end: an end without the carrier's own closing handshake is reported as an error. Plain sockets cannot do
            that, and asyncio's TLS does not.
        silent_url: an address that takes connections and never answers, or never takes them, for a carrier that can
            have one; the deadline of `dial` is checked there.
        deadline: seconds one check may take.
    """

    carrier: Carrier
    url: str
    client_tls: TlsOptions = field(default_factory=TlsOptions)
    server_tls: TlsOptions | None = None
    marks_end: bool = False
    silent_url: str | None = None
    deadline: float = 30.0

    @property
    def address(self) -> CarrierAddress:
        """The parsed URL."""
        return self.carrier.parse(self.url)


Check = Callable[[Bench], Awaitable[None]]


def name_of(check: Check) -> str:
    """The check's name, for reports."""
    return getattr(check, "__name__", repr(check)).removeprefix("check_")


class _Bootstrap(asyncio.Protocol):
    """Starts the framing as soon as the connection is there, as an upgrade would."""

    def __init__(self, framing: Framing, session: Recorder) -> None:
        self._framing = framing
        self._session = session

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._framing.start(cast(asyncio.Transport, transport), self._session, b"")


class Site:
    """A listener and the connections made to it."""

    def __init__(self, bench: Bench, listener: Listener, accepted: asyncio.Queue[Recorder]) -> None:
        self.bench = bench
        self.listener = listener
        self.accepted = accepted
        self.framings: deque[Framing] = deque()
        self.recorders: list[Recorder] = []

    def address(self) -> CarrierAddress:
        """Where to dial."""
        addresses = self.listener.addresses
        expect(len(addresses) > 0, "the listener names no address")
        return self.bench.carrier.parse(addresses[0])

    async def dial(self, address: CarrierAddress | None = None, *, keep_open: bool = False) -> Recorder:
        """Connect and start the framing."""
        carrier = self.bench.carrier
        offer = carrier.upgrade.offer()
        fields, framing = carrier.upgrade.accept(offer.headers)
        self.framings.append(framing)
        client = Recorder(keep_open=keep_open)
        self.recorders.append(client)
        boot = _Bootstrap(offer.confirm(fields), client)
        await carrier.dial(address or self.address(), lambda: boot, tls=self.bench.client_tls, timeout=10.0)
        await client.until(lambda: client.connected)
        return client

    async def pair(self, *, keep_open: bool = False) -> tuple[Recorder, Recorder]:
        """Client and server end of a new connection; no other may be under way."""
        client = await self.dial(keep_open=keep_open)
        server = await self.accepted.get()
        server.keep_open = keep_open
        return client, server


@contextlib.asynccontextmanager
async def site(bench: Bench) -> AsyncIterator[Site]:
    """Listen, and leave nothing behind."""
    accepted: asyncio.Queue[Recorder] = asyncio.Queue()

    def accept() -> asyncio.Protocol:
        server = Recorder()
        place.recorders.append(server)
        accepted.put_nowait(server)
        return _Bootstrap(place.framings.popleft(), server)

    listener = await bench.carrier.listen(bench.address, accept, tls=bench.server_tls, backlog=64)
    place = Site(bench, listener, accepted)
    try:
        yield place
    finally:
        listener.close()
        for recorder in place.recorders:
            if recorder.connected and not recorder.closed:
                recorder.transport.abort()
        for recorder in place.recorders:
            if recorder.connected:
                await recorder.lost()
        await listener.wait_closed()


def expect(condition: bool, text: str) -> None:
    """Raise ComplianceError unless the condition holds."""
    if not condition:
        raise ComplianceError(text)
