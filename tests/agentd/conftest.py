"""A server under test between a hub's session in memory and real targets on free ports; nothing may be left at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
import uvloop
from tests.agentd.fakecontrol import FakeControl

from agentd.config import AgentConfig
from agentd.exchange import Exchange
from agentd.serve import Server
from agentd.uplink import session_config
from carrier_api import Registry
from tunnel.attach import check_upgrade, encode_101
from tunnel.http1 import RequestHead, RequestReader
from tunnel.targets import parse_target
from yamux import Session
from yamux.carrier import TlsOptions
from yamux.testing import CLEAN, Link, MemoryPair, Recorder, memory_pair


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test runs on both loops, but for those of the command, which brings its own, and those of gRPC, which shares
    one queue of events between all loops of a process and so does not like to see several of them."""
    if item.path.name in ("test_cli.py", "test_commands.py"):
        return {"asyncio": asyncio.new_event_loop}
    if item.path.name in ("test_agent.py", "test_control.py", "test_local.py"):
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


Handler = Callable[["Client"], Awaitable[None]]


class Client:
    """The agent's connection, as a target's handler sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        """The next request's head; b"" if the connection ends instead."""
        try:
            return await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def body(self, size: int) -> bytes:
        return await self.reader.readexactly(size)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ended(self) -> bytes:
        """What still comes until the connection ends, in whichever way."""
        rest = b""
        try:
            while piece := await self.reader.read(65536):
                rest += piece
        except ConnectionError:
            pass
        return rest

    def reset(self) -> None:
        """Have the kernel send RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class TargetServer:
    """A real server on a free port; each connection runs the handler once."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._tasks: set[asyncio.Task[Any]] = set()
        self.connections = 0
        self.closed = 0
        self.heads: list[bytes] = []
        self.failures: list[BaseException] = []
        self.port = 0

    async def start(self, port: int = 0, **options: Any) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, **options)
        self.port = self._server.sockets[0].getsockname()[1]

    async def start_socket(self, path: str) -> None:
        self._server = await asyncio.start_unix_server(self._serve, path)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        client = Client(reader, writer)
        real_head = client.head

        async def head() -> bytes:
            block = await real_head()
            if block:
                self.heads.append(block)
            return block

        client.head = head  # type: ignore[method-assign]
        try:
            await self._handler(client)
        except (ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as error:
            self.failures.append(error)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()
            self.closed += 1
            self._tasks.discard(task)

    def stop_listening(self) -> None:
        self._server.close()

    async def close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self.failures == []


class Reply:
    """What came back on a stream."""

    def __init__(self, seen: Recorder) -> None:
        self.raw = bytes(seen.data)
        self.complete = seen.eof
        self.error = seen.error
        head, _, self.body = self.raw.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.status = int(lines[0].split()[1]) if self.raw else 0
        self.fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines[1:])]

    def get(self, name: bytes) -> bytes | None:
        values = [value for key, value in self.fields if key == name]
        return b", ".join(values) if values else None

    @property
    def code(self) -> str:
        assert self.get(b"tunnel-error") == json.loads(self.body)["code"].encode()
        return str(json.loads(self.body)["code"])


class Rig:
    """See the module's docstring."""

    def __init__(self, *, folds: bool) -> None:
        self.folds = folds
        self.targets: list[TargetServer] = []
        self.server: Server
        self.pair: MemoryPair
        self.hub: Session
        self.agent: Session

    async def target(self, handler: Handler, **options: Any) -> TargetServer:
        target = TargetServer(handler)
        await target.start(**options)
        self.targets.append(target)
        return target

    async def target_socket(self, handler: Handler, path: str) -> TargetServer:
        target = TargetServer(handler)
        await target.start_socket(path)
        self.targets.append(target)
        return target

    def start(self, *targets: str, tls: TlsOptions | None = None, link: Link = CLEAN, **settings: Any) -> None:
        config = AgentConfig(hub=("ws://127.0.0.1:1",), target=targets, **settings)
        self.server = Server(config, [parse_target(text) for text in targets], tls=tls)
        self.agent = Session(client=True, config=session_config(1000), stream_factory=self.server.exchange)
        self.hub = Session(client=False)
        self.pair = memory_pair(self.agent, self.hub, link)
        if self.folds:
            self.agent.fold()
            self.hub.fold()

    async def serve(self, handler: Handler, **settings: Any) -> TargetServer:
        target = await self.target(handler)
        self.start(target.url, **settings)
        return target

    def send(self, data: bytes) -> Recorder:
        """Open a stream and write to it."""
        seen = Recorder(keep_open=True)
        self.hub.open_stream(seen)
        seen.transport.write(data)
        return seen

    async def answer(self, seen: Recorder) -> Reply:
        """Wait for the agent's end of the stream, then end the hub's, as the hub does."""
        await seen.until(lambda: seen.eof or seen.closed)
        if not seen.closed:
            seen.transport.close()
        return Reply(seen)

    async def ask(self, data: bytes) -> Reply:
        return await self.answer(self.send(data))

    @property
    def exchange(self) -> Exchange:
        (exchange,) = self.server.open
        return exchange

    async def settle(self, ready: Callable[[], bool]) -> None:
        """Wait for something that no callback tells of."""
        async with asyncio.timeout(60):
            while not ready():
                await asyncio.sleep(0.001)

    async def close(self) -> None:
        if hasattr(self, "server"):
            await self.agent.close(0.2)
            await self.hub.close(0.2)
            assert self.server.open == set()
            await self.server.close()
            assert self.server.tunnels == {}
            for pool in self.server.pools:
                await self.settle(lambda pool=pool: not pool.open)  # type: ignore[misc]
        for target in self.targets:
            await target.close()


