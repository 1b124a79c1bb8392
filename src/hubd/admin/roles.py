"""Who may call what: one table. A method that is not in it is refused."""

from __future__ import annotations

from enum import IntEnum


class Role(IntEnum):
    """What a caller may do; each has all that is before it."""

    NONE = 0
    """Whoever can connect."""
    VIEWER = 1
    """Read."""
    OPERATOR = 2
    """Evict, drain, routes."""
    ADMIN = 3
    """Tokens, configuration, the hub itself."""


def _table(service: str, **roles: str) -> dict[str, Role]:
    return {f"/{service}/{method}": Role[role.upper()] for role, methods in roles.items() for method in methods.split()}


ROLES: dict[str, Role] = {
    **_table(
        "tunnelpb.hub.v1.SessionService",
        viewer="GetSession ListSessions WatchSessions",
        operator="EvictSession DrainSession UndrainSession",
    ),
    **_table("tunnelpb.hub.v1.StatsService", viewer="GetStats StreamStats"),
    **_table(
        "tunnelpb.hub.v1.AgentService",
        viewer="GetAgent ListAgents",
        operator="DenyAgent AllowAgent",
        admin="UpdateAgent DeleteAgent",
    ),
    **_table(
        "tunnelpb.hub.v1.AgentConfigService",
        viewer="GetAgentConfig ValidateAgentConfig ListAgentConfigVersions",
        admin="UpdateAgentConfig RollbackAgentConfig",
    ),
    **_table(
        "tunnelpb.hub.v1.RouteService",
        viewer="GetRoute ListRoutes WatchRoutes ResolveRoute",
        operator="CreateRoute UpdateRoute DeleteRoute",
    ),
    **_table("tunnelpb.hub.v1.TokenService", admin="CreateToken ListTokens RevokeToken"),
    **_table(
        "tunnelpb.hub.v1.HubService",
        viewer="GetHub ListHubs ListPlugins",
        admin="DrainHub ReloadHub GetEffectiveConfig SetLogLevel",
    ),
    **_table("tunnelpb.hub.v1.EventService", viewer="WatchEvents"),
    # Load balancers ask without a token; what they learn is whether the hub serves.
    **_table("grpc.health.v1.Health", none="Check List Watch"),
    **_table("grpc.reflection.v1alpha.ServerReflection", viewer="ServerReflectionInfo"),
}

# Beginnings of methods that change nothing.
_READING = ("Get", "List", "Watch", "Stream", "Validate", "Resolve", "Check", "ServerReflection")

MUTATING = frozenset(method for method in ROLES if not method.rpartition("/")[2].startswith(_READING))
"""Calls that leave a line in the audit log."""
