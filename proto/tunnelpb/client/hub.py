"""The connection to one hub, with the stubs of its services and what makes them handy."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

from tunnelpb.client import interceptors, watches
from tunnelpb.client.address import Address
from tunnelpb.client.errors import HubError
from tunnelpb.client.watches import Change, Told
from tunnelpb.hub.v1 import (
    agent_config_pb2,
    agent_config_pb2_grpc,
    agent_pb2,
    agent_pb2_grpc,
    event_pb2,
    event_pb2_grpc,
    hub_pb2,
    hub_pb2_grpc,
    route_pb2,
    route_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
    stats_pb2,
    stats_pb2_grpc,
    token_pb2,
    token_pb2_grpc,
)

if TYPE_CHECKING:
    from tunnelpb.hub.v1.agent_config_pb2_grpc import AgentConfigServiceAsyncStub
    from tunnelpb.hub.v1.agent_pb2_grpc import AgentServiceAsyncStub
    from tunnelpb.hub.v1.event_pb2_grpc import EventServiceAsyncStub
    from tunnelpb.hub.v1.hub_pb2_grpc import HubServiceAsyncStub
    from tunnelpb.hub.v1.route_pb2_grpc import RouteServiceAsyncStub
    from tunnelpb.hub.v1.session_pb2_grpc import SessionServiceAsyncStub
    from tunnelpb.hub.v1.stats_pb2_grpc import StatsServiceAsyncStub
    from tunnelpb.hub.v1.token_pb2_grpc import TokenServiceAsyncStub

Row = TypeVar("Row")

# For a call that answers once. Long enough for a hub under full load (worst seen there: 0.3 s) behind a slow line.
DEADLINE = 10.0
# Rows asked for at once: the most the hub gives.
_PAGE = 1000
# A hub answers pings that come no faster than every 5 s; at 20 s a dead line is found within half a minute.
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


@dataclass(frozen=True, slots=True)
class Tls:
    """How a TCP connection is secured. Files are PEM.

    Attributes:
        ca_file: authorities to trust; None trusts those of the system.
        cert_file: own certificate chain, for hubs that ask for one.
        key_file: its key; None if it is in ``cert_file``.
        server_name: name to check in the hub's certificate, if not the host's.
    """

    ca_file: str | Path | None = None
    cert_file: str | Path | None = None
    key_file: str | Path | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files. Raises OSError, and ValueError for a key without a certificate."""
        if self.key_file and not self.cert_file:
            # gRPC's C core would end the process.
            raise ValueError("key_file without cert_file: a key alone is no credential")
        ca = Path(self.ca_file).read_bytes() if self.ca_file else None
        chain = Path(self.cert_file).read_bytes() if self.cert_file else None
        key = Path(self.key_file).read_bytes() if self.key_file else chain
        return grpc.ssl_channel_credentials(ca, key, chain)


def connect(
    address: str | Address, *, token: str | None = None, tls: Tls | None = None, timeout: float = DEADLINE
) -> Hub:
    """Return the hub at ``address``; the connection opens with the first call.

    A unix socket is plain, TCP is always TLS, so a token never crosses a network in the clear. ``timeout`` is the
    deadline of calls that answer once, where a call names no other; watches have none. Needs a running loop.

    Raises:
        ValueError: the address or the token is malformed, ``tls`` is given for a unix socket, or lacks a certificate.
        OSError: a file of ``tls`` cannot be read.
    """
    where = Address.parse(address) if isinstance(address, str) else address
    if token is not None and not (token and token.isascii() and token.isprintable() and " " not in token):
        raise ValueError("a token is one word of printable ASCII")
    chain = interceptors.chain(timeout, token)
    if where.socket is not None:
        if tls is not None:
            raise ValueError(f"{where}: a unix socket has no TLS")
        return Hub(where, grpc.aio.insecure_channel(where.target, options=_OPTIONS, interceptors=chain))
    options = list(_OPTIONS)
    if tls is not None and tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    if where.is_loopback:
        options.append(("grpc.enable_http_proxy", 0))
    credentials = (tls or Tls()).credentials()
    return Hub(where, grpc.aio.secure_channel(where.target, credentials, options=options, interceptors=chain))


