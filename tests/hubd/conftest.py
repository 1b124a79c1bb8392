"""A real hub on a free port, agents that are scripted yamux sessions, and visitors that are raw sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any

import pytest
import uvloop
from tests.canary import WATCH

from carrier_api import Registry
from hubd.app import App
from hubd.config import HubConfig
from hubd.state import Hub
from tunnel.attach import AttachInfo, attach
from tunnel.http1 import RequestHead, RequestReader
from yamux import Session, StreamTransport
from yamux.carrier import TlsOptions

CARRIERS = ("tcp", "tls", "websocket")
# A guard only: no test waits for it to pass, and a machine may be busy with others.
PATIENCE = 30.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop is what the hub runs on."""
    return {"uvloop": uvloop.new_event_loop}


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait for something that happens elsewhere in the loop."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


class AgentStream(asyncio.Protocol):
    """One stream at the agent: reads the request, answers by the agent's script."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.reader = RequestReader(trusted=True)
        self.raw = bytearray()
        self.body = bytearray()
        self.request: RequestHead | None = None
        self.complete = False
        self.eof = False
        self.lost = False
        self.error: Exception | None = None
        self.resumed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, StreamTransport)
        self.transport = transport
        self.agent.streams.append(self)

    def data_received(self, data: bytes) -> None:
        self.raw += data
        if self.agent.raw:
            return
        self.reader.feed(data)
        if self.request is None:
            self.request = self.reader.next_head()
            if self.request is None:
                return
            self.agent.heads.append(bytes(self.raw[: self.raw.index(b"\r\n\r\n") + 4]))
        for piece in self.reader.read_body():
            self.body += piece
        if self.reader.body_done and not self.complete:
            self.complete = True
            if self.agent.answer is not None:
                self.reply(self.agent.answer)

    def eof_received(self) -> bool:
        self.eof = True
        if self.agent.raw and not self.agent.uploads:
            self.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.error = exc

    def reply(self, data: bytes) -> None:
        """Write and end, as an agent does with a whole response."""
        self.transport.write(data)
        self.transport.write_eof()

    async def gone(self) -> None:
        """Wait until the stream is over at both ends."""
        await until(lambda: self.lost)

    def field(self, name: str) -> list[str]:
        """Values of one field of the request head."""
        lines = bytes(self.raw).partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        pairs = [line.split(": ", 1) for line in lines]
        return [pair[1] for pair in pairs if pair[0].lower() == name]

    @property
    def line(self) -> str:
        """The request line."""
        return bytes(self.raw).partition(b"\r\n")[0].decode("latin-1")


class Agent:
    """A scripted agent. `answer` is written for every complete request; None leaves it to the test."""

    def __init__(self, answer: bytes | None = OK) -> None:
        self.answer = answer
        # Bytes are kept as they come; those of an upgraded connection, whose end is answered, or of a body.
        self.raw = self.uploads = False
        self.streams: list[AgentStream] = []
        self.heads: list[bytes] = []
        self.session = Session(client=True, stream_factory=lambda: AgentStream(self))
        self.info: AttachInfo | None = None

    async def stream(self, index: int = 0) -> AgentStream:
        """The stream opened as number `index`, once its request head is there."""
        await until(lambda: len(self.streams) > index and (self.raw or self.streams[index].request is not None))
        return self.streams[index]


@dataclass
class Reply:
    """A response as a visitor sees it."""

    status: int
    head: bytes
    fields: dict[str, list[str]]
    body: bytes = b""
    whole: bool = True
    chunks: list[bytes] = field(default_factory=list)

    def one(self, name: str) -> str | None:
        values = self.fields.get(name, [])
        assert len(values) < 2, values
        return values[0] if values else None


class Visitor:
    """A raw socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def get(
        self, target: str = "/api/v1/proxy/demo/hello", *lines: str, method: str = "GET", body: bytes = b""
    ) -> Reply:
        """One request and its response."""
        extra = "".join(line + "\r\n" for line in lines)
        await self.send(f"{method} {target} HTTP/1.1\r\nHost: hub\r\n{extra}\r\n".encode("latin-1") + body)
        return await self.reply(method)

    async def ask(self, data: bytes, method: str = "GET") -> Reply:
        await self.send(data)
        return await self.reply(method)

    async def head(self) -> Reply:
        """The next head, interim or final."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        fields: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            fields.setdefault(name.lower(), []).append(value)
        version, status = first.split(" ")[:2]
        assert version == "HTTP/1.1"
        return Reply(int(status), head, fields)

    async def reply(self, method: str = "GET") -> Reply:
        """The next response with its body; `whole` is false if it was cut."""
        reply = await self.head()
        async with asyncio.timeout(PATIENCE):
            try:
                await self._body(reply, method)
            except (asyncio.IncompleteReadError, ConnectionError) as exc:
                reply.whole = False
                if isinstance(exc, asyncio.IncompleteReadError):
                    reply.body += exc.partial
        if reply.status >= 400:
            WATCH.look("an error body", reply.head + reply.body)
        return reply

    async def _body(self, reply: Reply, method: str) -> None:
        if method == "HEAD" or reply.status in (204, 304) or reply.status < 200:
            return
        if "content-length" in reply.fields:
            reply.body = await self.reader.readexactly(int(reply.one("content-length") or "0"))
            return
        if "transfer-encoding" in reply.fields:
            while True:
                line = await self.reader.readuntil(b"\r\n")
                data = await self.reader.readexactly(int(line, 16) + 2)
                assert data.endswith(b"\r\n")
                if data == b"\r\n":
                    return
                reply.chunks.append(data[:-2])
                reply.body += data[:-2]
        reply.body = await self.reader.read()

    async def rest(self) -> bytes:
        """Everything until the hub closes; a reset ends it too."""
        out = b""
        async with asyncio.timeout(PATIENCE):
            try:
                while data := await self.reader.read(65536):
                    out += data
            except ConnectionError:
                pass
        return out

    def reset(self) -> None:
        """Close with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        if self.writer.transport.get_write_buffer_size():
            self.writer.transport.abort()
        self.writer.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.writer.wait_closed()
        except OSError:
            pass


