"""The composition root: builds an agent from its settings, runs it, and takes it down in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from agentd.agent import Agent
from agentd.config import AgentConfig
from agentd.door import Door, DoorError, socket_path
from agentd.hubs import Hub
from tunnel.logs import Secret
from tunnel.settings import Fault, SettingsError
from tunnel.systemd import Notifier
from tunnel.version import VERSION

if TYPE_CHECKING:
    from agentd.serve import Server
    from agentd.uplink import Uplink

logger = logging.getLogger("agentd")

SWEEP_SECONDS = 1.0
# The default of 700 makes the collector run many times a second over objects that are freed by counting anyway.
GC_THRESHOLD = 50_000


Load = Callable[[], tuple[AgentConfig, list[Hub]]]
"""Gathers the settings of all layers, as at the start. Blocking; raises SettingsError."""


class App:
    """One agent's process.

    Args:
        config: checked settings.
        hubs: from the settings' URLs.
        token: if it was read from standard input.
        load: gathers the settings again; None if that cannot be.

    Attributes:
        agent: at work.
        ending: set once it is to end; with True if nothing is to be waited for.
    """

    def __init__(
        self,
        config: AgentConfig,
        hubs: Sequence[Hub],
        *,
        token: Secret | None = None,
        load: Load | None = None,
    ) -> None:
        self.agent = Agent(config, hubs, token=token)
        self.grace = config.timeouts.drain
        self.first, self.second = asyncio.Event(), asyncio.Event()
        self._load = load
        self._local: Door | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    @property
    def server(self) -> Server:
        """Serves the streams of all hubs."""
        return self.agent.server

    @property
    def uplinks(self) -> list[Uplink]:
        """Those of all hubs."""
        return self.agent.fleet.uplinks

    def start(self) -> None:
        """Serve, and connect to every hub. Needs a running loop; never fails for what a hub does."""
        self.agent.start()
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    async def open_local(self) -> None:
        """Open the agent's own socket, if the settings want one. An agent without it works as well."""
        path = socket_path(self.agent.config.local.socket, self.agent.agent_id, os.environ)
        if path is None:
            return
        door = Door(path, self)
        try:
            await door.open()
        except DoorError as exc:
            logger.warning("%s; agentd status and its like will not find this agent", exc)
        else:
            self._local = door
            self.server.guard.sockets.add(str(door.path))

    async def reload(self) -> tuple[list[str], list[str]]:
        """Read the settings again and take what can be taken.

        Returns:
            Dotted keys that took effect, and those that need a restart.

        Raises:
            SettingsError: something is wrong with them, and nothing has changed.
        """
        if self._load is None:
            raise SettingsError([Fault("", "", "this agent cannot read its settings again")])
        async with self._turn:
            config, hubs = await asyncio.to_thread(self._load)
            applied, need_restart = self.agent.reload(config, hubs)
        self.grace = config.timeouts.drain
        extra = {"applied": " ".join(applied), "need_restart": " ".join(need_restart)}
        logger.info("settings read again", extra=extra)
        return applied, need_restart

    def drain(self, grace: float | None = None) -> None:
        """End as by SIGTERM.

        Args:
            grace: seconds for what is in progress; None for the settings' own.
        """
        if grace is not None:
            self.grace = grace
        self.first.set()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                self.server.sweep(loop.time())
            except Exception:
                # One exchange in an odd state must not end all deadlines.
                logger.exception("sweep failed")

    async def _quiet(self) -> None:
        """Return when nothing is in progress and its last bytes have left: a slow visitor takes them later than we."""
        await self.server.quiet.wait()
        await self.agent.fleet.quiet()

    async def stop(self, grace: float, cut: asyncio.Event | None = None) -> None:
        """Drain and end.

        Args:
            grace: seconds for what is in progress.
            cut: when set, nothing is waited for any longer.

        Cancellation leaves connections open; call it again with a grace of 0.
        """
        self.agent.fleet.drain()
        self.server.drain()
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._quiet())]
        if cut is not None:
            waits.append(asyncio.ensure_future(cut.wait()))
        try:
            done, _ = await asyncio.wait(waits, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        left = self.server.active
        if left:
            logger.warning("cutting what is still in progress", extra={"exchanges": left})
            self.server.cut()
        now = waits[0] not in done or (cut is not None and cut.is_set())
        if self._local is not None:
            await self._local.close()
        await self.agent.checks.close()
        await self.agent.fleet.close(now=now)
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
        await self.server.close()


async def run(
    config: AgentConfig, hubs: Sequence[Hub], *, token: Secret | None = None, load: Load | None = None
) -> None:
    """Run an agent until a signal ends it.

    The first SIGTERM or SIGINT drains, the second ends at once. SIGHUP reads the settings again.
    """
    app = App(config, hubs, token=token, load=load)
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()
    notifier = Notifier(os.environ)

    def on_stop() -> None:
        (app.second if app.first.is_set() else app.first).set()

    def on_hangup() -> None:
        task = loop.create_task(_reload(app, notifier))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    raise_file_limit()
    logger.info("agentd %s starts", VERSION)
    app.start()
    await app.open_local()
    for name in config.insecure:
        logger.warning("--%s is set: what it protects from is open", name.replace("_", "-"))
    _announce(app)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    notifier.ready()
    feeding = loop.create_task(notifier.feed())
    await app.first.wait()
    notifier.stopping()
    active = app.server.active
    if active:
        logger.info("shutting down: waiting up to %g s for exchanges in progress: %d", app.grace, active)
    else:
        logger.info("shutting down")
    await app.stop(app.grace, app.second)
    await asyncio.gather(*reloads, return_exceptions=True)
    feeding.cancel()
    logger.info("stopped")


async def _reload(app: App, notifier: Notifier) -> None:
    notifier.reloading()
    try:
        await app.reload()
    except SettingsError as exc:
        for fault in exc.faults:
            logger.error("settings not taken: %s", fault)  # noqa: TRY400 - each says it all
    finally:
        notifier.ready()


def raise_file_limit() -> None:
    """Raise the soft limit for open files to the hard one: a connection to a target for each stream is many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _announce(app: App) -> None:
    services = app.agent.plan.services
    if not services:
        logger.warning("no target is listed, so nothing will be forwarded; give one with --target http://HOST:PORT")
        return
    first, *others = [service.target.url for service in services]
    also = f"; also {', '.join(others)}" if others else ""
    logger.info("serving target %s by default%s", first, also)
