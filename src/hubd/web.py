"""The web port for those who look after the hub: metrics and health. Loopback only; nothing here changes anything."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from typing import TYPE_CHECKING

from hubd.listeners import ListenError, bind
from tunnel.settings import HostPort

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler

    from hubd.state import Hub

logger = logging.getLogger("hubd.web")

STOP_SECONDS = 1.0
IDLE_SECONDS = 75.0
"""Longer than any usual interval of scrapes, so that each scraper keeps one connection."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Web:
    """Serves ``/metrics``, ``/healthz`` and ``/readyz``.

    Args:
        hub: to tell of.
        address: where to listen; port 0 takes a free one.
    """

    def __init__(self, hub: Hub, address: HostPort) -> None:
        self._hub = hub
        self._address = address
        self._runner: web.AppRunner | None = None
        self._scraping = asyncio.Lock()
        self.url = ""

    async def start(self) -> None:
        """Listen.

        Raises:
            ListenError: the address cannot be had.
        """
        # The library takes a quarter of a second to import, and many hubs run without.
        from aiohttp import web

        from hubd.metrics import Metrics

        self._metrics = Metrics(self._hub)

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not is_own_name(request.host):
                return web.json_response({"msg": "this port is served under its address only"}, status=421)
            return await handler(request)

        application = web.Application(middlewares=[guard])
        application.router.add_get("/metrics", self._serve_metrics)
        application.router.add_get("/healthz", self._serve_health)
        application.router.add_get("/readyz", self._serve_ready)
        application.on_response_prepare.append(_plain)
        self._runner = web.AppRunner(
            application, access_log=None, keepalive_timeout=IDLE_SECONDS, shutdown_timeout=STOP_SECONDS
        )
        await self._runner.setup()
        try:
            sockets = bind(self._address, 128)
        except ListenError as exc:
            raise ListenError(f"web.listen: {exc}") from exc
        for sock in sockets:
            await web.SockSite(self._runner, sock).start()
        name = sockets[0].getsockname()
        host = f"[{name[0]}]" if ":" in name[0] else name[0]
        self.url = f"http://{host}:{name[1]}"
        logger.info("metrics and health", extra={"address": self.url})

    async def stop(self) -> None:
        """Close the port and every connection."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        from aiohttp import web

        # One at a time: scrapes that pile up must not take all threads.
        async with self._scraping:
            page = await asyncio.get_running_loop().run_in_executor(None, self._metrics.render)
        return web.Response(body=page, headers={"Content-Type": METRICS_TYPE})

    async def _serve_health(self, request: web.Request) -> web.Response:
        from aiohttp import web

        return web.json_response({"status": "ok"})

    async def _serve_ready(self, request: web.Request) -> web.Response:
        from aiohttp import web

        why = self.not_ready()
        return web.json_response({"status": why or "ok"}, status=503 if why else 200)

    def not_ready(self) -> str:
        """Why no visitor should be sent here, "" if there is no reason."""
        hub = self._hub
        if hub.draining:
            return "draining"
        if hub.budget.full:
            return "out of descriptors"
        if hub.pressure.holding:
            return "buffers are full"
        return ""


async def _plain(request: web.Request, response: web.StreamResponse) -> None:
    """Say nothing of the library, and let no page of another site use what is told here."""
    response.headers["Server"] = "hubd"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"


def is_own_name(host: str) -> bool:
    """Whether a Host is one this port goes by: an address or ``localhost``. A page of another site whose name was
    made to lead here (DNS rebinding) says its own."""
    name = host.rpartition(":")[0] if not host.endswith("]") and host.rpartition(":")[2].isdigit() else host
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
