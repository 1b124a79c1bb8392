"""AgentLocalService: the agent, as those see it who may open its own socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from agentd.agent import health_message
from tunnel.settings import SettingsError
from tunnel.version import VERSION
from tunnelpb.agent.v1 import local_pb2 as pb
from tunnelpb.agent.v1.local_pb2_grpc import AgentLocalServiceServicer, add_AgentLocalServiceServicer_to_server

if TYPE_CHECKING:
    from agentd.app import App
    from agentd.services import Service
    from agentd.uplink import Uplink

Context = Any
"""grpc.aio.ServicerContext, whose type parameters say nothing here."""

LEAST_INTERVAL, MOST_INTERVAL, USUAL_INTERVAL = 0.25, 60.0, 1.0
MAX_CALLS = 32
# Seconds for answers that are being written when the agent ends.
STOP_GRACE = 0.2


class LocalServer:
    """The gRPC server behind the agent's socket.

    Args:
        app: the agent.
        path: of a socket in the same private directory.
    """

    def __init__(self, app: App, path: Path) -> None:
        self.path = path
        self._server = grpc.aio.server(maximum_concurrent_rpcs=MAX_CALLS, options=[("grpc.so_reuseport", 0)])
        add_AgentLocalServiceServicer_to_server(LocalService(app), self._server)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        before = os.umask(0o177)
        try:
            self._server.add_insecure_port(f"unix:{path}")
        finally:
            os.umask(before)

    async def start(self) -> None:
        """Serve."""
        await self._server.start()

    async def stop(self) -> None:
        """End every call and stop."""
        await self._server.stop(STOP_GRACE)


class LocalService(AgentLocalServiceServicer):
    """What can be asked of the agent.

    Args:
        app: the agent.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        """Everything, once."""
        return self._status()

    def _status(self) -> pb.GetStatusResponse:
        agent = self._app.agent
        server = agent.server
        status = pb.GetStatusResponse(
            version=VERSION,
            instance=agent.instance,
            uplinks=[_uplink(uplink) for uplink in agent.fleet.uplinks],
            services=self._services(),
            config_version=agent.remote.version,
            config_error=agent.remote.error,
            open_exchanges=server.active,
            served=server.served,
            failed=sum(server.errors.values()),
            retries=server.retries,
        )
        status.start_time.FromMilliseconds(round(agent.started * 1000))
        return status

    def _services(self) -> list[pb.ServiceStatus]:
        return [self._service(service) for service in self._app.agent.plan.services]

    def _service(self, service: Service) -> pb.ServiceStatus:
        agent = self._app.agent
        connections = sum(len(pool.open) for pool in agent.server.pools if pool.target is service.target)
        return pb.ServiceStatus(
            name=service.name,
            target=_url(service.target.url),
            origin=service.origin,
            health=health_message(agent, service.name),
            connections=connections,
        )

    async def Reload(self, request: pb.ReloadRequest, context: Context) -> pb.ReloadResponse:
        """Settings, anew."""
        try:
            applied, need_restart = await self._app.reload()
        except SettingsError as exc:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"nothing has changed:\n{exc}")
            raise
        return pb.ReloadResponse(applied=applied, need_restart=need_restart)

    async def ListServices(self, request: pb.ListServicesRequest, context: Context) -> pb.ListServicesResponse:
        """Services only."""
        return pb.ListServicesResponse(services=self._services())

    async def StreamStats(
        self, request: pb.StreamStatsRequest, context: Context
    ) -> AsyncIterator[pb.StreamStatsResponse]:
        """The status again and again, until the caller leaves or the agent ends."""
        interval = USUAL_INTERVAL
        if request.HasField("interval"):
            interval = request.interval.ToMilliseconds() / 1000
            if not LEAST_INTERVAL <= interval <= MOST_INTERVAL:
                text = f"interval: between {LEAST_INTERVAL:g} and {MOST_INTERVAL:g} seconds"
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        while True:
            answer = pb.StreamStatsResponse(status=self._status())
            answer.time.FromMilliseconds(round(time.time() * 1000))
            yield answer
            try:
                async with asyncio.timeout(interval):
                    await self._app.first.wait()
            except TimeoutError:
                continue
            return

    async def Drain(self, request: pb.DrainRequest, context: Context) -> pb.DrainResponse:
        """The end, as by SIGTERM."""
        grace = None
        if request.HasField("deadline"):
            grace = request.deadline.ToMilliseconds() / 1000
            if grace < 0:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "deadline: must not be negative")
        open_now = self._app.server.active
        # The answer leaves first: the socket closes when everything else has ended.
        self._app.drain(grace)
        return pb.DrainResponse(open_exchanges=open_now)


def _uplink(uplink: Uplink) -> pb.UplinkStatus:
    control, info, session = uplink.control, uplink.info, uplink.session
    status = pb.UplinkStatus(
        hub=uplink.hub.place,
        agent_id=uplink.hub.agent_id,
        state=uplink.state.value,
        session=control.name if control is not None else "",
        hub_version=(info.server or "").partition(";")[0] if info is not None and session is not None else "",
        streams=uplink.streams,
        controlled=control is not None and control.welcomed,
        last_error=uplink.last_error,
    )
    if session is not None and session.rtt is not None:
        status.rtt.FromMicroseconds(round(session.rtt * 1e6))
    return status


def _url(text: str) -> str:
    """A target as it was given, without its name."""
    name, equals, rest = text.partition("=")
    return rest if equals and "/" not in name else text
