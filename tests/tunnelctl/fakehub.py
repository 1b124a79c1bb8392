"""A hub's management API without a hub: state in memory, on a unix socket, for clients to be tried on.

It runs on threads, so that a client may have a loop of its own in the same process.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
from google.protobuf import timestamp_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tunnelpb.agent.v1 import config_pb2
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

Session = session_pb2.Session
Code = grpc.StatusCode
# 2026-11-25 12:00:00 UTC
T0 = 1795608000


def at(seconds: int) -> timestamp_pb2.Timestamp:
    return timestamp_pb2.Timestamp(seconds=T0 + seconds)


def fail(context, code, reason, message, metadata=None, fields=(), retry=None):
    """End a call as the hub does: google.rpc.Status with details."""
    status = status_pb2.Status(code=code.value[0], message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="tunnelpb", metadata=metadata or {}))
    if fields:
        bad = error_details_pb2.BadRequest()
        for field, description in fields:
            bad.field_violations.add(field=field, description=description)
        status.details.add().Pack(bad)
    if retry is not None:
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromMilliseconds(int(retry * 1000))
        status.details.add().Pack(info)
    context.abort_with_status(rpc_status.to_status(status))


def page(request, rows):
    """Cut one page out of rows: (rows, next token)."""
    size = min(request.page_size or 50, 1000)
    start = int(request.page_token or 0)
    more = str(start + size) if start + size < len(rows) else ""
    return rows[start : start + size], more


class FakeHub:
    """All services on one object, and the switches tests use.

    Attributes:
        address: for ``--hub``.
        calls: (method, metadata) of every call that came.
        token: if set, calls need it as their bearer token.
        page_limit: rows a page has at most.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "admin.sock"
        self.address = f"unix://{self.path}"
        self.lock = threading.Condition()
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.requests: list[object] = []
        self.token = ""
        self.forbidden: set[str] = set()
        self.boot = "b1"
        self.unreachable: list[str] = []
        self.sessions: dict[str, Session] = {}
        self.agents: dict[str, agent_pb2.Agent] = {}
        self.routes: dict[str, route_pb2.Route] = {}
        self.tokens: dict[str, token_pb2.Token] = {}
        self.configs: dict[str, list[agent_config_pb2.AgentConfigVersion]] = {}
        self.changes: list[tuple[str, Session]] = []
        self.events: list[event_pb2.Event] = []
        self.drains_end = True
        self.refusal = ""
        self.answers = True
        self.epoch = 0
        self.numbers = itertools.count(1)
        self.stats_rounds: list[list[stats_pb2.Stats]] = []
        self.start()

    # --- life

    def start(self) -> None:
        self.server = grpc.server(
            futures.ThreadPoolExecutor(16),
            interceptors=[_Watchman(self)],
            options=[("grpc.http2.min_recv_ping_interval_without_data_ms", 5000)],
        )
        session_pb2_grpc.add_SessionServiceServicer_to_server(_Sessions(self), self.server)
        stats_pb2_grpc.add_StatsServiceServicer_to_server(_Stats(self), self.server)
        agent_pb2_grpc.add_AgentServiceServicer_to_server(_Agents(self), self.server)
        agent_config_pb2_grpc.add_AgentConfigServiceServicer_to_server(_Configs(self), self.server)
        route_pb2_grpc.add_RouteServiceServicer_to_server(_Routes(self), self.server)
        token_pb2_grpc.add_TokenServiceServicer_to_server(_Tokens(self), self.server)
        hub_pb2_grpc.add_HubServiceServicer_to_server(_Hubs(self), self.server)
        event_pb2_grpc.add_EventServiceServicer_to_server(_Events(self), self.server)
        self.server.add_insecure_port(self.address)
        self.server.start()

    def stop(self) -> None:
        with self.lock:
            self.epoch += 1
            self.lock.notify_all()
        self.server.stop(0).wait()

    def restart(self, *, forget: bool) -> None:
        """Go away and come back; with ``forget`` as a new process whose old resume tokens are void."""
        self.stop()
        if forget:
            self.boot += "x"
            self.changes.clear()
        self.start()

    def cut(self) -> None:
        """End every open watch."""
        with self.lock:
            self.epoch += 1
            self.lock.notify_all()

    # --- rows

    def add_session(self, ident: str, agent: str = "berlin", **more) -> Session:
        session = Session(
            name=f"sessions/{ident}", agent=f"agents/{agent}", hub="hubs/h1", carrier="websocket",
            state=more.pop("state", Session.STATE_ACTIVE), connect_time=at(0), last_seen_time=at(5), **more,
        )  # fmt: skip
        session.rtt.FromMilliseconds(18)
        self.change("upsert", session)
        with self.lock:
            known = self.agents.setdefault(agent, agent_pb2.Agent(name=f"agents/{agent}", create_time=at(0)))
            known.state, known.sessions = agent_pb2.Agent.STATE_ONLINE, known.sessions + 1
        return session

    def change(self, kind: str, session: Session) -> None:
        copy = Session()
        copy.CopyFrom(session)
        with self.lock:
            self.sessions[session.name] = session
            if kind == "removed":
                self.sessions[session.name].state = Session.STATE_CLOSED
            self.changes.append((kind, copy))
            self.lock.notify_all()

    def emit(self, topic: str, kind: str, subject: str, message: str) -> None:
        with self.lock:
            number = len(self.events) + 1
            self.events.append(
                event_pb2.Event(index=number, time=at(number), topic=topic, type=kind, subject=subject, actor="hub",
                                message=message)
            )  # fmt: skip
            self.lock.notify_all()

    def live(self) -> list[Session]:
        return [row for _, row in sorted(self.sessions.items()) if row.state != Session.STATE_CLOSED]

    def resume(self, token: str, context) -> int | None:
        """The position a token names; None without one."""
        if not token:
            return None
        boot, _, position = token.partition(":")
        if boot != self.boot:
            fail(context, Code.OUT_OF_RANGE, "RESUME_TOKEN_EXPIRED", "the resume token is of another time")
        return int(position)

    def follow(self, context, position: int, source: list) -> Iterator[tuple[int, object]]:
        """Yield (position behind it, item) as items come, until the stream is cut."""
        epoch = self.epoch
        while context.is_active():
            with self.lock:
                if self.epoch != epoch:
                    context.abort(Code.UNAVAILABLE, "Cancelling all calls")
                if position >= len(source):
                    self.lock.wait(0.2)
                    continue
                item = source[position]
            position += 1
            yield position, item


