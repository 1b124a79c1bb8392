"""The gRPC server for agents: nothing but AgentControlService, on a private socket, and callers known by their stream."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from hubd.admin.caller import Caller, current
from hubd.admin.errors import ApiError, Code
from hubd.admin.gate import Context, Gate
from hubd.admin.names import stamp
from hubd.admin.roles import Role
from hubd.control.link import Link
from hubd.identity.enroll import enroll
from hubd.identity.tokens import TokenError
from tunnel.version import VERSION
from tunnelpb.agent.v1 import control_pb2 as pb
from tunnelpb.agent.v1.control_pb2_grpc import (
    AgentControlServiceServicer,
    add_AgentControlServiceServicer_to_server,
)

if TYPE_CHECKING:
    from hubd.control.desk import ControlDesk
    from hubd.sessions import AgentSession
    from hubd.state import Hub

logger = logging.getLogger("hubd.control")

HELLO_TIMEOUT = 10.0
"""Seconds; the agent has everything it needs to say hello when it opens the stream."""
MAX_SERVICES = 512
"""Services in one status; a configuration has at most 256, and the agent's own file may add some."""

SERVICE = "tunnelpb.agent.v1.AgentControlService"
ROLES = {f"/{SERVICE}/{method}": Role.VIEWER for method in ("Connect", "Enroll", "ReportStatus")}

OPTIONS: list[tuple[str, int]] = [
    # A hello and a status of 512 services with reasons; 1 MiB down is four times the largest configuration.
    ("grpc.max_receive_message_length", 256 * 1024),
    ("grpc.max_send_message_length", 1 << 20),
    # The session pings; a second layer of it would only cost.
    ("grpc.keepalive_time_ms", 2**31 - 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Connect, and a call or two beside it.
    ("grpc.max_concurrent_streams", 4),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.so_reuseport", 0),
]


class ControlServer:
    """The listener and its service.

    Args:
        desk: knows sessions by the names of their streams.
        hub: shared state.
        path: of the socket, in a directory nobody else may enter.
    """

    def __init__(self, desk: ControlDesk, hub: Hub, path: str) -> None:
        self.path = path
        gate = Gate(hub, lambda context: self._identify(context, desk), ROLES)
        self._server = grpc.aio.server(interceptors=[gate], options=OPTIONS)
        add_AgentControlServiceServicer_to_server(AgentControlService(desk, hub), self._server)
        self._server.add_insecure_port(f"unix:{path}")

    async def start(self) -> None:
        """Serve."""
        await self._server.start()

    async def stop(self) -> None:
        """End every call and stop."""
        await self._server.stop(0)

    @staticmethod
    def _identify(context: Context, desk: ControlDesk) -> Caller:
        """The agent whose session carries the call.

        Raises:
            ApiError: no session does.
        """
        entry = desk.session_of(context.peer())
        if entry is None:
            raise ApiError(Code.UNAUTHENTICATED, "SESSION_UNKNOWN", "this connection is no control stream of a session")
        return Caller(f"agents/{entry.agent_id}", Role.VIEWER, entry.agent_id, entry)


class AgentControlService(AgentControlServiceServicer):
    """What agents call. Each call belongs to a session."""

    def __init__(self, desk: ControlDesk, hub: Hub) -> None:
        self._desk = desk
        self._hub = hub

    async def Connect(self, requests: Any, context: Context) -> None:  # type: ignore[override]
        """One for each session, as long as it lives."""
        desk = self._desk
        entry = _session()
        if entry.joining:
            raise ApiError(Code.FAILED_PRECONDITION, "NOT_ENROLLED", "this session may only enrol")
        link = Link(entry, context, lambda: desk.cut(entry))
        hello = await self._hello(context)
        if entry.id in desk.links:
            raise ApiError(Code.FAILED_PRECONDITION, "ALREADY_CONNECTED", "this session has called Connect already")
        link.send(pb.ConnectResponse(welcome=self._welcome(entry)))
        desk.join(link, hello)
        try:
            while (message := await context.read()) is not grpc.aio.EOF:
                if not link.may_speak():
                    raise ApiError(
                        Code.RESOURCE_EXHAUSTED,
                        "RATE_LIMIT",
                        "too many messages on the control stream",
                        retry_after=10.0,
                    )
                self._take(link, message)
        finally:
            desk.leave(link)

    async def _hello(self, context: Context) -> pb.Hello:
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                first = await context.read()
        except TimeoutError:
            first = None
        if first is None or first is grpc.aio.EOF or first.WhichOneof("message") != "hello":
            raise ApiError(Code.FAILED_PRECONDITION, "HELLO_MISSING", "the first message is a hello, and comes at once")
        hello: pb.Hello = first.hello
        return hello

    def _welcome(self, entry: AgentSession) -> pb.Welcome:
        return pb.Welcome(hub=f"hubs/{self._hub.id}", session=f"sessions/{entry.id}", hub_version=VERSION)

    def _take(self, link: Link, message: pb.ConnectRequest) -> None:
        kind = message.WhichOneof("message")
        if kind == "config_answer":
            self._desk.answered(link, message.config_answer)
        elif kind == "status":
            self._note(link, message.status)
        elif kind == "probe_answer":
            link.probed(message.probe_answer.id)

    @staticmethod
    def _note(link: Link, status: pb.Status) -> None:
        if len(status.services) <= MAX_SERVICES:
            link.status = status

    async def Enroll(self, request: pb.EnrollRequest, context: Context) -> pb.EnrollResponse:
        """A join token becomes a token of the agent's own."""
        entry = _session()
        try:
            secret, row = enroll(self._desk.tokens, entry)
        except TokenError as exc:
            raise ApiError(Code.FAILED_PRECONDITION, exc.reason, str(exc)) from None
        self._hub.events.emit(
            "token", "token.enrolled", f"tokens/{row.id}", f"agent {entry.agent_id} has a token of its own",
            actor=f"tokens/{entry.token_id}", agent=entry.agent_id,
        )  # fmt: skip
        answer = pb.EnrollResponse(token=secret.reveal(), agent=f"agents/{entry.agent_id}")
        expires = stamp(row.expires)
        if expires is not None:
            answer.expire_time.CopyFrom(expires)
        return answer

    async def ReportStatus(self, request: pb.ReportStatusRequest, context: Context) -> pb.ReportStatusResponse:
        """A status outside of Connect."""
        link = self._desk.links.get(_session().id)
        if link is not None:
            self._note(link, request.status)
        return pb.ReportStatusResponse()


def _session() -> AgentSession:
    entry = current().session
    assert entry is not None
    return entry