class Bench:
    """A running hub, and what talks to it."""

    def __init__(self, app: App, *, folds: bool) -> None:
        self.app = app
        self.folds = folds
        self.agents: list[Agent] = []
        self.visitors: list[Visitor] = []

    async def wait(self, condition: Callable[[], object]) -> None:
        """Wait for something that happens elsewhere in the loop."""
        await until(condition)

    @property
    def front(self) -> Any:
        """The hub's side of the only visitor."""
        (front,) = self.hub.connections
        return front

    @property
    def hub(self) -> Hub:
        return self.app.hub

    @property
    def port(self) -> int:
        return int(self.app.urls[0].rpartition(":")[2])

    async def agent(
        self,
        agent_id: str = "demo",
        *,
        answer: bytes | None = OK,
        instance: str | None = "",
        scheme: str = "tcp",
        token: str | None = None,
    ) -> Agent:
        """Attach a scripted agent. `instance` "" makes one up, None sends none."""
        agent = Agent(answer)
        url = f"{scheme}://127.0.0.1:{self.port}"
        carrier = REGISTRY.for_url(url)
        headers = [] if instance is None else [("X-Agent-Instance", instance or os.urandom(4).hex())]
        if self.folds and instance is not None:
            headers.append(("Tunnel-Agent", "fold"))
        agent.info = await attach(
            carrier,
            carrier.parse(url),
            agent_id,
            agent.session,
            tls=TlsOptions(),
            token=token,
            headers=headers,
            timeout=30,
        )
        if agent.info.offers("fold"):
            agent.session.fold()
        self.agents.append(agent)
        return agent

    async def visitor(self, **options: Any) -> Visitor:
        """Connect."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20, **options)
        visitor = Visitor(reader, writer)
        self.visitors.append(visitor)
        return visitor

    def later(self, seconds: float) -> None:
        """Sweep as if it was that much later."""
        self.hub.sweep(self.hub.loop.time() + seconds)

    async def settle(self) -> None:
        """Close all visitors and see that the hub has nothing left of them."""
        for visitor in self.visitors:
            await visitor.close()
        hub = self.hub
        await until(lambda: not hub.connections and not hub.active and not hub.tunnels)
        await until(lambda: all(not entry.session.num_streams and not entry.active for entry in hub.pools.sessions()))
        assert not any(pool.waiters for pool in hub.pools.pools.values())
        assert hub.budget.visitors == 0


REGISTRY = Registry.load(
    entry_points=[EntryPoint(name, f"carrier_{name}", "tunnel.carriers") for name in CARRIERS],
)

Start = Callable[..., Awaitable[Bench]]


def _mine() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if not task.done()}


@pytest.fixture(params=[False, True], ids=["plain", "folding"])
async def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Start hubs; every one is checked for leaks when the test is over. Their agents fold frames in every second run."""
    monkeypatch.setattr("hubd.app.raise_limit", lambda: 4096)
    # The tests sweep by hand; the clock's own sweeps would only add chance.
    monkeypatch.setattr("hubd.app.SWEEP_SECONDS", 3600.0)
    monkeypatch.setattr("hubd.pulse.INTERVAL", 3600.0)
    monkeypatch.setattr("hubd.app.LAST_GRACE", 0.0)
    before = _mine()
    benches: list[Bench] = []

    async def begin(*, authorize: Any = None, authenticate: Any = None, **settings: Any) -> Bench:
        config = HubConfig.model_validate({"dev": True, "listen": "127.0.0.1:0", **settings})
        app = App(config, registry=REGISTRY, authorize=authorize, authenticate=authenticate)
        await app.start()
        benches.append(Bench(app, folds=request.param))
        return benches[-1]

    yield begin
    try:
        for bench in benches:
            await bench.settle()
    finally:
        for bench in benches:
            for agent in bench.agents:
                agent.session.abort()
            await bench.app.stop(0.0)
    for bench in benches:
        await until(lambda bench=bench: bench.hub.budget.agents == 0)  # type: ignore[misc]
    here = asyncio.current_task()
    await until(lambda: not _mine() - before - {here})


@pytest.fixture
async def bench(start: Start) -> Bench:
    """A hub in dev mode on a free port."""
    return await start()
