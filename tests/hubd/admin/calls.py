"""What every method of the API is asked, rightly and wrongly, for tests over every kind of address."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """One method.

    Attributes:
        good: a request that works, as JSON; "{session}" and "{token}" stand for names that are there.
        told: what its answer has to contain, as JSON text.
        bad: (request, code, reason and fields) of each that does not.
    """

    good: dict[str, Any] = field(default_factory=dict)
    told: str = "{"
    bad: tuple[tuple[dict[str, Any], str, str], ...] = ()


def fields(*names: str) -> str:
    """What a request with faults in these fields is refused with."""
    return f"FIELD_INVALID {' '.join(sorted(names))}"


def not_named(collection: str, *more: tuple[dict[str, Any], str, str], key: str = "name", **rest: Any) -> tuple:
    """Refusals of whatever takes the name of one thing: malformed, missing, and nobody's."""
    reason = f"{collection[:-1].upper()}_NOT_FOUND"
    return (
        ({**rest, key: "x/y"}, "INVALID_ARGUMENT", fields(key)),
        ({**rest}, "INVALID_ARGUMENT", fields(key)),
        ({**rest, key: f"{collection}/none"}, "NOT_FOUND", reason),
        *more,
    )


INVALID = "INVALID_ARGUMENT"
PAGES: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"pageSize": -1}, INVALID, fields("page_size")),
    ({"pageToken": "?"}, INVALID, fields("page_token")),
)
BAD_TOKEN = ({"resumeToken": "?"}, INVALID, fields("resume_token"))
LONG = "x" * 201
HUB = "tunnelpb.hub.v1"

