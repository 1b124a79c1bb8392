"""Agents as messages, and what people may set of one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from google.protobuf import field_mask_pb2

from hubd.admin.errors import Faults
from hubd.admin.names import stamp
from hubd.store.agents import AgentRecord
from tunnelpb.hub.v1 import agent_pb2 as pb

if TYPE_CHECKING:
    from hubd.sessions import AgentSession
    from hubd.state import Hub

ONLINE, OFFLINE, DENIED = pb.Agent.STATE_ONLINE, pb.Agent.STATE_OFFLINE, pb.Agent.STATE_DENIED
LIMITS = tuple(field.name for field in pb.AgentLimits.DESCRIPTOR.fields)
SETTABLE = ("display_name", "annotations", "limits", "visitors")
MODES = {
    "open": pb.VisitorAccess.MODE_OPEN,
    "bearer": pb.VisitorAccess.MODE_BEARER,
    "basic": pb.VisitorAccess.MODE_BASIC,
    "certificate": pb.VisitorAccess.MODE_CERTIFICATE,
}
MODE_NAMES = {number: name for name, number in MODES.items()}
MAX_ANNOTATIONS = 64
MAX_KEY = 63
MAX_VALUE = 1024
MAX_DISPLAY_NAME = 200


def state_of(hub: Hub, agent_id: str, denied: bool) -> int:
    """Whether an agent can be reached."""
    if denied:
        return DENIED
    pool = hub.pools.get(agent_id)
    return ONLINE if pool is not None and pool.entries else OFFLINE


def newest(hub: Hub, agent_id: str) -> AgentSession | None:
    """The live session of an agent that attached last."""
    return next((entry for entry in reversed(hub.roster.live.values()) if entry.agent_id == agent_id), None)


def message(hub: Hub, record: AgentRecord) -> pb.Agent:
    """An agent's message; passwords stay here."""
    denied = record.is_denied(time.time())
    entry = newest(hub, record.id)
    pool = hub.pools.get(record.id)
    seen = record.last_seen if entry is None else entry.last_seen()
    agent = settable(record)
    agent.name = f"agents/{record.id}"
    agent.state = state_of(hub, record.id, denied)  # type: ignore[assignment]
    agent.sessions = len(pool.entries) if pool is not None else 0
    agent.create_time.MergeFrom(stamp(record.created))
    if seen is not None:
        agent.last_seen_time.CopyFrom(stamp(seen))
    if entry is not None:
        agent.version = entry.version
        agent.labels.update(dict(label.split("=", 1) for label in entry.labels))
    if denied:
        agent.deny_reason = record.deny_reason
        if record.deny_until is not None:
            agent.deny_until.CopyFrom(stamp(record.deny_until))
    agent.desired_config_version = hub.agents.desired_config(record.id)
    agent.etag = str(record.revision)
    return agent


def settable(record: AgentRecord) -> pb.Agent:
    """What people may set of an agent, as it is."""
    visitors = record.visitors
    return pb.Agent(
        display_name=record.display_name,
        annotations=record.annotations,
        limits=pb.AgentLimits(**record.limits) if record.limits else None,
        visitors=pb.VisitorAccess(
            mode=MODES.get(visitors.get("mode", ""), pb.VisitorAccess.MODE_UNSPECIFIED),
            allow_networks=visitors.get("allow_networks", []),
            users=dict.fromkeys(visitors.get("users", {}), ""),
        )
        if visitors
        else None,
    )


def merge(record: AgentRecord, given: pb.Agent, mask: field_mask_pb2.FieldMask, faults: Faults) -> pb.Agent:
    """What people may set of an agent, as they want it.

    Args:
        record: as it is.
        given: the wish.
        mask: which fields of it; empty means those that are set.
        faults: gets what is wrong.
    """
    paths = list(mask.paths) or [field.name for field, _ in given.ListFields() if field.name in SETTABLE]
    merged = settable(record)
    for index, path in enumerate(paths):
        one = field_mask_pb2.FieldMask(paths=[path])
        if path.split(".")[0] not in SETTABLE or not one.IsValidForDescriptor(pb.Agent.DESCRIPTOR):
            faults.add(f"update_mask.paths[{index}]", f"no field to set; they are {', '.join(SETTABLE)}")
            continue
        one.MergeMessage(given, merged, replace_message_field=True, replace_repeated_field=True)
    _check(merged, faults)
    return merged


def _check(agent: pb.Agent, faults: Faults) -> None:
    if len(agent.display_name) > MAX_DISPLAY_NAME or not agent.display_name.isprintable():
        faults.add("agent.display_name", f"must be printable text of at most {MAX_DISPLAY_NAME} characters")
    if len(agent.annotations) > MAX_ANNOTATIONS:
        faults.add("agent.annotations", f"at most {MAX_ANNOTATIONS} keys")
    for key, value in agent.annotations.items():
        if not 0 < len(key) <= MAX_KEY or not key.isprintable() or len(value) > MAX_VALUE:
            where = key[:MAX_KEY]
            faults.add(f"agent.annotations[{where!r}]", f"a key has 1 to {MAX_KEY} characters, a value {MAX_VALUE}")
    for name in LIMITS:
        if getattr(agent.limits, name) < 0:
            faults.add(f"agent.limits.{name}", "must not be negative")
    if agent.visitors.mode and agent.visitors.mode not in MODE_NAMES:
        faults.add("agent.visitors.mode", "must be OPEN, BEARER, BASIC or CERTIFICATE")


def limits_to_store(limits: pb.AgentLimits) -> dict[str, Any]:
    """Limits as they are stored: those that are set."""
    return {name: getattr(limits, name) for name in LIMITS if getattr(limits, name)}
