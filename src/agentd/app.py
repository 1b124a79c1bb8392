"""The composition root: builds an agent from its settings, runs it, and takes it down in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import secrets
import signal
from collections.abc import Sequence

from agentd.config import AgentConfig
from agentd.hubs import Hub
from agentd.serve import Server
from agentd.uplink import Terms, Uplink
from tunnel.logs import Secret
from tunnel.systemd import Notifier
from tunnel.targets import parse_target
from tunnel.version import VERSION

logger = logging.getLogger("agentd")

SWEEP_SECONDS = 1.0
# The default of 700 makes the collector run many times a second over objects that are freed by counting anyway.
GC_THRESHOLD = 50_000


class App:
    """One agent.

    Args:
        config: checked settings.
        hubs: from the settings' URLs.
        token: if it was read from standard input.

    Attributes:
        server: serves the streams of all hubs.
        uplinks: one for each hub.
    """

    server: Server

    def __init__(self, config: AgentConfig, hubs: Sequence[Hub], *, token: Secret | None = None) -> None:
        self.config = config
        self.instance = secrets.token_hex(8)
        self.uplinks: list[Uplink] = []
        self._hubs = hubs
        self._token = token
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Serve, and connect to every hub. Needs a running loop; never fails for what a hub does."""
        config = self.config
        self.server = Server(config, [parse_target(text) for text in config.target], tls=config.target_tls)
        terms = Terms(
            instance=self.instance,
            labels=config.label,
            token_file=None if config.token_file == "-" else config.token_file,
            token=self._token,
            tls=config.hub_tls,
            timeout=config.timeouts.attach,
            streams=config.limits.streams,
        )
        self.uplinks = [Uplink(hub, terms, self.server) for hub in self._hubs]
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())
        for uplink in self.uplinks:
            uplink.start()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                self.server.sweep(loop.time())
            except Exception:
                # One exchange in an odd state must not end all deadlines.
                logger.exception("sweep failed")

    async def stop(self, grace: float, cut: asyncio.Event | None = None) -> None:
        """Drain and end.

        Args:
            grace: seconds for what is in progress.
            cut: when set, nothing is waited for any longer.

        Cancellation leaves connections open; call it again with a grace of 0.
        """
        for uplink in self.uplinks:
            uplink.drain()
        self.server.drain()
        waits = [asyncio.ensure_future(event.wait()) for event in (self.server.quiet, cut) if event is not None]
        try:
            await asyncio.wait(waits, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        left = self.server.active
        if left:
            logger.warning("cutting what is still in progress", extra={"exchanges": left})
            self.server.cut()
        now = left > 0 or (cut is not None and cut.is_set())
        await asyncio.gather(*(uplink.close(now=now) for uplink in self.uplinks))
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
        await self.server.close()


async def run(config: AgentConfig, hubs: Sequence[Hub], *, token: Secret | None = None) -> None:
    """Run an agent until a signal ends it.

    The first SIGTERM or SIGINT drains, the second ends at once.
    """
    app = App(config, hubs, token=token)
    loop = asyncio.get_running_loop()
    first, second = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (second if first.is_set() else first).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    raise_file_limit()
    _announce(config)
    app.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    notifier = Notifier(os.environ)
    notifier.ready()
    feeding = loop.create_task(notifier.feed())
    await first.wait()
    notifier.stopping()
    active = app.server.active
    if active:
        logger.info("shutting down: waiting up to %g s for exchanges in progress: %d", config.timeouts.drain, active)
    else:
        logger.info("shutting down")
    await app.stop(config.timeouts.drain, second)
    feeding.cancel()
    logger.info("stopped")


def raise_file_limit() -> None:
    """Raise the soft limit for open files to the hard one: a connection to a target for each stream is many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _announce(config: AgentConfig) -> None:
    logger.info("agentd %s starts", VERSION)
    if not config.target:
        logger.warning("no target is listed, so nothing will be forwarded; give one with --target http://HOST:PORT")
        return
    first, *others = config.target
    also = f"; also {', '.join(others)}" if others else ""
    logger.info("serving target %s by default%s", first, also)