@pytest.fixture(params=[False, True], ids=["plain", "folding"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    rig = Rig(folds=request.param)
    troubles: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: troubles.append(context))
    yield rig
    await rig.close()
    mine = {asyncio.current_task()}
    if left := asyncio.all_tasks() - mine:
        await asyncio.wait(left, timeout=30)
    assert asyncio.all_tasks() == mine
    assert troubles == []


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder: Path = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    yield SimpleNamespace(ca=str(folder / "ca.pem"), server=str(folder / "server.pem"))


class Door(asyncio.Protocol):
    """One connection to a fake hub until its upgrade."""

    def __init__(self, hub: FakeHub) -> None:
        self.hub = hub
        self.reader = RequestReader()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.hub.doors.append(self)
        self.hub.attempts += 1

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        head = self.reader.next_head()
        if head is None or self.hub.silent:
            return
        self.hub.heads.append(head)
        if self.hub.refusal is not None:
            self.transport.write(self.hub.refusal)
            return
        accepted = check_upgrade(head, self.hub.upgrades)
        control = self.hub.control
        name = b"hubd/test" if control is None else b"hubd/test; control=1"
        extra = [*accepted.headers, *([(b"Tunnel-Hub", name)] if self.hub.named else [])]
        self.transport.write(encode_101(accepted.token, extra))
        session = Session(client=False, stream_factory=control.protocol if control is not None else None)
        accepted.framing.start(self.transport, session, self.reader.take_rest())
        self.hub.sessions.append(session)


class FakeHub:
    """A listener that attaches agents; `refusal` answers them with something else."""

    def __init__(self) -> None:
        self.registry = Registry.load()
        self.upgrades = self.registry.upgrades()
        self.sessions: list[Session] = []
        self.heads: list[RequestHead] = []
        self.doors: list[Door] = []
        self.refusal: bytes | None = None
        self.silent = False
        self.named = True
        self.control: FakeControl | None = None
        self.attempts = 0
        self.port = 0

    async def start(self, scheme: str = "ws") -> None:
        url = f"{scheme}://127.0.0.1:{self.port}"
        carrier = self.registry.for_url(url)
        self._listener = await carrier.listen(carrier.parse(url), lambda: Door(self), tls=None, backlog=16)
        self.url = self._listener.addresses[0]
        self.port = int(self.url.rpartition(":")[2])

    def stop_listening(self) -> None:
        self._listener.close()

    async def close(self) -> None:
        self._listener.close()
        for session in self.sessions:
            session.abort()
        for door in self.doors:
            door.transport.abort()
        await asyncio.gather(*(session.wait_closed() for session in self.sessions))

    async def ask(self, data: bytes, session: int = -1) -> Reply:
        seen = Recorder(keep_open=True)
        self.sessions[session].open_stream(seen)
        seen.transport.write(data)
        await seen.until(lambda: seen.eof or seen.closed)
        if not seen.closed:
            seen.transport.close()
        return Reply(seen)


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    hub = FakeHub()
    await hub.start()
    yield hub
    await hub.close()


@pytest.fixture
async def control(hub: FakeHub) -> AsyncIterator[FakeControl]:
    """The hub offers control streams."""
    hub.control = control = FakeControl()
    await control.start()
    yield control
    await control.close()


@pytest.fixture
async def other_hub() -> AsyncIterator[FakeHub]:
    hub = FakeHub()
    await hub.start("tcp")
    yield hub
    await hub.close()
