"""The life of the hub's process: start, signals, hand-over, end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping
from functools import partial

from carrier_api import inherited
from hubd.admin.address import AddressError, AdminAddress, addresses_of, default_address
from hubd.app import App
from hubd.applicant import Authorize
from hubd.config import HubConfig
from hubd.handover import (
    READY,
    SERVING,
    Channel,
    HandOverError,
    Heir,
    Predecessor,
    reap,
    send_names,
    start_successor,
)
from hubd.listeners import ListenError
from hubd.reload import Load, Reloader
from tunnel.systemd import Notifier
from tunnel.version import VERSION

logger = logging.getLogger("hubd")

# The default of 700 makes the collector run many times a second over objects that are freed by counting anyway.
GC_THRESHOLD = 50_000


class Life:
    """One process of a hub, from its first listener to its exit code.

    The first SIGTERM or SIGINT drains, the second ends at once. SIGHUP reads the settings again. SIGUSR2 starts this
    program anew and hands everything over to it.

    Args:
        app: not started.
        load: gathers the settings again; None if that cannot be.
        notifier: to the service manager.
    """

    def __init__(self, app: App, load: Load | None, notifier: Notifier) -> None:
        self._app = app
        self._notifier = notifier
        self._load = load
        self._reloader: Reloader | None = None
        self._first, self._second = asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._handing: asyncio.Task[None] | None = None
        self._grace: float | None = None

    async def run(self, started: Callable[[App], None], channel: socket.socket | None) -> None:
        """Serve until a signal ends it.

        Args:
            started: called once all listeners are open.
            channel: to the process before this one, if there is one.

        Raises:
            ListenError: it cannot start; one line for people.
        """
        app = self._app
        self._on_signals()
        predecessor = Predecessor(Channel(channel)) if channel is not None else None
        try:
            await app.start(await predecessor.ready() if predecessor is not None else ())
        except HandOverError as exc:
            raise ListenError(str(exc)) from exc
        for address in inherited.close_rest():
            logger.warning("an inherited socket is not used, since no listener has this address: %s", address)
        if self._load is not None:
            self._reloader = Reloader(app, self._load)
            app.hub.reload = self._reloader.reload
            app.hub.origins = self._reloader.origins
        app.hub.exit = self._leave
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 20)
        _announce(app)
        assert app.doors is not None
        if predecessor is not None:
            self._own(predecessor.receive(app.doors.front))
        self._notifier.ready()
        self._own(self._notifier.feed())
        started(app)
        await self._first.wait()
        await self._end()

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        loop.add_signal_handler(signal.SIGUSR2, self._on_hand_over)

    def _own(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a task of the process has failed", exc_info=task.exception())

    # -- signals ------------------------------------------------------------------------------------------------------

    def _on_stop(self) -> None:
        (self._second if self._first.is_set() else self._first).set()

    def _leave(self, seconds: float) -> None:
        """End as the first signal does, with a deadline of its own."""
        self._grace = seconds
        self._first.set()

    def _on_hangup(self) -> None:
        if self._reloader is not None and not self._first.is_set():
            self._own(self._reload(self._reloader))

    async def _reload(self, reloader: Reloader) -> None:
        self._notifier.reloading()
        await reloader.reload()
        self._notifier.ready()

    def _on_hand_over(self) -> None:
        if self._reloader is None or self._first.is_set() or self._handing is not None:
            logger.warning("no hand-over now: the hub is starting, ending, or handing over already")
        elif os.getpid() == 1:
            logger.warning("no hand-over here: a container ends with its first process")
        else:
            self._handing = self._own(self._hand_over())

    # -- the process that follows -------------------------------------------------------------------------------------

    async def _hand_over(self) -> None:
        app = self._app
        assert app.doors is not None
        logger.info("starting the process that follows")
        heir: Heir | None = None
        try:
            heir = start_successor(app.doors.heritage() + app.ports.heritage(), os.environ)
            await heir.channel.expect(READY)
            app.doors.release()
            try:
                await app.stop_parts()
                send_names(heir.channel, list(app.hub.pools.pools))
                await heir.channel.expect(SERVING)
            except BaseException:
                heir.kill()
                await app.doors.regain()
                await app.start_parts()
                raise
        except (HandOverError, ListenError, OSError) as exc:
            app.hub.stats.handovers_failed += 1
            logger.error("no hand-over, this process goes on: %s", exc)  # noqa: TRY400 - one line says it all
            if heir is not None:
                heir.kill()
                heir.channel.close()
                await reap(heir.pid)
        else:
            app.hub.stats.handovers += 1
            app.hub.heir = heir
            self._notifier.main_pid(heir.pid)
            logger.info("another process serves from now on", extra={"pid": heir.pid})
            self._first.set()
        finally:
            self._handing = None

    # -- the end ------------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        app = self._app
        if app.hub.heir is None:
            self._notifier.stopping()
        logger.info("shutting down", extra={"exchanges": app.hub.active, "agents": len(app.hub.pools)})
        grace = app.hub.timeouts.drain if self._grace is None else self._grace
        await app.stop(grace, self._second)
        if app.hub.heir is not None:
            logger.info("handed over", extra={"pid": app.hub.heir.pid, "visitors": app.hub.heir.moved})
            app.hub.heir.channel.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        logger.info("stopped")


async def serve(
    config: HubConfig,
    started: Callable[[App], None],
    *,
    authorize: Authorize | None = None,
    load: Load | None = None,
    channel: socket.socket | None = None,
) -> None:
    """Run a hub until a signal ends it.

    Args:
        config: checked settings.
        started: called once all listeners are open.
        authorize: as for `App`.
        load: gathers the settings again.
        channel: to the process before this one.

    Raises:
        ListenError: it cannot start; one line for people.
    """
    app = App(config, authorize=authorize, admin=partial(admin_addresses, config, os.environ))
    await Life(app, load, Notifier(os.environ)).run(started, channel)


def admin_addresses(config: HubConfig, environ: Mapping[str, str]) -> list[AdminAddress]:
    """Where the settings want the management API; unless they say, a socket where tunnelctl looks for one."""
    if config.admin.listen is not None:
        return addresses_of(config.admin.listen)
    address = config.listen or config.tls_listen
    try:
        return [default_address(environ, address.port if address is not None else 0)]
    except AddressError as exc:
        logger.warning("no management API: %s", exc)
        return []


def _announce(app: App) -> None:
    config = app.config
    logger.info("hub started", extra={"version": VERSION, "listen": " ".join(app.urls), "dev": config.dev})
    hub = app.hub
    logger.info(hub.budget.describe())
    logger.info("limits", extra={name: value for name, value in hub.limits.model_dump().items() if value})
    if hub.budget.tight:
        logger.warning(
            "the limit of open files is low: %d; raise it with LimitNOFILE= in the unit or ulimit -Hn", hub.budget.limit
        )
    for name in config.insecure:
        logger.warning("--%s is set: what it protects from is open", name.replace("_", "-"))
    if not config.dev and not app.identity.tokens.page(kind="agent").total and app.identity.agents.authorities is None:
        logger.warning("no agent can attach yet: make a token with hubd token create --agent NAME")