class _Watchman(grpc.ServerInterceptor):
    """Notes every call and asks for the token."""

    def __init__(self, hub: FakeHub) -> None:
        self.hub = hub

    def intercept_service(self, continuation, details):
        metadata = dict(details.invocation_metadata)
        self.hub.calls.append((details.method.rpartition("/")[2], metadata))
        handler = continuation(details)
        forbidden = details.method.rpartition("/")[2] in self.hub.forbidden
        if not forbidden and self.hub.token in ("", metadata.get("authorization", "").removeprefix("Bearer ")):
            return handler

        def refuse(request, context):
            if forbidden:
                fail(context, Code.PERMISSION_DENIED, "ROLE_REQUIRED", "this needs admin")
            fail(context, Code.UNAUTHENTICATED, "TOKEN_INVALID", "the token is not known")

        make = grpc.unary_stream_rpc_method_handler if handler.response_streaming else (
            grpc.unary_unary_rpc_method_handler
        )  # fmt: skip
        return make(refuse, handler.request_deserializer, handler.response_serializer)


class _Service:
    def __init__(self, hub: FakeHub) -> None:
        self.hub = hub


class _Sessions(_Service, session_pb2_grpc.SessionServiceServicer):
    def find(self, name: str, context) -> Session:
        if name in self.hub.sessions:
            return self.hub.sessions[name]
        found = [row for key, row in self.hub.sessions.items() if key.startswith(name)]
        if len(found) > 1:
            fail(context, Code.INVALID_ARGUMENT, "NAME_AMBIGUOUS", "ambiguous")
        if not found:
            fail(context, Code.NOT_FOUND, "SESSION_NOT_FOUND", f"{name} is not known", {"name": name})
        return found[0]

    def wanted(self, row: Session, where: session_pb2.SessionFilter) -> bool:
        states = set(where.states) or {Session.STATE_ACTIVE, Session.STATE_DRAINING}
        labels = all(row.labels.get(key) == value for key, value in where.labels.items())
        return row.state in states and labels and where.agent in ("", row.agent)

    def GetSession(self, request, context):
        return session_pb2.GetSessionResponse(session=self.find(request.name, context))

    def ListSessions(self, request, context):
        if request.page_size < 0:
            fail(
                context, Code.INVALID_ARGUMENT, "FIELD_INVALID", "1 field is wrong", fields=[("page_size", "negative")]
            )
        rows = [row for _, row in sorted(self.hub.sessions.items()) if self.wanted(row, request.filter)]
        part, more = page(request, rows)
        return session_pb2.ListSessionsResponse(
            sessions=part, next_page_token=more, total_size=len(rows), unreachable=self.hub.unreachable
        )

    def EvictSession(self, request, context):
        self.hub.requests.append(request)
        row = self.find(request.name, context)
        streams = row.open_streams if row.state != Session.STATE_CLOSED else 0
        row.state, row.close_reason, row.open_streams = Session.STATE_CLOSED, request.reason or "evicted", 0
        self.hub.change("removed", row)
        return session_pb2.EvictSessionResponse(session=row, reset_streams=streams)

    def DrainSession(self, request, context):
        self.hub.requests.append(request)
        row = self.find(request.name, context)
        if row.state == Session.STATE_CLOSED:
            fail(context, Code.FAILED_PRECONDITION, "SESSION_CLOSED", f"{row.name} is closed")
        row.state = Session.STATE_DRAINING
        row.drain_deadline.CopyFrom(at(30))
        self.hub.change("upsert", row)
        answer = session_pb2.DrainSessionResponse(session=row)
        if self.hub.drains_end:
            threading.Thread(target=self.wear_down, args=(row,)).start()
        return answer

    def wear_down(self, row: Session) -> None:
        while row.open_streams > 0:
            row.open_streams -= 1
            self.hub.change("upsert", row)
        row.state, row.close_reason = Session.STATE_CLOSED, "drained"
        row.replaced_by = "sessions/next"
        self.hub.change("removed", row)

    def UndrainSession(self, request, context):
        row = self.find(request.name, context)
        row.state = Session.STATE_ACTIVE
        self.hub.change("upsert", row)
        return session_pb2.UndrainSessionResponse(session=row)

    def WatchSessions(self, request, context):
        position = self.hub.resume(request.resume_token, context)
        answer = session_pb2.WatchSessionsResponse
        if position is None:
            with self.hub.lock:
                rows = [row for row in self.hub.live() if self.wanted(row, request.filter)]
                position = len(self.hub.changes)
            token = f"{self.hub.boot}:{position}"
            for row in rows:
                yield answer(upsert=row, resume_token=token)
            yield answer(bookmark=answer.Bookmark(synced=True), resume_token=token)
        for position, (kind, row) in self.hub.follow(context, position, self.hub.changes):
            token = f"{self.hub.boot}:{position}"
            matches = self.wanted(row, request.filter)
            if kind == "upsert" and matches:
                yield answer(upsert=row, resume_token=token)
            elif kind == "removed":
                yield answer(removed=row, resume_token=token)


