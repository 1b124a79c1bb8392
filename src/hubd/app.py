"""The composition root: builds a hub from its settings, runs it, and takes it down in reverse order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from dataclasses import asdict
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Protocol

from carrier_api import Registry
from hubd.accesslog import AccessLog
from hubd.admin.address import FindAddresses, addresses_of
from hubd.applicant import Authorize
from hubd.attach import AttachDesk
from hubd.budget import Budget, raise_limit
from hubd.config import HubConfig
from hubd.doors import Doors
from hubd.handover import AGENTS_SECONDS
from hubd.identity.desk import Identity
from hubd.listeners import ListenError
from hubd.ports import Ports
from hubd.quotas import AgentLimits
from hubd.state import Hub
from hubd.store import Database, StoreError
from hubd.web import Web

if TYPE_CHECKING:
    from hubd.admin.api import Api
    from hubd.admin.caller import AuthenticateAdmin

logger = logging.getLogger("hubd")

SWEEP_SECONDS = 1.0
DRAIN_POLL = 0.05
# What a session gets at the end for its last bytes: the responses are out already.
LAST_GRACE = 0.5
# Seconds for the last lines of the access log: a busy disk has taken them by then, and a pipe nobody reads never will.
LOG_GRACE = 5.0


class Part(Protocol):
    """Something that serves beside the proxy, such as the metrics page. It may be started again after a stop."""

    async def start(self) -> None:
        """Listen; raises ListenError with one line for people."""

    async def stop(self) -> None:
        """Stop within a second or so. Harmless when not started."""


class App:
    """One hub.

    Args:
        config: checked settings.
        registry: carriers; the installed ones by default.
        authorize: who may attach; by default who has a token or a certificate, and anybody with ``dev``.
        authenticate: knows the bearer tokens of the management API; by default those that are the hub's admin tokens.
        admin: finds out where that API listens, at the time; by default the settings say, and nowhere if they do not.

    Attributes:
        hub: shared state; set by `start`.
        identity: tokens and certificates; set by `start`.
        ports: of TCP routes; set by `start`.
        api: the management API; None if it listens nowhere.
        parts: what serves beside the proxy; started after the listeners, stopped last. Only one process can have them.
    """

    hub: Hub
    desk: AttachDesk
    identity: Identity
    ports: Ports

    def __init__(
        self,
        config: HubConfig,
        *,
        registry: Registry | None = None,
        authorize: Authorize | None = None,
        authenticate: AuthenticateAdmin | None = None,
        admin: FindAddresses | None = None,
    ) -> None:
        self.config = config
        self.registry = Registry.load() if registry is None else registry
        self._authorize = authorize
        self._authenticate = authenticate
        self._admin = admin
        self.api: Api | None = None
        self.doors: Doors | None = None
        self.parts: list[Part] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, expected: Iterable[str] = ()) -> None:
        """Open every listener and serve.

        Args:
            expected: agents that are about to come over from the process before this one.

        Raises:
            ListenError: an address cannot be had, a certificate or the store not be used, or a carrier URL not be
                served; nothing is left open then.
        """
        config = self.config
        for line in self.registry.failures:
            logger.warning(line)
        try:
            access_log = AccessLog(config.access_log) if config.access_log is not None else None
        except OSError as exc:
            raise ListenError(f"cannot write the access log {config.access_log}: {exc.strerror}") from exc
        try:
            database = Database(config.store_path)
        except StoreError as exc:
            if access_log is not None:
                access_log.close()
            raise ListenError(f"{exc} (setting store.path)") from exc
        hub = self.hub = Hub(config, Budget(raise_limit()), access_log=access_log, database=database)
        doors = self.doors = Doors(hub, self.registry)
        hub.on_budget = doors.budget_moved
        hub.pools.expect(expected, hub.now + AGENTS_SECONDS)
        try:
            self.identity = Identity(hub, database)
            for agent_id, limits in hub.agents.limited():
                hub.apply_limits(agent_id, SimpleNamespace(**{**asdict(AgentLimits()), **limits}))
            if config.control:
                await self._open_control()
            self.desk = hub.desk = AttachDesk(hub, self.registry.upgrades(), self._authorize or self.identity.agents)
            await doors.open()
            self.ports = Ports(hub)
            self.parts.append(self.ports)
            self._add_api()
            if config.web.listen is not None:
                self.parts.append(Web(hub, config.web.listen))
            await self.start_parts()
        except BaseException:
            await self.stop_parts()
            doors.close()
            await self._close_control()
            self._close_files()
            raise
        self._own(self._sweep())
        self._own(hub.pulse.run())
        if access_log is not None:
            self._own(access_log.run())

    async def _open_control(self) -> None:
        from hubd.control.desk import ControlDesk

        desk = ControlDesk(self.hub, self.identity.tokens)
        try:
            await desk.start()
        except OSError as exc:
            raise ListenError(f"no place for the agents' control socket: {exc.strerror} (setting control)") from exc
        self.hub.control = desk
        self.hub.leaving.notify = desk.notify_drain

    async def _close_control(self) -> None:
        if self.hub.control is not None:
            await self.hub.control.stop()

    def _add_api(self) -> None:
        """Make the management API one of the parts, if it listens anywhere. Without it gRPC is not loaded."""
        listen = self.config.admin.listen
        find = self._admin
        if find is None:
            if not listen:
                return
            find = partial(addresses_of, listen)
        from hubd.admin.api import Api, admin_tokens

        self.api = Api(self, find, self._authenticate or admin_tokens(self.identity.tokens))
        self.identity.on_admin_ended = self.api.endings.end_all
        self.parts.append(self.api)

    @property
    def urls(self) -> list[str]:
        """Where the hub listens."""
        return self.doors.urls if self.doors is not None else []

    @property
    def admin_addresses(self) -> list[str]:
        """Where the management API listens."""
        return self.api.addresses if self.api is not None else []

    async def start_parts(self) -> None:
        """Start what serves beside the proxy.

        Raises:
            ListenError: one of them cannot; the others are left to `stop_parts`.
        """
        for part in self.parts:
            await part.start()

    async def stop_parts(self) -> None:
        """Stop what serves beside the proxy, in reverse order."""
        for part in reversed(self.parts):
            try:
                await part.stop()
            except Exception:
                logger.exception("a part did not stop well")

    # -- while it runs ------------------------------------------------------------------------------------------------

    def use_access_log(self, log: AccessLog | None) -> None:
        """Write the access log there from now on."""
        hub = self.hub
        if hub.access_log is None or log is None:
            old, hub.access_log = hub.access_log, log
            if log is not None:
                self._own(log.run())
            if old is not None:
                self._own(old.end())
        else:
            hub.access_log.take_over(log)

    def _own(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                self.hub.sweep(loop.time())
                self.identity.poll()
            except Exception:
                # One connection in an odd state must not end all deadlines.
                logger.exception("sweep failed")

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
        if self.doors is not None:
            self.doors.close()
            await self.ports.stop()
        if self.api is not None:
            await self.api.leave()
        for front in list(hub.connections):
            front.drain()
        # Who follows in this process's place has the agents' requests waiting already.
        hub.leaving.drain_all(grace, "the hub stops", at_once=hub.heir is not None)
        end = hub.loop.time() + grace
        while (
            (hub.active or hub.connections or hub.leaving.untold)
            and hub.loop.time() < end
            and not (cut is not None and cut.is_set())
        ):
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
        hub.leaving.close()
        await self._close_control()
        await self.desk.close(0.0 if left or (cut is not None and cut.is_set()) else LAST_GRACE)
        await self.stop_parts()
        await self._end_log()
        await self._end_tasks()
        # Transports report their end one turn of the loop after abort().
        await asyncio.sleep(0)
        hub.rejects.flush()
        await self.identity.close()
        self._close_files()

    async def _end_log(self) -> None:
        """Let the last lines leave while the log's writer is still there: one that was cancelled may be in a write."""
        log, self.hub.access_log = self.hub.access_log, None
        if log is not None:
            try:
                async with asyncio.timeout(LOG_GRACE):
                    await log.end()
            except TimeoutError:
                logger.warning("the access log takes nothing: its last lines are lost")

    def _close_files(self) -> None:
        if self.hub.access_log is not None:
            self.hub.access_log.close()
        self.hub.database.close()

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def how_to_use(app: App) -> str:
    """Ready-made commands for a hub that lets any agent attach."""
    hub = next((url for url in app.urls if url.startswith("http")), "")
    if not hub:
        return ""
    return (
        "Any local agent may attach (--dev). Start one, then visit its target through the hub:\n"
        f"  agentd run --hub {hub.replace('http', 'ws', 1)} --id demo --target http://127.0.0.1:8881\n"
        f'  curl "{hub}/api/v1/proxy/demo/hello"'
        + (f"\nManage it:\n  tunnelctl --hub {app.admin_addresses[0]} sessions list" if app.admin_addresses else "")
    )
