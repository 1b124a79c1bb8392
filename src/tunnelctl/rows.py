"""Rows as the command line shows them, one function a kind: the contract of ``-o json``.

Names as in the API, numbers as numbers, enums by their bare names, times in ISO 8601 (null where unset), durations in
seconds. The API's own JSON mapping would turn counters into text and names into camel case.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper
    from google.protobuf.message import Message

    from tunnelpb.agent.v1 import config_pb2
    from tunnelpb.hub.v1 import (
        agent_config_pb2,
        agent_pb2,
        event_pb2,
        hub_pb2,
        route_pb2,
        session_pb2,
        stats_pb2,
        token_pb2,
    )

Row = dict[str, Any]


def time(message: Message, field: str) -> str | None:
    """Return a timestamp field in ISO 8601, UTC; None if it is unset."""
    if not message.HasField(field):
        return None
    when: dt.datetime = getattr(message, field).ToDatetime(dt.UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(message: Message, field: str) -> float | None:
    """Return a duration field in seconds; None if it is unset."""
    if not message.HasField(field):
        return None
    found: Duration = getattr(message, field)
    return found.seconds + found.nanos / 1e9


def enum(kind: _EnumTypeWrapper[Any], value: int) -> str:
    """Return a value's name without what all names of the enum begin with; the number for one of a newer hub."""
    try:
        name = kind.Name(value)
    except ValueError:
        return str(value)
    zero: str = kind.Name(0)
    return name.removeprefix(zero.removesuffix("UNSPECIFIED"))


def session(row: session_pb2.Session, stats: stats_pb2.Stats | None = None) -> Row:
    """A session; with its counters if there are any."""
    return {
        "name": row.name,
        "agent": row.agent,
        "hub": row.hub,
        "state": enum(type(row).State, row.state),
        "carrier": row.carrier,
        "peer_address": row.peer_address,
        "agent_version": row.agent_version,
        "labels": dict(sorted(row.labels.items())),
        "instance": row.instance,
        "connect_time": time(row, "connect_time"),
        "last_seen_time": time(row, "last_seen_time"),
        "drain_deadline": time(row, "drain_deadline"),
        "close_time": time(row, "close_time"),
        "close_reason": row.close_reason,
        "epoch": row.epoch,
        "applied_config_version": row.applied_config_version,
        "open_streams": row.open_streams,
        "rtt_seconds": seconds(row, "rtt"),
        "controlled": row.controlled,
        "replaced_by": row.replaced_by,
        "bytes_in": stats.bytes_in if stats is not None else None,
        "bytes_out": stats.bytes_out if stats is not None else None,
        "requests": stats.requests if stats is not None else None,
        "errors": stats.errors if stats is not None else None,
    }


def agent(row: agent_pb2.Agent) -> Row:
    """An agent."""
    limits, visitors = row.limits, row.visitors
    return {
        "name": row.name,
        "state": enum(type(row).State, row.state),
        "display_name": row.display_name,
        "annotations": dict(sorted(row.annotations.items())),
        "labels": dict(sorted(row.labels.items())),
        "version": row.version,
        "sessions": row.sessions,
        "create_time": time(row, "create_time"),
        "last_seen_time": time(row, "last_seen_time"),
        "deny_reason": row.deny_reason,
        "deny_until": time(row, "deny_until"),
        "limits": {
            "request_rate": limits.request_rate,
            "bandwidth": limits.bandwidth,
            "streams": limits.streams,
            "sessions": limits.sessions,
            "visitor_request_rate": limits.visitor_request_rate,
            "visitor_bandwidth": limits.visitor_bandwidth,
        },
        "visitors": {
            "mode": enum(type(visitors).Mode, visitors.mode) if visitors.mode else None,
            "allow_networks": list(visitors.allow_networks),
            "users": sorted(visitors.users),
        },
        "desired_config_version": row.desired_config_version,
    }


def agent_config(row: config_pb2.AgentConfig) -> Row:
    """What an agent runs."""
    services = []
    for service in row.services:
        one: Row = {"name": service.name, "target": service.target}
        if service.HasField("health"):
            one["health"] = {
                "path": service.health.path,
                "interval_seconds": seconds(service.health, "interval"),
                "timeout_seconds": seconds(service.health, "timeout"),
            }
        services.append(one)
    return {
        "services": services,
        "labels": dict(sorted(row.labels.items())),
        "limits": {"streams": row.limits.streams, "idle_connections": row.limits.idle_connections},
        "log_level": row.log_level,
        "pool_size": row.pool_size,
        "carrier_preference": list(row.carrier_preference),
    }