class _Stats(_Service, stats_pb2_grpc.StatsServiceServicer):
    def GetStats(self, request, context):
        answer = stats_pb2.GetStatsResponse(time=at(60))
        scope = request.scope or stats_pb2.STATS_SCOPE_HUB
        if scope == stats_pb2.STATS_SCOPE_HUB:
            row = answer.stats.add(name="hubs/h1", bytes_in=1_500_000, bytes_out=900, streams_open=3, requests=7,
                                   sessions=len(self.hub.live()), memory_bytes=64 << 20)  # fmt: skip
            row.loop_lag.FromMicroseconds(1800)
        else:
            for session in self.hub.live():
                answer.stats.add(name=session.name, agent=session.agent, bytes_in=2_000, streams_open=1)
        return answer

    def StreamStats(self, request, context):
        scope = request.scope or stats_pb2.STATS_SCOPE_HUB
        if scope == stats_pb2.STATS_SCOPE_HUB:
            for number in range(3):
                answer = stats_pb2.StreamStatsResponse(time=at(number), full=number == 0)
                answer.stats.add(name="hubs/h1", bytes_in=1_000_000 * number, requests=10 * number, sessions=2,
                                 streams_open=4)  # fmt: skip
                yield answer
        else:
            for number in range(3):
                answer = stats_pb2.StreamStatsResponse(time=at(number), full=number == 0)
                for session in self.hub.live():
                    row = answer.stats.add(name=session.name, agent=session.agent, bytes_in=3_000_000 * number,
                                           requests=100 * number, errors=number, streams_open=12)  # fmt: skip
                    row.rtt.FromMilliseconds(18)
                yield answer
        while context.is_active():
            with self.hub.lock:
                self.hub.lock.wait(0.2)


