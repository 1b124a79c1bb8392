"""Agents inside the test: a session on a plain upgrade, for what the real agent never does and to count its streams."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self, cast
from urllib.parse import quote

from yamux import Config, Session, Stream, YamuxError

_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class _Shake(asyncio.Protocol):
    """Sends an upgrade request and waits for the head of the answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.data = bytearray()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self.data += data
        if b"\r\n\r\n" in self.data and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionResetError(f"no answer, only {bytes(self.data)!r}"))


async def upgrade(port: int, agent_id: str, session: Session, *fields: str) -> str:
    """Attach over a WebSocket handshake without a subprotocol, as the Go programs do; returns the head of the 101."""
    lines = [
        f"GET /api/v1/hubs/{agent_id} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {_KEY}", *fields, "", "",
    ]  # fmt: skip
    loop = asyncio.get_running_loop()
    request = "\r\n".join(lines).encode()
    transport, shake = await loop.create_connection(lambda: _Shake(request), "127.0.0.1", port)
    await shake.done
    head, _, rest = bytes(shake.data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    transport.set_protocol(session)
    session.connection_made(transport)
    if rest:
        session.data_received(rest)
    return head.decode("latin-1")


class PlainAgent:
    """An agent that does what the first Go one did: no instance id, no subprotocol, bytes on to whatever target is named.

    Attributes:
        session: its yamux session.
        heads: head of every request that came, as bytes.
        answer: the 101's head.
    """

    def __init__(self, port: int, agent_id: str, default: str) -> None:
        self._port = port
        self._id = agent_id
        self._default = default
        self.session = Session(client=True, config=Config())
        self.heads: list[bytes] = []
        self.answer = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.answer = await upgrade(self._port, self._id, self.session)
        self._spawn(self._accept())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.session.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: object) -> None:
        self._tasks.add(asyncio.ensure_future(work))  # type: ignore[arg-type]

    async def _accept(self) -> None:
        async for stream in self.session:
            self._spawn(self._serve(stream))

    async def _serve(self, stream: Stream) -> None:
        with suppress(YamuxError, ConnectionError, asyncio.IncompleteReadError):
            head = await stream.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            line, *fields = head[:-4].decode("latin-1").split("\r\n")
            special = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
            method, target, version = line.split(" ")
            query = target.partition("?")[2]
            path = quote(special["x-proxy-path"]) + (f"?{query}" if query else "")
            host, _, port = special.get("x-proxy-host", self._default).rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(
                    "\r\n".join([f"{method} {path} {version}", "Connection: close", *fields, "", ""]).encode("latin-1")
                )
                upward = asyncio.ensure_future(self._upward(stream, writer))
                while data := await reader.read(65536):
                    stream.write(data)
                    await stream.drain()
                stream.write_eof()
                await upward
            finally:
                writer.close()

    async def _upward(self, stream: Stream, writer: asyncio.StreamWriter) -> None:
        try:
            async for data in stream:
                writer.write(data)
                await writer.drain()
        except (YamuxError, ConnectionError):
            writer.transport.abort()
