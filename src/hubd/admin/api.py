"""Puts the management API together: the services, and the servers they are on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hubd.admin.address import AddressError, FindAddresses
from hubd.admin.agent_config import AgentConfigService
from hubd.admin.agent_service import AgentService
from hubd.admin.caller import AuthenticateAdmin, Caller
from hubd.admin.endless import Endings
from hubd.admin.event_service import EventService
from hubd.admin.hub_service import HubService
from hubd.admin.roles import Role
from hubd.admin.route_service import RouteService
from hubd.admin.server import AdminServer, Register
from hubd.admin.session_service import SessionService
from hubd.admin.stats_service import StatsService
from hubd.admin.token_service import TokenService
from hubd.listeners import ListenError
from tunnelpb.hub.v1 import (
    agent_config_pb2_grpc,
    agent_pb2_grpc,
    event_pb2_grpc,
    hub_pb2_grpc,
    route_pb2_grpc,
    session_pb2_grpc,
    stats_pb2_grpc,
    token_pb2_grpc,
)

if TYPE_CHECKING:
    from hubd.app import App
    from hubd.identity.tokens import TokenBook


def admin_tokens(book: TokenBook) -> AuthenticateAdmin:
    """Lets in who has an admin token, in its role."""

    def authenticate(secret: str) -> Caller | None:
        row = book.verify(secret, ("admin",))
        return Caller(f"tokens/{row.id}", Role[row.role.upper()]) if row is not None else None

    return authenticate


class Api:
    """The management API of one hub process.

    Args:
        app: the hub.
        find: says where to listen.
        authenticate: knows bearer tokens on TCP.
    """

    def __init__(self, app: App, find: FindAddresses, authenticate: AuthenticateAdmin) -> None:
        self.app = app
        self.endings = Endings()
        self.server = AdminServer(
            app.hub,
            find,
            app.config.admin,
            self._services(),
            authenticate=authenticate,
            revoked=app.identity.is_revoked,
            endings=self.endings,
        )

    def _services(self) -> dict[str, Register]:
        app, endings = self.app, self.endings
        hub = app.hub
        self._hub_service = HubService(hub, self)
        return {
            "tunnelpb.hub.v1.SessionService": partial(
                session_pb2_grpc.add_SessionServiceServicer_to_server, SessionService(hub, endings)
            ),
            "tunnelpb.hub.v1.StatsService": partial(
                stats_pb2_grpc.add_StatsServiceServicer_to_server, StatsService(hub, endings)
            ),
            "tunnelpb.hub.v1.AgentService": partial(
                agent_pb2_grpc.add_AgentServiceServicer_to_server, AgentService(app)
            ),
            "tunnelpb.hub.v1.EventService": partial(
                event_pb2_grpc.add_EventServiceServicer_to_server, EventService(hub, endings)
            ),
            "tunnelpb.hub.v1.TokenService": partial(
                token_pb2_grpc.add_TokenServiceServicer_to_server, TokenService(hub, app.identity.tokens)
            ),
            "tunnelpb.hub.v1.RouteService": partial(
                route_pb2_grpc.add_RouteServiceServicer_to_server, RouteService(app, endings)
            ),
            "tunnelpb.hub.v1.AgentConfigService": partial(
                agent_config_pb2_grpc.add_AgentConfigServiceServicer_to_server, AgentConfigService(hub)
            ),
            "tunnelpb.hub.v1.HubService": partial(hub_pb2_grpc.add_HubServiceServicer_to_server, self._hub_service),
        }

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return self.server.addresses

    async def start(self) -> None:
        """Listen.

        Raises:
            ListenError: an address cannot be had; one line for people.
        """
        try:
            await self.server.start()
        except AddressError as exc:
            raise ListenError(str(exc)) from exc

    async def leave(self) -> None:
        """The hub begins to drain."""
        await self.server.leave()

    async def stop(self) -> None:
        """End it."""
        self._hub_service.close()
        await self.server.stop()
