"""Visitors: a strict raw HTTP/1.1 client that tells a complete response from a cut one."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self

from tests.canary import WATCH
from tests.system.harness import DEADLINE
from tests.system.targets import BLOCK, block

PIECE = 256 * 1024


class Cut(Exception):
    """The response ended before its framing said so.

    Args:
        response: what had come.
    """

    def __init__(self, response: Response, why: str) -> None:
        super().__init__(f"{why} after {len(response.body)} body bytes of {response}")
        self.response = response


@dataclass
class Response:
    """A response, as far as it came."""

    status: int
    minor: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    digest: str = ""
    size: int = 0
    informational: list[int] = field(default_factory=list)

    @property
    def headers(self) -> dict[str, str]:
        """Fields by lower-case name; the last of a name wins."""
        return {name.lower(): value for name, value in self.fields}

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def keeps(self) -> bool:
        """Whether the connection may be used again."""
        return self.minor == 1 and self.headers.get("connection", "").lower() != "close"


class Visitor:
    """One connection to the hub.

    Args:
        port: the hub's.
        agent: id of the agent in paths.
        receive_buffer: SO_RCVBUF, set before connecting.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def __init__(self, port: int, agent: str = "a", *, receive_buffer: int | None = None) -> None:
        self.port = port
        self.agent = agent
        self._receive_buffer = receive_buffer
        self._method = "GET"

    async def __aenter__(self) -> Self:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        limit = 2**20
        if self._receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
            limit = 1024
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        except BaseException:
            sock.close()
            raise
        self.reader, self.writer = await asyncio.open_connection(sock=sock, limit=limit)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass

    def leave(self, *, reset: bool = True) -> None:
        """Go away in the middle of something."""
        if reset:
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()

    def url(self, path: str, target: str | None = None) -> str:
        """The request target for a path behind the agent."""
        joint = "&" if "?" in path else "?"
        return f"/api/v1/proxy/{self.agent}{path}" + (f"{joint}x-proxy-host={target}" if target else "")

    def write_head(
        self, method: str, target: str, *fields: str, host: str = "hub.test", minor: int = 1, body: bytes = b""
    ) -> None:
        """Send a request's head, and the first bytes of its body in the same write."""
        self._method = method
        lines = [f"{method} {target} HTTP/1.{minor}", f"Host: {host}", *fields, "", ""]
        self.writer.write("\r\n".join(lines).encode("latin-1") + body)

    async def send(self, data: bytes) -> None:
        """Send bytes of a body and wait for room."""
        self.writer.write(data)
        await self.writer.drain()

    async def request(
        self, method: str, target: str, body: bytes = b"", *fields: str, host: str = "hub.test", minor: int = 1
    ) -> Response:
        """One request with a length, and its whole response."""
        length = [f"Content-Length: {len(body)}"] if body or method in ("POST", "PUT") else []
        self.write_head(method, target, *fields, *length, host=host, minor=minor, body=body)
        await self.writer.drain()
        return await self.response()

    async def get(self, path: str, target: str | None = None, *fields: str) -> Response:
        """GET a path behind the agent."""
        return await self.request("GET", self.url(path, target), b"", *fields)

    async def head(self, method: str | None = None) -> Response:
        """The next final response head; heads before it are in ``informational``."""
        if method is not None:
            self._method = method
        early: list[int] = []
        while True:
            try:
                raw = await self.reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as exc:
                raise ConnectionResetError(f"the hub closed without an answer, after {exc.partial[:200]!r}") from None
            line, *rest = raw[:-4].decode("latin-1").split("\r\n")
            version, _, tail = line.partition(" ")
            status, _, reason = tail.partition(" ")
            assert version in ("HTTP/1.1", "HTTP/1.0"), line
            fields = [(name, value.strip()) for name, _, value in (entry.partition(":") for entry in rest)]
            response = Response(int(status), int(version[-1]), reason, fields, informational=early)
            if response.status >= 200 or response.status == 101:
                return response
            early.append(response.status)

    async def pieces(self, response: Response) -> AsyncIterator[bytes]:
        """Body bytes as they come; ends only at the end the framing tells. Raises Cut."""
        headers = response.headers
        try:
            if self._method == "HEAD" or response.status in (204, 304) or response.status < 200:
                return
            if "transfer-encoding" in headers:
                assert headers["transfer-encoding"] == "chunked", headers
                assert "content-length" not in headers, headers
                while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                    yield await self.reader.readexactly(size)
                    assert await self.reader.readexactly(2) == b"\r\n"
                assert await self.reader.readexactly(2) == b"\r\n", "trailers are not expected"
            elif "content-length" in headers:
                left = int(headers["content-length"])
                while left:
                    piece = await self.reader.read(min(left, PIECE))
                    if not piece:
                        raise Cut(response, f"{left} bytes missing")
                    left -= len(piece)
                    yield piece
            else:
                while piece := await self.reader.read(PIECE):
                    yield piece
        except (ConnectionError, asyncio.IncompleteReadError) as exc:
            raise Cut(response, type(exc).__name__) from exc

    async def response(self, method: str | None = None) -> Response:
        """The next response with its whole body. Raises Cut."""
        response = await self.head(method)
        parts: list[bytes] = []
        try:
            async for piece in self.pieces(response):
                parts.append(piece)
        finally:
            response.body = b"".join(parts)
            if response.status >= 400:
                WATCH.look("an error body", response.body)
        return response

    async def digest(self) -> Response:
        """The next response; of its body only size and SHA-256 are kept."""
        response = await self.head()
        digest = hashlib.sha256()
        async for piece in self.pieces(response):
            digest.update(piece)
            response.size += len(piece)
        response.digest = digest.hexdigest()
        return response

    async def upload(self, target: str, size: int, *, chunked: bool = False) -> Response:
        """POST the test body of this size."""
        self.write_head("POST", target, "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}")
        for index in range(-(-size // BLOCK)):
            piece = block(index)[: size - index * BLOCK]
            await self.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            await self.send(b"0\r\n\r\n")
        return await self.response()

    async def at_end(self) -> bool:
        """Whether the connection ends here without another byte."""
        async with asyncio.timeout(DEADLINE):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True


async def fetch(port: int, path: str, target: str | None = None, *, agent: str = "a") -> Response:
    """GET on a connection of its own, within the deadline."""
    async with asyncio.timeout(DEADLINE), Visitor(port, agent) as visitor:
        return await visitor.get(path, target, "Connection: close")
