"""Scripted targets: small raw HTTP servers that do exactly what a test needs, also what no sane server does."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import cache
from typing import Self
from urllib.parse import parse_qs

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

BLOCK = 64 * 1024
_BASE = random.Random(7).randbytes(BLOCK)
_WS_LIMIT = 4 * 2**20


def block(index: int) -> bytes:
    """One 64 KiB block of the test body; no two are alike, so that none can be lost, doubled or moved unseen."""
    return struct.pack(">Q", index) + _BASE[8:]


def body_of(size: int) -> bytes:
    """A whole test body."""
    return b"".join(block(index) for index in range(-(-size // BLOCK)))[:size]


@cache
def digest_of(size: int) -> str:
    """SHA-256 of the test body of this size."""
    digest = hashlib.sha256()
    for index in range(size // BLOCK):
        digest.update(block(index))
    if size % BLOCK:
        digest.update(block(size // BLOCK)[: size % BLOCK])
    return digest.hexdigest()


class Call:
    """One request at a target, and the connection to answer it on."""

    def __init__(
        self, line: bytes, fields: list[tuple[str, str]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ):
        self.method, self.target, self.version = line.decode("latin-1").split(" ")
        self.path, _, self.query = self.target.partition("?")
        self.fields = fields
        self.headers = {name.lower(): value for name, value in fields}
        self.reader = reader
        self.writer = writer
        self.body_read = False
        self.close = self.headers.get("connection", "").lower() == "close"

    def argument(self, name: str, default: str = "") -> str:
        """A query parameter."""
        return parse_qs(self.query).get(name, [default])[0]

    async def pieces(self) -> AsyncIterator[bytes]:
        """The request's body, decoded, as it comes. Raises IncompleteReadError when it is cut."""
        self.body_read = True
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                yield (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readexactly(2)
            return
        left = int(self.headers.get("content-length", "0"))
        while left:
            piece = await self.reader.read(min(left, 256 * 1024))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece

    async def body(self) -> bytes:
        """The whole body."""
        return b"".join([piece async for piece in self.pieces()])

    async def send(self, data: bytes) -> None:
        """Write and wait for room."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: str, body: bytes = b"", *fields: str) -> None:
        """A complete response with a length."""
        lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", "", ""]
        await self.send("\r\n".join(lines).encode("latin-1") + (b"" if self.method == "HEAD" else body))

    async def head(self, status: str, *fields: str) -> None:
        """Only a head, with whatever framing the fields say."""
        await self.send("\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode("latin-1"))

    async def chunk(self, data: bytes) -> None:
        """One chunk; an empty one is the end."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def left(self) -> None:
        """Return once the other side has closed or reset this connection; for requests whose body has been read."""
        with suppress(ConnectionError):
            extra = await self.reader.read(1)
            assert not extra, "bytes behind the request"

    async def linger(self) -> None:
        """End the connection as careful servers do that have not read it all: FIN, then read on and drop it."""
        self.close = True
        self.writer.write_eof()
        with suppress(ConnectionError):
            while await self.reader.read(2**20):
                pass

    def cut(self, *, reset: bool = False) -> None:
        """End the connection here and now, by FIN or by RST."""
        self.close = True
        if reset:
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()


Handler = Callable[[Call], Awaitable[None]]


class Target:
    """An HTTP server on a listening socket, running while the body of ``async with`` does.

    Handlers are found by path. Those built in are `hello`, `echo`, `download`, `upload` and `cut`.

    Attributes:
        calls: every request so far.
        aborted: handlers that ended because the other side was gone.
        connections: connections accepted so far.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.address = "{}:{}".format(*sock.getsockname())
        self.handlers: dict[str, Handler] = {
            "/hello": hello, "/echo": echo, "/download": download, "/upload": upload, "/cut": cut,
        }  # fmt: skip
        self.calls: list[Call] = []
        self.aborted: list[str] = []
        self.connections = 0
        self.written = 0
        self._faults: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def on(self, path: str, handler: Handler) -> None:
        """Serve a path."""
        self.handlers[path] = handler

    @property
    def open(self) -> int:
        """Connections open now."""
        return len(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            if self._server is not None and self._server.is_serving():
                raise
        except BaseException as exc:
            self._faults.append(exc)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        line, *rest = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
        fields = [
            (name, value.strip()) for name, _, value in (entry.decode("latin-1").partition(":") for entry in rest)
        ]
        call = Call(line, fields, reader, writer)
        self.calls.append(call)
        handler = self.handlers.get(call.path, missing)
        try:
            await handler(call)
            if not call.body_read and not call.close:
                async for _ in call.pieces():
                    pass
        except (ConnectionError, asyncio.IncompleteReadError):
            self.aborted.append(call.path)
            raise
        return not call.close

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, sock=self._sock.dup(), limit=2**20, backlog=1024)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._faults and exc is None:
            raise ExceptionGroup("handlers of the target failed", [e for e in self._faults if isinstance(e, Exception)])


async def missing(call: Call) -> None:
    """No such path."""
    await call.answer("404 Not Found", b"the target knows no " + call.path.encode() + b"\n")


async def hello(call: Call) -> None:
    """What the sample server says."""
    await call.answer("200 OK", b"Hello, there\n", "Content-Type: text/plain")


async def echo(call: Call) -> None:
    """The request as it arrived here, in JSON."""
    body = await call.body()
    seen = {
        "method": call.method, "target": call.target, "fields": call.fields,
        "size": len(body), "sha256": hashlib.sha256(body).hexdigest(),
    }  # fmt: skip
    await call.answer("200 OK", json.dumps(seen).encode(), "Content-Type: application/json")


async def download(call: Call) -> None:
    """The test body of ``size`` bytes; framed by a length or, with ``chunked``, in chunks."""
    size = int(call.argument("size"))
    chunked = bool(call.argument("chunked"))
    await call.head("200 OK", "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}")
    for index in range(-(-size // BLOCK)):
        piece = block(index)[: size - index * BLOCK]
        await (call.chunk(piece) if chunked else call.send(piece))
    if chunked:
        await call.chunk(b"")


async def upload(call: Call) -> None:
    """Answers with size and SHA-256 of what was sent."""
    digest, size = hashlib.sha256(), 0
    async for piece in call.pieces():
        digest.update(piece)
        size += len(piece)
    await call.answer("200 OK", f"{size} {digest.hexdigest()}".encode())


async def cut(call: Call) -> None:
    """Part of a body, then the end of the connection: ``mode`` length, chunked or close; ``reset`` instead of FIN."""
    mode = call.argument("mode")
    framing = {"length": ("Content-Length: 200000",), "chunked": ("Transfer-Encoding: chunked",), "close": ()}[mode]
    await call.head("200 OK", *framing)
    part = body_of(int(call.argument("part", "100000")))
    if part:
        await (call.chunk(part) if mode == "chunked" else call.send(part))
    call.cut(reset=bool(call.argument("reset")))


class WebSocketTarget:
    """A WebSocket server by another hand: the path says what it does.

    ``/echo`` sends everything back; ``/close?code=N`` closes after the first message; ``/note`` keeps what it receives and
    the code it is closed with; ``/ping`` pings once for each message and says ``pong`` when the answer is there.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.address = "{}:{}".format(*sock.getsockname())
        self.codes: list[int | None] = []
        self._server: Server | None = None

    @property
    def open(self) -> int:
        """Connections open now."""
        return len(self._server.connections) if self._server is not None else 0

    async def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        path, _, query = connection.request.path.partition("?")
        try:
            async for message in connection:
                if path == "/echo":
                    await connection.send(message)
                elif path == "/ping":
                    await (await connection.ping())
                    await connection.send("pong")
                elif path == "/close":
                    await connection.close(int(parse_qs(query)["code"][0]), "as asked")
        except ConnectionClosed:
            pass
        finally:
            await connection.wait_closed()
            self.codes.append(connection.close_code)

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._handle, sock=self._sock.dup(), max_size=_WS_LIMIT, compression=None, ping_interval=None
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
