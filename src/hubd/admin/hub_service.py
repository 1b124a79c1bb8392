"""HubService: the hub itself."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from pydantic import BaseModel

from carrier_api.registry import PluginRow
from hook_api.loader import GROUP as HOOKS
from hubd.admin.caller import current
from hubd.admin.errors import ApiError, Code, Faults, not_found
from hubd.admin.gate import Context
from hubd.admin.names import reason_of, seconds, stamp, take
from hubd.admin.paging import paginate
from tunnel.version import VERSION
from tunnelpb.hub.v1 import hub_pb2 as pb
from tunnelpb.hub.v1.hub_pb2_grpc import HubServiceServicer

if TYPE_CHECKING:
    from hubd.admin.api import Api
    from hubd.state import Hub


LEVELS = ("debug", "info", "warning", "error")
# Long enough to look into something, short enough that a forgotten debug level fills no disk.
LOG_LEVEL_SECONDS = 900.0
_PLUGIN_STATES = {
    "loaded": pb.Plugin.STATE_LOADED,
    "disabled": pb.Plugin.STATE_BLOCKED,
    "failed": pb.Plugin.STATE_FAILED,
}


class HubService(HubServiceServicer):
    """The hub.

    Args:
        hub: shared state.
        api: where it listens.
    """

    def __init__(self, hub: Hub, api: Api) -> None:
        self._hub = hub
        self._api = api
        self._reverting: asyncio.TimerHandle | None = None

    def _message(self) -> pb.Hub:
        hub = self._hub
        return pb.Hub(
            name=f"hubs/{hub.id}",
            state=pb.Hub.STATE_DRAINING if hub.draining else pb.Hub.STATE_SERVING,
            version=VERSION,
            start_time=stamp(hub.started),
            addresses=self._api.app.urls,
            admin_addresses=self._api.addresses,
            sessions=len(hub.roster.live),
            agents_online=sum(1 for pool in hub.pools.pools.values() if pool.entries),
            visitors=max(hub.budget.visitors, 0),
            exchanges=hub.active,
            domain=hub.config.domain or "",
            boot_id=hub.boot_id,
            dev=hub.config.dev,
            warnings=self._warnings(),
        )

    def _warnings(self) -> list[str]:
        hub = self._hub
        out = list(self._api.app.registry.failures)
        if hub.config.dev:
            out.append("--dev: any local agent may attach under any name")
        if hub.stats.accept_pauses:
            out.append(f"file descriptors ran out {hub.stats.accept_pauses} times: raise the limit for open files")
        return out

    async def GetHub(self, request: pb.GetHubRequest, context: Context) -> pb.GetHubResponse:
        """This hub."""
        if request.name and take("hubs", request.name, "name") != self._hub.id:
            raise not_found("hub", request.name)
        return pb.GetHubResponse(hub=self._message())

    async def DrainHub(self, request: pb.DrainHubRequest, context: Context) -> pb.DrainHubResponse:
        """Take the whole hub out of service, and end the process if asked to."""
        faults = Faults()
        deadline = seconds(request, "deadline", self._hub.timeouts.drain, faults=faults)
        reason = reason_of(request.reason, faults) or "the hub is drained"
        if request.exit and self._hub.exit is None:
            faults.add("exit", "this hub cannot end its process")
        faults.check()
        hub, actor = self._hub, current().actor
        hub.events.emit(
            "hub", "hub.draining", f"hubs/{hub.id}", f"the hub drains within {deadline:g} s: {reason}", actor=actor
        )
        hub.draining = True
        draining = hub.leaving.drain_all(deadline, reason, actor=actor)
        answer = pb.DrainHubResponse(hub=self._message(), draining_sessions=draining)
        if request.exit and hub.exit is not None:
            hub.exit(deadline)
        await self._api.leave()
        return answer

    async def ReloadHub(self, request: pb.ReloadHubRequest, context: Context) -> pb.ReloadHubResponse:
        """Read the settings again."""
        if self._hub.reload is None:
            raise ApiError(Code.FAILED_PRECONDITION, "NO_SETTINGS", "this hub was not started from settings")
        result = await self._hub.reload()
        if result.faults:
            raise ApiError(
                Code.INVALID_ARGUMENT, "SETTINGS_INVALID", "; ".join(result.faults)[:1000],
                fields=[("settings", fault) for fault in result.faults],
            )  # fmt: skip
        self._hub.events.emit(
            "hub", "hub.reloaded", f"hubs/{self._hub.id}", "settings read again", actor=current().actor,
            applied=" ".join(result.applied), need_restart=" ".join(result.need_restart),
        )  # fmt: skip
        return pb.ReloadHubResponse(applied=result.applied, need_restart=result.need_restart)

    async def GetEffectiveConfig(
        self, request: pb.GetEffectiveConfigRequest, context: Context
    ) -> pb.GetEffectiveConfigResponse:
        """Every setting in force, secrets masked."""
        origins = self._hub.origins()
        settings = [
            pb.Setting(key=key, value=json.dumps(value, default=str), origin=origins.get(key, "default"))
            for key, value in flat(self._hub.config)
        ]
        return pb.GetEffectiveConfigResponse(settings=settings)

    async def ListPlugins(self, request: pb.ListPluginsRequest, context: Context) -> pb.ListPluginsResponse:
        """Carrier plugins and hook plugins, whatever became of them."""
        app = self._api.app
        plugins = [_plugin(row) for row in app.registry.plugins()]
        for point in sorted(metadata.entry_points(group=HOOKS), key=lambda point: point.name):
            dist = point.dist
            hooks = app.identity.hooks.hooks_of(point.name)
            plugins.append(
                pb.Plugin(
                    name=point.name,
                    distribution=dist.name if dist is not None else "",
                    version=dist.version if dist is not None else "",
                    state=pb.Plugin.STATE_LOADED if hooks else pb.Plugin.STATE_BLOCKED,
                    detail="" if hooks else "disabled by the settings (hooks.disable)",
                    hooks=hooks,
                )
            )
        return pb.ListPluginsResponse(plugins=plugins)

    async def SetLogLevel(self, request: pb.SetLogLevelRequest, context: Context) -> pb.SetLogLevelResponse:
        """Change the log level for a while."""
        faults = Faults()
        if request.level not in LEVELS:
            faults.add("level", f"must be one of {', '.join(LEVELS)}")
        lasting = seconds(request, "revert_after", LOG_LEVEL_SECONDS, least=1.0, most=86400.0, faults=faults)
        faults.check()
        root = logging.getLogger()
        previous = logging.getLevelName(root.level).lower()
        root.setLevel(request.level.upper())
        if self._reverting is not None:
            self._reverting.cancel()
        self._reverting = self._hub.loop.call_later(lasting, self._revert)
        self._hub.events.emit(
            "hub", "hub.log_level", f"hubs/{self._hub.id}", f"log level {request.level} for {lasting:g} s",
            actor=current().actor,
        )  # fmt: skip
        return pb.SetLogLevelResponse(previous_level=previous, revert_time=stamp(time.time() + lasting))

    def _revert(self) -> None:
        self._reverting = None
        logging.getLogger().setLevel(self._hub.config.log_level.upper())

    def close(self) -> None:
        """Put the log level back."""
        if self._reverting is not None:
            self._reverting.cancel()
            self._revert()

    async def ListHubs(self, request: pb.ListHubsRequest, context: Context) -> pb.ListHubsResponse:
        """This hub, as the only one."""
        page = paginate(request, [self._message()], lambda hub: hub.name)
        return pb.ListHubsResponse(hubs=page.rows, next_page_token=page.next_token)


def flat(value: object, above: str = "") -> Iterator[tuple[str, object]]:
    """Dotted keys and values of settings, as JSON can show them. What does not belong in a repr is a secret."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            inner = getattr(value, name)
            yield from flat(inner if field.repr or not inner else "***", f"{above}.{name}" if above else name)
    elif isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from flat(inner, f"{above}.{name}" if above else name)
    else:
        yield above, [str(item) for item in value] if isinstance(value, tuple | list) else value


def _plugin(row: PluginRow) -> pb.Plugin:
    return pb.Plugin(
        name=row.name,
        distribution=row.dist,
        version=row.version,
        state=_PLUGIN_STATES[row.state],
        detail=row.detail,
        hooks=["tunnel_carriers"] if row.state == "loaded" else [],
    )
