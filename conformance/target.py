"""A service behind the tunnel that says what it saw: HTTP by aiohttp, and a WebSocket echo."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve

# A body is taken whole before it is sent back: Go's HTTP/1 server does not do both at once.
MAX_BODY = 80 << 20
CHUNKS = 5


@dataclass(slots=True)
class Target:
    """Both addresses as host:port, and what a test steers the answers with.

    ``steps`` lets /chunks send its next piece; ``waiting`` counts requests that /hold keeps until ``release`` is set.
    """

    address: str = ""
    websocket: str = ""
    steps: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    release: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def hello(self, request: web.Request) -> web.Response:
        """Answer as the sample server does."""
        del request
        return web.Response(text="Hello, there\n")

    async def inspect(self, request: web.Request) -> web.Response:
        """Give back the request line and the fields, and the body's length."""
        body = await request.read()
        fields = [[name, value] for name, value in request.headers.items()]
        seen = {"method": request.method, "target": request.raw_path, "fields": fields, "body": len(body)}
        return web.json_response(seen, headers=[("X-Twice", "one"), ("X-Twice", "two")])

    async def echo(self, request: web.Request) -> web.Response:
        """Give the body back, with its SHA-256 as it arrived."""
        body = await request.read()
        return web.Response(body=body, headers={"X-Sha256": hashlib.sha256(body).hexdigest()})

    async def chunks(self, request: web.Request) -> web.StreamResponse:
        """Send one piece for each step, chunked."""
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(CHUNKS):
            await response.write(b"piece %d\n" % number)
            await self.steps.acquire()
        await response.write_eof()
        return response

    async def cut(self, request: web.Request) -> web.StreamResponse:
        """Send the begin of a body, with a Content-Length if ?length is given, and drop the connection on release."""
        response = web.StreamResponse()
        if "length" in request.query:
            response.content_length = 1 << 20
        await response.prepare(request)
        # More than a Go proxy keeps in its buffer when the length is known.
        await response.write(b"the begin".ljust(65536 if "length" in request.query else 9))
        await self.release.wait()
        assert request.transport is not None
        request.transport.abort()
        return response

    async def hold(self, request: web.Request) -> web.Response:
        """Answer once released."""
        del request
        self.waiting += 1
        async with self.arrived:
            self.arrived.notify_all()
        try:
            await self.release.wait()
        finally:
            self.waiting -= 1
        return web.Response(text="released\n")

    async def held(self, count: int) -> None:
        """Wait until so many requests are held."""
        async with asyncio.timeout(30), self.arrived:
            await self.arrived.wait_for(lambda: self.waiting >= count)

    async def status(self, request: web.Request) -> web.Response:
        """Answer with the status in the path."""
        return web.Response(status=int(request.match_info["code"]))


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@asynccontextmanager
async def running() -> AsyncIterator[Target]:
    """Serve on two loopback ports."""
    target = Target()
    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_get("/hello", target.hello)
    app.router.add_route("*", "/inspect{tail:.*}", target.inspect)
    app.router.add_post("/echo", target.echo)
    app.router.add_get("/chunks", target.chunks)
    app.router.add_get("/cut", target.cut)
    app.router.add_get("/hold", target.hold)
    app.router.add_get("/status/{code}", target.status)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with serve(_echo, "127.0.0.1", 0, subprotocols=["chat"], max_size=None) as server:  # type: ignore[list-item]
            target.address = f"127.0.0.1:{runner.addresses[0][1]}"
            target.websocket = f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            yield target
    finally:
        target.release.set()
        await runner.cleanup()