def config_version(row: agent_config_pb2.AgentConfigVersion) -> Row:
    """A configuration with its place in history."""
    return {
        "name": row.name,
        "version": row.version,
        "create_time": time(row, "create_time"),
        "author": row.author,
        "comment": row.comment,
        "rollback_of": row.rollback_of or None,
        "last_error": row.last_error,
        "etag": row.etag,
        "config": agent_config(row.config),
    }


def config_status(row: agent_config_pb2.AgentConfigStatus) -> Row:
    """How far a session is with its configuration."""
    return {
        "session": row.session,
        "desired_version": row.desired_version,
        "applied_version": row.applied_version,
        "last_error": row.last_error,
        "answer_time": time(row, "answer_time"),
    }


def route(row: route_pb2.Route) -> Row:
    """A route."""
    return {
        "name": row.name,
        "host": row.host,
        "path": row.path,
        "tcp_port": row.tcp_port or None,
        "agent": row.agent,
        "service": row.service,
        "strip_path": row.strip_path,
        "create_time": time(row, "create_time"),
        "origin": row.origin,
        "error": row.error,
        "etag": row.etag,
    }


def resolution(row: route_pb2.ResolveRouteResponse) -> Row:
    """Who would get a request."""
    return {
        "agent": row.agent or None,
        "service": row.service,
        "route": row.route.name if row.HasField("route") else None,
        "reason": row.reason,
        "sessions": row.sessions,
        "path": row.path,
    }


def token(row: token_pb2.Token) -> Row:
    """A token, without its secret."""
    return {
        "name": row.name,
        "kind": enum(type(row).Kind, row.kind),
        "role": enum(type(row).Role, row.role) if row.role else None,
        "agent": row.agent or None,
        "create_time": time(row, "create_time"),
        "expire_time": time(row, "expire_time"),
        "last_use_time": time(row, "last_use_time"),
        "revoke_time": time(row, "revoke_time"),
        "uses_left": row.uses_left,
        "comment": row.comment,
    }


def hub(row: hub_pb2.Hub) -> Row:
    """A hub."""
    return {
        "name": row.name,
        "state": enum(type(row).State, row.state),
        "version": row.version,
        "start_time": time(row, "start_time"),
        "addresses": list(row.addresses),
        "admin_addresses": list(row.admin_addresses),
        "sessions": row.sessions,
        "agents_online": row.agents_online,
        "visitors": row.visitors,
        "exchanges": row.exchanges,
        "domain": row.domain,
        "boot_id": row.boot_id,
        "dev": row.dev,
        "warnings": list(row.warnings),
    }


def setting(row: hub_pb2.Setting) -> Row:
    """A setting in force."""
    try:
        value = json.loads(row.value)
    except ValueError:
        value = row.value
    return {"key": row.key, "value": value, "origin": row.origin}


def plugin(row: hub_pb2.Plugin) -> Row:
    """A plugin."""
    return {
        "name": row.name,
        "distribution": row.distribution,
        "version": row.version,
        "state": enum(type(row).State, row.state),
        "detail": row.detail,
        "hooks": list(row.hooks),
    }


def stats(row: stats_pb2.Stats) -> Row:
    """Counters."""
    return {
        "name": row.name,
        "agent": row.agent or None,
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
        "streams_opened": row.streams_opened,
        "streams_open": row.streams_open,
        "requests": row.requests,
        "errors": row.errors,
        "rtt_seconds": seconds(row, "rtt"),
        "sessions": row.sessions,
        "sessions_draining": row.sessions_draining,
        "visitors": row.visitors,
        "loop_lag_seconds": seconds(row, "loop_lag"),
        "memory_bytes": row.memory_bytes,
    }


def event(row: event_pb2.Event) -> Row:
    """Something that happened."""
    return {
        "index": row.index,
        "time": time(row, "time"),
        "topic": row.topic,
        "type": row.type,
        "subject": row.subject,
        "actor": row.actor,
        "message": row.message,
        "attributes": dict(sorted(row.attributes.items())),
    }