class Hub:
    """One hub's management API. Use with ``async with``, or ``close`` it.

    Attributes:
        address: where it is.
        channel: for services beyond those here, such as grpc.health.v1.
    """

    def __init__(self, address: Address, channel: grpc.aio.Channel) -> None:
        self.address = address
        self.channel = channel
        self.sessions: SessionServiceAsyncStub = session_pb2_grpc.SessionServiceStub(channel)
        self.stats: StatsServiceAsyncStub = stats_pb2_grpc.StatsServiceStub(channel)
        self.agents: AgentServiceAsyncStub = agent_pb2_grpc.AgentServiceStub(channel)
        self.agent_configs: AgentConfigServiceAsyncStub = agent_config_pb2_grpc.AgentConfigServiceStub(channel)
        self.routes: RouteServiceAsyncStub = route_pb2_grpc.RouteServiceStub(channel)
        self.tokens: TokenServiceAsyncStub = token_pb2_grpc.TokenServiceStub(channel)
        self.hub: HubServiceAsyncStub = hub_pb2_grpc.HubServiceStub(channel)
        self.events: EventServiceAsyncStub = event_pb2_grpc.EventServiceStub(channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all calls and the connection."""
        await self.channel.close()

    # --- lists, page by page

    def list_sessions(
        self,
        *,
        agent: str = "",
        labels: Mapping[str, str] | None = None,
        states: Iterable[session_pb2.Session.State.ValueType] = (),
        unreachable: set[str] | None = None,
        page_size: int = _PAGE,
    ) -> AsyncIterator[session_pb2.Session]:
        """Yield sessions by name. Hubs that did not answer are added to ``unreachable``."""
        wanted = _session_filter(agent, labels, states)

        async def page(token: str) -> tuple[Iterable[session_pb2.Session], str]:
            request = session_pb2.ListSessionsRequest(page_size=page_size, page_token=token, filter=wanted)
            answer = await self.sessions.ListSessions(request)
            if unreachable is not None:
                unreachable.update(answer.unreachable)
            return answer.sessions, answer.next_page_token

        return _pages(page)

    def list_agents(
        self,
        *,
        states: Iterable[agent_pb2.Agent.State.ValueType] = (),
        labels: Mapping[str, str] | None = None,
        page_size: int = _PAGE,
    ) -> AsyncIterator[agent_pb2.Agent]:
        """Yield agents by name."""
        wanted, having = list(states), dict(labels or {})

        async def page(token: str) -> tuple[Iterable[agent_pb2.Agent], str]:
            request = agent_pb2.ListAgentsRequest(page_size=page_size, page_token=token, states=wanted, labels=having)
            answer = await self.agents.ListAgents(request)
            return answer.agents, answer.next_page_token

        return _pages(page)

    def list_config_versions(
        self, agent: str, *, page_size: int = _PAGE
    ) -> AsyncIterator[agent_config_pb2.AgentConfigVersion]:
        """Yield the kept configurations of an agent (``agents/{id}``), newest first."""

        async def page(token: str) -> tuple[Iterable[agent_config_pb2.AgentConfigVersion], str]:
            request = agent_config_pb2.ListAgentConfigVersionsRequest(
                agent=agent, page_size=page_size, page_token=token
            )
            answer = await self.agent_configs.ListAgentConfigVersions(request)
            return answer.configs, answer.next_page_token

        return _pages(page)

    def list_routes(self, *, agent: str = "", page_size: int = _PAGE) -> AsyncIterator[route_pb2.Route]:
        """Yield routes by name."""

        async def page(token: str) -> tuple[Iterable[route_pb2.Route], str]:
            request = route_pb2.ListRoutesRequest(page_size=page_size, page_token=token, agent=agent)
            answer = await self.routes.ListRoutes(request)
            return answer.routes, answer.next_page_token

        return _pages(page)

    def list_tokens(
        self,
        *,
        kind: token_pb2.Token.Kind.ValueType = token_pb2.Token.KIND_UNSPECIFIED,
        agent: str = "",
        ended: bool = False,
        page_size: int = _PAGE,
    ) -> AsyncIterator[token_pb2.Token]:
        """Yield tokens, without their secrets; with ``ended`` also those revoked or expired."""

        async def page(token: str) -> tuple[Iterable[token_pb2.Token], str]:
            request = token_pb2.ListTokensRequest(
                page_size=page_size, page_token=token, kind=kind, agent=agent, show_ended=ended
            )
            answer = await self.tokens.ListTokens(request)
            return answer.tokens, answer.next_page_token

        return _pages(page)

    def list_hubs(self, *, page_size: int = _PAGE) -> AsyncIterator[hub_pb2.Hub]:
        """Yield the hubs this one knows, itself among them."""

        async def page(token: str) -> tuple[Iterable[hub_pb2.Hub], str]:
            answer = await self.hub.ListHubs(hub_pb2.ListHubsRequest(page_size=page_size, page_token=token))
            return answer.hubs, answer.next_page_token

        return _pages(page)

    # --- watches

    def watch_sessions(
        self,
        *,
        agent: str = "",
        labels: Mapping[str, str] | None = None,
        states: Iterable[session_pb2.Session.State.ValueType] = (),
        resume_token: str = "",
        told: Told | None = None,
    ) -> AsyncIterator[Change[session_pb2.Session]]:
        """Yield sessions as they are and then as they change, for ever, over broken connections and restarts.

        Raises HubError for what another try cannot mend, and if the hub cannot be reached at first.
        """
        wanted = _session_filter(agent, labels, states)

        def start(token: str) -> Any:
            request = session_pb2.WatchSessionsRequest(filter=wanted, resume_token=token)
            return self.sessions.WatchSessions(request)

        return watches.resume(start, watches.accept_row, resume_token=resume_token, told=told)

    def watch_routes(
        self, *, resume_token: str = "", told: Told | None = None
    ) -> AsyncIterator[Change[route_pb2.Route]]:
        """Yield routes as they are and then as they change; as ``watch_sessions``."""

        def start(token: str) -> Any:
            return self.routes.WatchRoutes(route_pb2.WatchRoutesRequest(resume_token=token))

        return watches.resume(start, watches.accept_row, resume_token=resume_token, told=told)

    def watch_events(
        self,
        *,
        topics: Iterable[str] = (),
        since: dt.datetime | None = None,
        resume_token: str = "",
        told: Told | None = None,
    ) -> AsyncIterator[Change[event_pb2.Event]]:
        """Yield events as they happen; with ``since`` kept ones first. Events come as ``upsert``.

        After ``reset`` events may be missing: those the hub still has since the last one seen follow.
        """
        chosen, start_at = list(topics), since

        def start(token: str) -> Any:
            request = event_pb2.WatchEventsRequest(topics=chosen, resume_token=token)
            if not token and start_at is not None:
                request.since.FromDatetime(start_at)
            return self.events.WatchEvents(request)

        def accept(message: event_pb2.WatchEventsResponse) -> Change[event_pb2.Event]:
            nonlocal start_at
            if message.HasField("event"):
                # One tick later, or the event itself would come twice.
                seen = message.event.time.ToDatetime(dt.UTC)
                start_at = seen + dt.timedelta(microseconds=1)
            return watches.accept_event(message)

        return watches.resume(start, accept, resume_token=resume_token, snapshot=False, told=told)

    async def kept_events(
        self, *, topics: Iterable[str] = (), since: dt.datetime | None = None
    ) -> AsyncIterator[event_pb2.Event]:
        """Yield the events the hub has kept, and end."""
        request = event_pb2.WatchEventsRequest(topics=list(topics), no_follow=True)
        if since is not None:
            request.since.FromDatetime(since)
        async for message in translated(self.events.WatchEvents(request, timeout=DEADLINE)):
            if message.HasField("event"):
                yield message.event

    def stream_stats(
        self,
        scope: stats_pb2.StatsScope.ValueType = stats_pb2.STATS_SCOPE_HUB,
        *,
        parent: str = "",
        interval: float = 1.0,
    ) -> AsyncIterator[stats_pb2.StreamStatsResponse]:
        """Yield counters every ``interval`` seconds: all rows first, then those that changed. Ends with the connection."""
        request = stats_pb2.StreamStatsRequest(scope=scope, parent=parent)
        request.interval.FromTimedelta(dt.timedelta(seconds=interval))
        return translated(self.stats.StreamStats(request))


async def translated(call: Any) -> AsyncIterator[Any]:
    """Yield the messages of a stream; what it ends with is raised as HubError."""
    try:
        async for message in call:
            yield message
    except grpc.aio.AioRpcError as error:
        raise HubError.of(error) from None
    finally:
        call.cancel()


async def _pages(fetch: Callable[[str], Awaitable[tuple[Iterable[Row], str]]]) -> AsyncIterator[Row]:
    token = ""
    while True:
        rows, token = await fetch(token)
        for row in rows:
            yield row
        if not token:
            return


def _session_filter(
    agent: str, labels: Mapping[str, str] | None, states: Iterable[session_pb2.Session.State.ValueType]
) -> session_pb2.SessionFilter:
    return session_pb2.SessionFilter(agent=agent, labels=dict(labels or {}), states=list(states))
