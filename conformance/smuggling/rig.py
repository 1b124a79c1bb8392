"""A hub, its agents and the target in this process: payloads in, requests as the target reads them out."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

from agentd.app import App as Agent
from agentd.config import AgentConfig
from agentd.hubs import read_hubs
from agentd.terms import session_config
from carrier_api import Registry
from conformance.smuggling.cases import PREFIX, Case, Seen
from conformance.smuggling.reading import H11Reader, Read, read_by_aiohttp, split
from hubd.app import App as Hub
from hubd.config import HubConfig
from tunnel.attach import attach
from tunnel.targets import parse_target
from yamux import Session
from yamux.carrier import TlsOptions

Splitting = Literal["whole", "bytes", "random"]

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
FIRST = b"GET %b/first HTTP/1.1\r\nHost: hub\r\n\r\n" % PREFIX
LAST = b"GET %b/last HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n" % PREFIX
PATIENCE = 10.0
# Of a long payload, only the ends are sent byte by byte: what lies between is all alike.
_ENDS = 400
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Recorder(asyncio.Protocol):
    """One connection or stream at the place where requests are read."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.reader = H11Reader()
        self.ended = False
        place.connections.append(self)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for read in self.reader.feed(bytes(data)):
            self._place.reads.append(read)
            self._transport.write(ANSWER)
            if self._place.one_each:
                self._transport.write_eof()
        if self.reader.fault:
            self._place.faults.append(self.reader.fault)
            self._transport.abort()

    def eof_received(self) -> bool:
        self.ended = True
        if self._place.one_each and self.reader.inside:
            self._place.faults.append("a request that was cut looks complete")
        return self._place.one_each

    def connection_lost(self, exc: Exception | None) -> None:
        self._place.lost()


class Place:
    """Where requests are read.

    Attributes:
        one_each: every connection is a stream, for one request.
        reads: requests in order.
        faults: what could not be read.
        connections: all there have been.
    """

    def __init__(self, *, one_each: bool) -> None:
        self.one_each = one_each
        self.reads: list[Read] = []
        self.faults: list[str] = []
        self.connections: list[Recorder] = []

    def __call__(self) -> Recorder:
        return Recorder(self)

    def lost(self) -> None:
        """A connection is gone."""

    def clear(self) -> None:
        """Forget the requests and faults, not the connections."""
        self.reads.clear()
        self.faults.clear()

    async def disagreements(self) -> list[str]:
        """Where aiohttp reads what was sent here in another way than h11 did."""
        wrong = []
        for connection in self.connections:
            ours, raw = connection.reader.reads, bytes(connection.reader.raw)
            theirs = read_by_aiohttp(raw)
            if ours != theirs:
                wrong.append(f"h11 reads {ours}, aiohttp {theirs}, of {raw[:2000]!r}")
            if self.one_each and len(ours) > 1:
                wrong.append(f"two requests on one stream: {raw[:2000]!r}")
        return wrong


class Visitor(asyncio.Protocol):
    """Sends a payload in pieces and takes everything until the hub closes."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data

    def eof_received(self) -> None:
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)

    async def send(self, pieces: list[bytes], *, half: bool) -> bytes:
        """Send one piece a turn of the loop, as long as the hub listens; returns all that came back."""
        for piece in pieces:
            if self.over.done():
                break
            self._transport.write(piece)
            if len(pieces) > 1:
                await asyncio.sleep(0)
        if half and not self.over.done():
            self._transport.write_eof()
        async with asyncio.timeout(PATIENCE):
            await self.over
        self._transport.abort()
        return bytes(self.got)


class Rig:
    """One hub with one agent.

    Attributes:
        place: where requests are read: at the agent's end of the streams, or at the target.
    """

    def __init__(self, hub: Hub, place: Place) -> None:
        self.hub = hub
        self.place = place

    @property
    def port(self) -> int:
        """The hub's port."""
        return int(self.hub.urls[0].rpartition(":")[2])

    async def send(self, pieces: list[bytes], *, half: bool = False) -> bytes:
        """What a visitor gets for these bytes on a new connection, until the hub closes it."""
        loop = asyncio.get_running_loop()
        _, visitor = await loop.create_connection(Visitor, "127.0.0.1", self.port)
        return await visitor.send(pieces, half=half)

    async def judge(self, case: Case, splitting: Splitting, *, second: bool) -> list[str]:
        """Send a payload; returns everything that is not as it must be."""
        self.place.clear()
        raw = (FIRST if second else b"") + case.raw + (b"" if case.half else LAST)
        got = await self.send(cut(raw, splitting, case.id), half=case.half)
        statuses = tuple(int(status) for status in STATUS.findall(got))
        expected = (200,) * second + case.answers
        stays = case.stays if case.stays is not None else len(statuses) > len(expected)
        expected += (200,) * stays
        wrong = []
        if statuses != expected:
            wrong.append(f"answers {statuses}, not {expected}")
        if (case.answers or stays) and b"\r\nConnection: close\r\n" not in got[got.rfind(b"HTTP/1.1 ") :]:
            wrong.append("the last answer does not say that the connection closes")
        seen = [Seen(b"GET", b"/first")] * second + list(case.seen) + [Seen(b"GET", b"/last")] * stays
        await self.settle(len(seen))
        wrong += compare(self.place, seen)
        return wrong

    async def settle(self, reads: int) -> None:
        """Wait until the hub has nothing left in progress."""
        hub = self.hub.hub
        async with asyncio.timeout(PATIENCE):
            while hub.active or hub.connections or len(self.place.reads) < reads:
                await asyncio.sleep(0.0005)