class _Agents(_Service, agent_pb2_grpc.AgentServiceServicer):
    def find(self, name: str, context) -> agent_pb2.Agent:
        found = self.hub.agents.get(name.removeprefix("agents/"))
        if found is None:
            fail(context, Code.NOT_FOUND, "AGENT_NOT_FOUND", f"{name} is not known", {"name": name})
        return found

    def GetAgent(self, request, context):
        return agent_pb2.GetAgentResponse(agent=self.find(request.name, context))

    def ListAgents(self, request, context):
        rows, more = page(request, [row for _, row in sorted(self.hub.agents.items())])
        return agent_pb2.ListAgentsResponse(agents=rows, next_page_token=more, total_size=len(self.hub.agents))

    def UpdateAgent(self, request, context):
        self.hub.requests.append(request)
        row = self.find(request.agent.name, context)
        row.MergeFrom(request.agent)
        return agent_pb2.UpdateAgentResponse(agent=row)

    def DeleteAgent(self, request, context):
        row = self.find(request.name, context)
        del self.hub.agents[row.name.removeprefix("agents/")]
        return agent_pb2.DeleteAgentResponse(evicted_sessions=row.sessions)

    def DenyAgent(self, request, context):
        self.hub.requests.append(request)
        row = self.find(request.name, context)
        row.state, row.deny_reason = agent_pb2.Agent.STATE_DENIED, request.reason
        return agent_pb2.DenyAgentResponse(agent=row, evicted_sessions=row.sessions)

    def AllowAgent(self, request, context):
        row = self.find(request.name, context)
        row.state = agent_pb2.Agent.STATE_OFFLINE
        return agent_pb2.AllowAgentResponse(agent=row)


