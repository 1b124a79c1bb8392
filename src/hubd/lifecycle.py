"""The life of the hub's process: start, signals, end."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Callable

from hubd.app import App
from hubd.attach import Authorize
from hubd.config import HubConfig
from tunnel.version import VERSION

logger = logging.getLogger("hubd")

# The default of 700 makes the collector run many times a second over objects that are freed by counting anyway.
GC_THRESHOLD = 50_000


async def serve(config: HubConfig, started: Callable[[App], None], *, authorize: Authorize | None = None) -> None:
    """Run a hub until a signal ends it.

    The first SIGTERM or SIGINT drains, the second ends at once.

    Args:
        config: checked settings.
        started: called once all listeners are open.
        authorize: as for `App`.

    Raises:
        ListenError: it cannot start; one line for people.
    """
    app = App(config, authorize=authorize)
    await app.start()
    loop = asyncio.get_running_loop()
    first, second = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (second if first.is_set() else first).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    _announce(app)
    started(app)
    await first.wait()
    logger.info("shutting down", extra={"exchanges": app.hub.active, "agents": len(app.hub.pools)})
    await app.stop(config.timeouts.drain, second)
    logger.info("stopped")


def _announce(app: App) -> None:
    config = app.config
    logger.info("hub started", extra={"version": VERSION, "listen": " ".join(app.urls), "dev": config.dev})
    logger.info(app.hub.budget.describe())
    if not config.dev:
        logger.warning("no agent can attach: this version knows no tokens; start with --dev to let any local agent in")
