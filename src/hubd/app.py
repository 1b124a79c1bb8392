"""The composition root: builds a hub from its settings, runs it, and takes it down in reverse order."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import ssl
from collections.abc import Callable, Coroutine

from carrier_api import Registry, server_context
from hubd.accesslog import AccessLog
from hubd.attach import AttachDesk, Authorize, allow_all, deny_all
from hubd.budget import Budget, raise_limit
from hubd.config import HubConfig
from hubd.front import Front
from hubd.listeners import Door, ListenError, bind
from hubd.state import Hub
from tunnel.settings import HostPort
from tunnel.version import VERSION
from yamux.carrier import Listener, TlsOptions

logger = logging.getLogger("hubd")

SWEEP_SECONDS = 1.0
DRAIN_POLL = 0.05
# What a session gets at the end for its last bytes: the responses are out already.
LAST_GRACE = 0.5
# The default of 700 makes the collector run many times a second over objects that are freed by counting anyway.
GC_THRESHOLD = 50_000


class App:
    """One hub.

    Args:
        config: checked settings.
        registry: carriers; the installed ones by default.
        authorize: who may attach; by default anybody with ``dev``, nobody without.

    Attributes:
        hub: shared state; set by `start`.
    """

    hub: Hub
    desk: AttachDesk

    def __init__(
        self, config: HubConfig, *, registry: Registry | None = None, authorize: Authorize | None = None
    ) -> None:
        self.config = config
        self._registry = Registry.load() if registry is None else registry
        self._authorize = authorize or (allow_all if config.dev else deny_all)
        self._doors: list[Door] = []
        self._listeners: list[Listener] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._reopening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open every listener and serve.

        Raises:
            ListenError: an address cannot be had, a certificate not be used, or a carrier URL not be served; nothing
                is left open then.
        """
        config = self.config
        for line in self._registry.failures:
            logger.warning(line)
        try:
            access_log = AccessLog(config.access_log) if config.access_log is not None else None
        except OSError as exc:
            raise ListenError(f"cannot write the access log {config.access_log}: {exc.strerror}") from exc
        hub = self.hub = Hub(config, Budget(raise_limit()), access_log=access_log)
        self.desk = hub.desk = AttachDesk(hub, self._registry.upgrades(), self._authorize)
        hub.on_budget = self._budget_moved
        try:
            await self._listen()
        except BaseException:
            self._close_doors()
            if access_log is not None:
                access_log.close()
            raise
        self._own(self._sweep())
        if access_log is not None:
            self._own(access_log.run())

    async def _listen(self) -> None:
        config = self.config
        backlog = config.limits.backlog
        if config.listen is not None:
            self._door(config.listen, None)
        if config.tls_listen is not None:
            self._door(config.tls_listen, self._tls_context())
        for door in self._doors:
            await door.open()
        for url in config.carriers:
            try:
                carrier = self._registry.for_url(url)
                address = carrier.parse(url)
                if not address.local:
                    raise ListenError(
                        f"carrier {address.url} is open to other machines: this version serves loopback only"
                    )
                tls = self._tls_options() if address.secure else None
                self._listeners.append(await carrier.listen(address, self.front, tls=tls, backlog=backlog))
            except (ValueError, OSError) as exc:
                raise ListenError(f"carrier listener: {exc}") from exc

    def front(self) -> Front:
        """A protocol for one more visitor connection."""
        return Front(self.hub)

    def _door(self, address: HostPort, context: ssl.SSLContext | None) -> None:
        backlog = self.config.limits.backlog
        self._doors.append(Door(bind(address, backlog), self.front, backlog=backlog, context=context))

    def _tls_options(self) -> TlsOptions | None:
        tls = self.config.tls
        if tls is None:
            return None
        return TlsOptions(
            ca_file=str(tls.client_ca) if tls.client_ca is not None else None,
            cert_file=str(tls.cert),
            key_file=str(tls.key) if tls.key is not None else None,
        )

    def _tls_context(self) -> ssl.SSLContext:
        options = self._tls_options()
        assert options is not None
        try:
            return server_context(options)
        except ValueError as exc:
            raise ListenError(f"TLS: {exc}") from exc

    @property
    def urls(self) -> list[str]:
        """Where the hub listens."""
        out = [url for door in self._doors for url in door.urls]
        return out + [url for listener in self._listeners for url in listener.addresses]

    # -- while it runs ------------------------------------------------------------------------------------------------

    def _own(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.add(asyncio.create_task(work))

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                self.hub.sweep(loop.time())
            except Exception:
                # One connection in an odd state must not end all deadlines.
                logger.exception("sweep failed")

    def _budget_moved(self) -> None:
        """A connection came or went: stop accepting before descriptors run out, start again when there is room."""
        hub = self.hub
        if hub.draining:
            return
        if hub.budget.full:
            if any(door.accepting for door in self._doors):
                hub.stats.accept_pauses += 1
                hub.rejects.reject(
                    "accept_paused", "file descriptors run out: accepting paused", level=logging.ERROR,
                    visitors=hub.budget.visitors, agents=hub.budget.agents, limit=hub.budget.limit,
                )  # fmt: skip
                for door in self._doors:
                    door.pause()
        elif hub.budget.roomy and self._reopening is None and not all(door.accepting for door in self._doors):
            self._reopening = asyncio.ensure_future(self._reopen())

    async def _reopen(self) -> None:
        try:
            for door in self._doors:
                if not self.hub.draining:
                    await door.open()
        except OSError as exc:
            logger.error("cannot accept again: %s", exc.strerror)  # noqa: TRY400 - one line says it all
        finally:
            self._reopening = None

    # -- the end ------------------------------------------------------------------------------------------------------

    async def stop(self, grace: float, cut: asyncio.Event | None = None) -> None:
        """Drain and end.

        Args:
            grace: seconds for what is in progress.
            cut: when set, nothing is waited for any longer.

        Cancellation leaves connections open; call it again with a grace of 0.
        """
        hub = self.hub
        hub.draining = True
        self._close_doors()
        for front in list(hub.connections):
            front.drain()
        for entry in hub.pools.sessions():
            entry.session.go_away()
        end = hub.loop.time() + grace
        while (hub.active or hub.connections) and hub.loop.time() < end and not (cut is not None and cut.is_set()):
            await asyncio.sleep(DRAIN_POLL)
            for front in list(hub.connections):
                front.drain()
        left = hub.active
        if left:
            logger.warning("cutting what is still in progress", extra={"exchanges": left})
        for front in list(hub.connections):
            front.abort()
        for tunnel in list(hub.tunnels):
            tunnel.abort()
        await self.desk.close(0.0 if left or (cut is not None and cut.is_set()) else LAST_GRACE)
        await self._end_tasks()
        # Transports report their end one turn of the loop after abort().
        await asyncio.sleep(0)
        hub.rejects.flush()
        if hub.access_log is not None:
            hub.access_log.close()

    async def _end_tasks(self) -> None:
        tasks = [*self._tasks, *([self._reopening] if self._reopening is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    def _close_doors(self) -> None:
        for door in self._doors:
            door.close()
        for listener in self._listeners:
            listener.close()


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


def how_to_use(app: App) -> str:
    """Ready-made commands for a hub that lets any agent attach."""
    hub = next((url for url in app.urls if url.startswith("http")), "")
    if not hub:
        return ""
    return (
        "Any local agent may attach (--dev). Start one, then visit its target through the hub:\n"
        f"  agentd run --hub {hub.replace('http', 'ws', 1)} --id demo --target http://127.0.0.1:8881\n"
        f'  curl "{hub}/api/v1/proxy/demo/hello"'
    )