class _Configs(_Service, agent_config_pb2_grpc.AgentConfigServiceServicer):
    def kept(self, agent: str, context) -> list[agent_config_pb2.AgentConfigVersion]:
        kept = self.hub.configs.setdefault(agent, [])
        if not kept:
            fail(context, Code.FAILED_PRECONDITION, "NO_EARLIER_CONFIG", f"{agent} has no version before 0")
        return kept

    def GetAgentConfig(self, request, context):
        none = agent_config_pb2.AgentConfigVersion(name=f"{request.agent}/configs/0", etag="e0")
        kept = self.hub.configs.get(request.agent) or [none]
        answer = agent_config_pb2.GetAgentConfigResponse(config=kept[-1])
        for session in self.hub.live():
            if session.agent == request.agent:
                version = answer.config.version
                status = answer.status.add(session=session.name, desired_version=version)
                if self.hub.refusal:
                    status.last_error = self.hub.refusal
                elif self.hub.answers:
                    status.applied_version = version
        return answer

    def store(self, agent: str, config: config_pb2.AgentConfig, **more) -> agent_config_pb2.AgentConfigVersion:
        kept = self.hub.configs.setdefault(agent, [])
        number = len(kept) + 1
        made = agent_config_pb2.AgentConfigVersion(
            name=f"{agent}/configs/{number}", version=number, config=config, create_time=at(number),
            author="admin@unix", etag=f"e{number}", **more,
        )  # fmt: skip
        kept.append(made)
        return made

    def UpdateAgentConfig(self, request, context):
        self.hub.requests.append(request)
        kept = self.hub.configs.get(request.agent, [])
        if request.etag and request.etag != (kept[-1].etag if kept else "e0"):
            fail(context, Code.ABORTED, "ETAG_MISMATCH", "the configuration changed meanwhile")
        faults = self.faults(request.config)
        if faults:
            fail(context, Code.INVALID_ARGUMENT, "FIELD_INVALID", f"{len(faults)} fields are wrong", fields=faults)
        return agent_config_pb2.UpdateAgentConfigResponse(
            config=self.store(request.agent, request.config, comment=request.comment)
        )

    def faults(self, config: config_pb2.AgentConfig) -> list[tuple[str, str]]:
        return [
            (f"config.services[{index}].target", "no URL")
            for index, service in enumerate(config.services)
            if "://" not in service.target
        ]

    def ValidateAgentConfig(self, request, context):
        answer = agent_config_pb2.ValidateAgentConfigResponse()
        for field, description in self.faults(request.config):
            answer.faults.add(field=field, description=description)
        return answer

    def ListAgentConfigVersions(self, request, context):
        rows, more = page(request, list(reversed(self.hub.configs.get(request.agent, []))))
        return agent_config_pb2.ListAgentConfigVersionsResponse(configs=rows, next_page_token=more)

    def RollbackAgentConfig(self, request, context):
        self.hub.requests.append(request)
        kept = self.kept(request.agent, context)
        number = request.version or kept[-1].version - 1
        made = self.store(request.agent, kept[number - 1].config, comment=request.comment, rollback_of=number)
        return agent_config_pb2.RollbackAgentConfigResponse(config=made)


class _Routes(_Service, route_pb2_grpc.RouteServiceServicer):
    def GetRoute(self, request, context):
        found = self.hub.routes.get(request.name)
        if found is None:
            fail(context, Code.NOT_FOUND, "ROUTE_NOT_FOUND", f"{request.name} is not known")
        return route_pb2.GetRouteResponse(route=found)

    def ListRoutes(self, request, context):
        rows = [row for _, row in sorted(self.hub.routes.items()) if request.agent in ("", row.agent)]
        part, more = page(request, rows)
        return route_pb2.ListRoutesResponse(routes=part, next_page_token=more, total_size=len(rows))

    def CreateRoute(self, request, context):
        self.hub.requests.append(request)
        for row in self.hub.routes.values():
            if row.host and row.host == request.route.host:
                fail(context, Code.ALREADY_EXISTS, "ROUTE_HOST_TAKEN", f"{row.host} belongs to {row.name}",
                     {"holder": row.name})  # fmt: skip
        row = route_pb2.Route()
        row.CopyFrom(request.route)
        row.name, row.origin = f"routes/{request.route_id or next(self.hub.numbers)}", "api"
        self.hub.routes[row.name] = row
        return route_pb2.CreateRouteResponse(route=row)

    def DeleteRoute(self, request, context):
        if self.hub.routes.pop(request.name, None) is None:
            fail(context, Code.NOT_FOUND, "ROUTE_NOT_FOUND", f"{request.name} is not known")
        return route_pb2.DeleteRouteResponse()

    def WatchRoutes(self, request, context):
        answer = route_pb2.WatchRoutesResponse
        for row in self.hub.routes.values():
            yield answer(upsert=row, resume_token="r:1")
        yield answer(bookmark=answer.Bookmark(synced=True), resume_token="r:1")
        for _ in self.hub.follow(context, 0, []):
            return

    def ResolveRoute(self, request, context):
        for row in self.hub.routes.values():
            if row.host and row.host in request.url:
                return route_pb2.ResolveRouteResponse(
                    agent=row.agent, service=row.service, route=row, reason=f"host {row.host}", sessions=2, path="/api"
                )
        return route_pb2.ResolveRouteResponse(reason="no route has this host")