CASES: dict[str, Case] = {
    f"{HUB}.SessionService/GetSession": Case({"name": "{session}"}, "agents/demo", not_named("sessions")),
    f"{HUB}.SessionService/ListSessions": Case(
        {}, "{session}", (*PAGES, ({"filter": {"states": [9]}}, INVALID, fields("filter.states[0]")))
    ),
    f"{HUB}.SessionService/EvictSession": Case(
        {"name": "{session}"},
        "CLOSED",
        not_named(
            "sessions",
            (
                {"name": "{session}", "reason": LONG, "denyFor": "-1s", "requestId": "a b"},
                INVALID,
                fields("deny_for", "reason", "request_id"),
            ),
        ),
    ),
    f"{HUB}.SessionService/DrainSession": Case(
        {"name": "{session}", "deadline": "5s"},
        "DRAINING",
        not_named(
            "sessions",
            ({"name": "{session}", "reason": "a\nb", "deadline": "-1s"}, INVALID, fields("deadline", "reason")),
            ({"name": "{closed}"}, "FAILED_PRECONDITION", "SESSION_CLOSED"),
        ),
    ),
    f"{HUB}.SessionService/UndrainSession": Case(
        {"name": "{session}"},
        "ACTIVE",
        not_named("sessions", ({"name": "{closed}"}, "FAILED_PRECONDITION", "SESSION_CLOSED")),
    ),
    f"{HUB}.SessionService/WatchSessions": Case(
        {}, "{session}", (BAD_TOKEN, ({"filter": {"agent": "demo"}}, INVALID, fields("filter.agent")))
    ),
    f"{HUB}.StatsService/GetStats": Case(
        {"scope": "STATS_SCOPE_SESSION"},
        "{session}",
        (
            ({"scope": 9}, INVALID, fields("scope")),
            ({"scope": "STATS_SCOPE_STREAM", "parent": "sessions/none"}, "NOT_FOUND", "SESSION_NOT_FOUND"),
        ),
    ),
    f"{HUB}.StatsService/StreamStats": Case(
        {"scope": "STATS_SCOPE_SESSION"},
        "{session}",
        (({"interval": "0.001s"}, INVALID, fields("interval")), ({"scope": 9}, INVALID, fields("scope"))),
    ),
    f"{HUB}.AgentService/GetAgent": Case({"name": "agents/demo"}, "ONLINE", not_named("agents")),
    f"{HUB}.AgentService/ListAgents": Case(
        {}, "agents/demo", (*PAGES, ({"states": [9]}, INVALID, fields("states[0]")))
    ),
    f"{HUB}.AgentService/UpdateAgent": Case(
        {"agent": {"name": "agents/demo", "displayName": "Demo"}},
        "Demo",
        (
            ({"agent": {"name": "demo"}}, INVALID, fields("agent.name")),
            ({"agent": {"name": "agents/none"}}, "NOT_FOUND", "AGENT_NOT_FOUND"),
            ({"agent": {"name": "agents/demo", "etag": "old"}}, "ABORTED", "ETAG_MISMATCH"),
            ({"agent": {"name": "agents/demo"}, "updateMask": "nothing"}, INVALID, fields("update_mask.paths[0]")),
        ),
    ),
    f"{HUB}.AgentService/DeleteAgent": Case(
        {"name": "agents/demo"},
        "{",
        not_named("agents", ({"name": "agents/demo", "etag": "old"}, "ABORTED", "ETAG_MISMATCH")),
    ),
    f"{HUB}.AgentService/DenyAgent": Case(
        {"name": "agents/demo"},
        "DENIED",
        (
            ({"name": "demo"}, INVALID, fields("name")),
            ({"name": "agents/demo", "reason": LONG, "duration": "-1s"}, INVALID, fields("duration", "reason")),
        ),
    ),
    f"{HUB}.AgentService/AllowAgent": Case({"name": "agents/demo"}, "ONLINE", not_named("agents")),
    f"{HUB}.AgentConfigService/GetAgentConfig": Case(
        {"agent": "agents/demo"},
        "agents/demo/configs/2",
        not_named(
            "agents", ({"agent": "agents/demo", "version": 9}, "NOT_FOUND", "CONFIG_VERSION_NOT_FOUND"), key="agent"
        ),
    ),
    f"{HUB}.AgentConfigService/UpdateAgentConfig": Case(
        {"agent": "agents/demo", "config": {"labels": {"a": "b"}}, "etag": "v2"},
        "agents/demo/configs/3",
        (
            ({"agent": "demo"}, INVALID, fields("agent")),
            ({"agent": "agents/none"}, "NOT_FOUND", "AGENT_NOT_FOUND"),
            ({"agent": "agents/demo", "etag": "v9"}, "ABORTED", "ETAG_MISMATCH"),
            (
                {"agent": "agents/demo", "config": {"poolSize": 50, "services": [{"name": "a", "target": "x://y"}]}},
                INVALID,
                fields("config.services[0].target", "config.pool_size"),
            ),
        ),
    ),
    f"{HUB}.AgentConfigService/ValidateAgentConfig": Case(
        {"config": {"poolSize": 50}}, "pool_size", (({"agent": "x/y"}, INVALID, fields("agent")),)
    ),
    f"{HUB}.AgentConfigService/ListAgentConfigVersions": Case(
        {"agent": "agents/demo"},
        "configs/1",
        not_named("agents", ({"agent": "agents/demo", "pageSize": -1}, INVALID, fields("page_size")), key="agent"),
    ),
    f"{HUB}.AgentConfigService/RollbackAgentConfig": Case(
        {"agent": "agents/demo", "version": 1},
        "configs/3",
        not_named(
            "agents",
            ({"agent": "agents/demo", "version": 9}, "NOT_FOUND", "CONFIG_VERSION_NOT_FOUND"),
            ({"agent": "agents/demo", "version": 1, "etag": "v9"}, "ABORTED", "ETAG_MISMATCH"),
            key="agent",
        ),
    ),
    f"{HUB}.RouteService/GetRoute": Case({"name": "routes/app"}, "app.example.com", not_named("routes")),
    f"{HUB}.RouteService/ListRoutes": Case({}, "routes/app", (*PAGES, ({"agent": "demo"}, INVALID, fields("agent")))),
    f"{HUB}.RouteService/CreateRoute": Case(
        {"routeId": "web", "route": {"host": "web.example.com", "agent": "agents/demo"}},
        "routes/web",
        (
            (
                {"routeId": "A", "route": {"host": "a b", "agent": "demo"}, "requestId": "a b"},
                INVALID,
                fields("route_id", "route.agent", "route.host", "request_id"),
            ),
            (
                {"routeId": "app", "route": {"host": "b.example.com", "agent": "agents/demo"}},
                "ALREADY_EXISTS",
                "ROUTE_EXISTS",
            ),
            ({"route": {"host": "app.example.com", "agent": "agents/demo"}}, "ALREADY_EXISTS", "ROUTE_HOST_TAKEN"),
            ({"route": {"tcpPort": "{port}", "agent": "agents/demo"}}, "ALREADY_EXISTS", "ROUTE_PORT_TAKEN"),
        ),
    ),
    f"{HUB}.RouteService/UpdateRoute": Case(
        {"route": {"name": "routes/app", "path": "/x"}, "updateMask": "path"},
        "/x",
        (
            ({"route": {"name": "app"}}, INVALID, fields("route.name")),
            ({"route": {"name": "routes/none"}}, "NOT_FOUND", "ROUTE_NOT_FOUND"),
            ({"route": {"name": "routes/app", "etag": "old"}}, "ABORTED", "ETAG_MISMATCH"),
            ({"route": {"name": "routes/app"}, "updateMask": "nothing"}, INVALID, fields("update_mask.paths[0]")),
        ),
    ),
    f"{HUB}.RouteService/DeleteRoute": Case(
        {"name": "routes/app"},
        "{",
        not_named("routes", ({"name": "routes/app", "etag": "old"}, "ABORTED", "ETAG_MISMATCH")),
    ),
    f"{HUB}.RouteService/WatchRoutes": Case({}, "routes/app", (BAD_TOKEN,)),
    f"{HUB}.RouteService/ResolveRoute": Case(
        {"url": "http://app.example.com/x"}, "agents/demo", (({"url": "ftp://x"}, INVALID, fields("url")),)
    ),
    f"{HUB}.TokenService/CreateToken": Case(
        {"kind": "KIND_AGENT", "agent": "agents/new"},
        "tun_",
        (
            (
                {"kind": 9, "role": 9, "agent": "x", "ttl": "0s", "requestId": "a b"},
                INVALID,
                fields("kind", "role", "agent", "ttl", "request_id"),
            ),
            ({"kind": "KIND_ADMIN"}, INVALID, fields("role")),
            (
                {"kind": "KIND_AGENT", "agent": "agents/new", "requestId": "{used}"},
                "ALREADY_EXISTS",
                "TOKEN_CREATED",
            ),
        ),
    ),
    f"{HUB}.TokenService/ListTokens": Case(
        {}, "{token}", (*PAGES, ({"kind": 9, "agent": "x"}, INVALID, fields("kind", "agent")))
    ),
    f"{HUB}.TokenService/RevokeToken": Case({"name": "{token}"}, "revokeTime", not_named("tokens")),
    f"{HUB}.HubService/GetHub": Case(
        {},
        "hubs/h1",
        (({"name": "h1"}, INVALID, fields("name")), ({"name": "hubs/h2"}, "NOT_FOUND", "HUB_NOT_FOUND")),
    ),
    f"{HUB}.HubService/ListHubs": Case({}, "hubs/h1", PAGES),
    f"{HUB}.HubService/DrainHub": Case(
        {"deadline": "5s"},
        "DRAINING",
        (({"deadline": "-1s", "reason": LONG, "exit": True}, INVALID, fields("deadline", "reason", "exit")),),
    ),
    f"{HUB}.HubService/ReloadHub": Case({}, "limits.body", (({}, "FAILED_PRECONDITION", "NO_SETTINGS"),)),
    f"{HUB}.HubService/GetEffectiveConfig": Case({}, "timeouts.drain"),
    f"{HUB}.HubService/ListPlugins": Case({}, "websocket"),
    f"{HUB}.HubService/SetLogLevel": Case(
        {"level": "info"},
        "previousLevel",
        (({"level": "loud", "revertAfter": "0s"}, INVALID, fields("level", "revert_after")),),
    ),
    f"{HUB}.EventService/WatchEvents": Case(
        {"noFollow": True},
        "session.attached",
        (({"topics": ["x"]}, INVALID, fields("topics[0]")), BAD_TOKEN),
    ),
    "grpc.health.v1.Health/Check": Case({}, "SERVING", (({"service": "none"}, "NOT_FOUND", ""),)),
    "grpc.health.v1.Health/List": Case({}, "SERVING"),
    "grpc.health.v1.Health/Watch": Case({}, "SERVING"),
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Case(
        {"listServices": ""}, f"{HUB}.SessionService"
    ),
}