def cut(raw: bytes, splitting: Splitting, seed: str) -> list[bytes]:
    """The pieces in which a payload is sent; the same for the same seed."""
    if splitting == "whole":
        return [raw]
    if splitting == "random":
        dice = random.Random(f"{seed} {len(raw)}")
        return split(raw, [dice.randrange(len(raw)) for _ in range(dice.randrange(1, 12))])
    ends = [*range(min(len(raw), _ENDS)), *range(max(0, len(raw) - _ENDS), len(raw))]
    return split(raw, sorted(set(ends)))


def compare(place: Place, seen: list[Seen]) -> Iterator[str]:
    """Everything in which the requests read differ from those expected."""
    yield from place.faults
    prefix = PREFIX if place.one_each else b""
    reads = [(read.method, read.target, read.body) for read in place.reads]
    wanted = [(each.method, prefix + each.path, each.body) for each in seen]
    if reads != wanted:
        yield f"read {reads}, not {wanted}"
        return
    for read, each in zip(place.reads, seen, strict=True):
        names = {name for name, _ in read.fields}
        if names.intersection(each.lacks):
            yield f"fields passed on: {names.intersection(each.lacks)}"
        if missing := set(each.has) - set(read.fields):
            yield f"fields missing: {missing}"
        if len(read.framing) > 1 or (each.body and not read.framing):
            yield f"framing {read.framing}"


@contextlib.asynccontextmanager
async def running_hub(**settings: Any) -> AsyncIterator[Hub]:
    """A hub on a free port."""
    hub = Hub(HubConfig.model_validate({"dev": True, "listen": "127.0.0.1:0", **settings}), registry=Registry.load())
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop(0.0)


@contextlib.asynccontextmanager
async def raw_rig(**settings: Any) -> AsyncIterator[Rig]:
    """Requests are read where the hub puts them: at the agent's end of the streams."""
    async with running_hub(**settings) as hub:
        place = Place(one_each=True)
        session = Session(client=True, config=session_config(1000), stream_factory=place)
        rig = Rig(hub, place)
        carrier = Registry.load().for_url("tcp://")
        address = carrier.parse(f"tcp://127.0.0.1:{rig.port}")
        headers = [("X-Agent-Instance", "raw")]
        await attach(carrier, address, "a", session, tls=TlsOptions(), token=None, headers=headers, timeout=PATIENCE)
        yield rig
        session.abort()


@contextlib.asynccontextmanager
async def agent_rig(target: str | None = None, **settings: Any) -> AsyncIterator[Rig]:
    """Requests are read where the agent sends them: at the target.

    Args:
        target: a program that passes requests on to `Rig.place`; by default they go there directly.
        settings: of the hub.
    """
    async with running_hub(**settings) as hub, target_place() as (place, url):
        rig = Rig(hub, place)
        async with agent_of(hub, target or url):
            yield rig


@contextlib.asynccontextmanager
async def agent_of(hub: Hub, target: str) -> AsyncIterator[None]:
    """An agent attached to this hub."""
    async with running_agent(int(hub.urls[0].rpartition(":")[2]), target):
        await until_attached(hub)
        yield


@contextlib.asynccontextmanager
async def target_place(port: int = 0) -> AsyncIterator[tuple[Place, str]]:
    """A target that reads requests, and its URL."""
    place = Place(one_each=False)
    server = await asyncio.get_running_loop().create_server(place, "127.0.0.1", port)
    try:
        yield place, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@contextlib.asynccontextmanager
async def running_agent(port: int, target: str) -> AsyncIterator[Agent]:
    """An agent ``a`` on the hub at this port."""
    config = AgentConfig(hub=(f"tcp://127.0.0.1:{port}",), id="a", target=(target,))
    hubs, faults = read_hubs(config.hub, config.id, [parse_target(target)], Registry.load())
    assert not faults
    agent = Agent(config, hubs)
    agent.start()
    try:
        yield agent
    finally:
        await agent.stop(0.0)


async def until_attached(hub: Hub) -> None:
    """Wait for an agent that can be asked."""
    async with asyncio.timeout(PATIENCE):
        while not any(entry.ready for entry in hub.hub.pools.sessions()):
            await asyncio.sleep(0.001)