class _Tokens(_Service, token_pb2_grpc.TokenServiceServicer):
    def CreateToken(self, request, context):
        self.hub.requests.append(request)
        number = next(self.hub.numbers)
        row = token_pb2.Token(name=f"tokens/t{number}", kind=request.kind, role=request.role, agent=request.agent,
                              create_time=at(0), expire_time=at(3600), uses_left=request.uses,
                              comment=request.comment)  # fmt: skip
        self.hub.tokens[row.name] = row
        return token_pb2.CreateTokenResponse(token=row, secret=f"tun_secret{number}")

    def ListTokens(self, request, context):
        rows, more = page(request, [row for _, row in sorted(self.hub.tokens.items())])
        return token_pb2.ListTokensResponse(tokens=rows, next_page_token=more, total_size=len(self.hub.tokens))

    def RevokeToken(self, request, context):
        row = self.hub.tokens.get(request.name)
        if row is None:
            fail(context, Code.NOT_FOUND, "TOKEN_NOT_FOUND", f"{request.name} is not known")
        row.revoke_time.CopyFrom(at(9))
        return token_pb2.RevokeTokenResponse(token=row, evicted_sessions=1)


class _Hubs(_Service, hub_pb2_grpc.HubServiceServicer):
    def me(self) -> hub_pb2.Hub:
        return hub_pb2.Hub(
            name="hubs/h1", state=hub_pb2.Hub.STATE_SERVING, version="1.2.3", start_time=at(0),
            addresses=["http://127.0.0.1:8882"], admin_addresses=[self.hub.address], sessions=len(self.hub.live()),
            agents_online=1, visitors=4, exchanges=2, boot_id=self.hub.boot, warnings=["the disk is nearly full"],
        )  # fmt: skip

    def GetHub(self, request, context):
        return hub_pb2.GetHubResponse(hub=self.me())

    def ListHubs(self, request, context):
        return hub_pb2.ListHubsResponse(hubs=[self.me()])

    def DrainHub(self, request, context):
        self.hub.requests.append(request)
        row = self.me()
        row.state = hub_pb2.Hub.STATE_DRAINING
        return hub_pb2.DrainHubResponse(hub=row, draining_sessions=len(self.hub.live()))

    def ReloadHub(self, request, context):
        return hub_pb2.ReloadHubResponse(applied=["limits.body"], need_restart=["listen"])

    def GetEffectiveConfig(self, request, context):
        answer = hub_pb2.GetEffectiveConfigResponse()
        answer.settings.add(key="listen", value=json.dumps("127.0.0.1:8882"), origin="default")
        answer.settings.add(key="tls.key", value=json.dumps("***"), origin="hubd.toml:3")
        return answer

    def ListPlugins(self, request, context):
        answer = hub_pb2.ListPluginsResponse()
        answer.plugins.add(name="tcp", distribution="tunnelhub", version="0.1", state=hub_pb2.Plugin.STATE_LOADED)
        answer.plugins.add(name="odd", state=hub_pb2.Plugin.STATE_FAILED, detail="no module named odd")
        return answer

    def SetLogLevel(self, request, context):
        self.hub.requests.append(request)
        return hub_pb2.SetLogLevelResponse(previous_level="info", revert_time=at(900))


class _Events(_Service, event_pb2_grpc.EventServiceServicer):
    def WatchEvents(self, request, context):
        position = self.hub.resume(request.resume_token, context)
        if position is None:
            with self.hub.lock:
                position = len(self.hub.events)
                if request.HasField("since"):
                    since = request.since.ToDatetime()
                    position = sum(1 for event in self.hub.events if event.time.ToDatetime() < since)
                elif request.no_follow:
                    position = 0
        if request.no_follow:
            for event in self.hub.events[position:]:
                if not request.topics or event.topic in request.topics:
                    yield event_pb2.WatchEventsResponse(event=event)
            return
        yield event_pb2.WatchEventsResponse(resume_token=f"{self.hub.boot}:{position}")
        for position, event in self.hub.follow(context, position, self.hub.events):
            if not request.topics or event.topic in request.topics:
                yield event_pb2.WatchEventsResponse(event=event, resume_token=f"{self.hub.boot}:{position}")
