"""What the agent serves: the services of its own file, with those a hub has set put over them where the file allows it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentd.config import AgentConfig, Health
from tunnel.agentconfig import faults, service_target
from tunnel.targets import Target, allow_list, parse_target

if TYPE_CHECKING:
    from tunnelpb.agent.v1 import config_pb2 as pb

ANY = "*"


class Refused(Exception):
    """A configuration is not run.

    Args:
        faults: one line for each thing that is wrong.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = list(faults)


@dataclass(frozen=True, slots=True)
class Service:
    """One service.

    Args:
        name: what it is called; the target's place if it has no name.
        target: where it is.
        origin: "file" or "hub".
        health: how it is looked after; None leaves it alone.
    """

    name: str
    target: Target
    origin: str = "file"
    health: Health | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a configuration sets, with the agent's own where it is silent.

    Args:
        services: the first one is the default.
        labels: told to the hub by itself; shown by ``agentd status``.
        streams: that a hub may hold open on a session.
        idle_connections: kept to each target.
        log_level: "debug", "info", "warning" or "error".
        pool_size: sessions to each hub.
        carriers: URL schemes in order of preference.
    """

    services: tuple[Service, ...]
    labels: dict[str, str]
    streams: int
    idle_connections: int
    log_level: str
    pool_size: int
    carriers: tuple[str, ...] = ()

    @property
    def targets(self) -> list[Target]:
        """Of the services, in order."""
        return [service.target for service in self.services]


def own_services(config: AgentConfig) -> list[Service]:
    """The services of the agent's own settings."""
    found = []
    for text in config.target:
        target = parse_target(text)
        found.append(Service(target.name or target.place, target))
    for name, service in config.service.items():
        found.append(Service(name.lower(), service_target(name, service.target), health=service.health))
    return found


def own_plan(config: AgentConfig) -> Plan:
    """The agent's own settings and nothing else."""
    return Plan(
        services=tuple(own_services(config)),
        labels=dict(label.split("=", 1) for label in config.label),
        streams=config.limits.streams,
        idle_connections=config.limits.idle_connections,
        log_level=config.log_level,
        pool_size=config.pool_size,
    )


def plan(config: AgentConfig, pushed: pb.AgentConfig, hubs: Collection[tuple[str, int | None]] = ()) -> Plan:
    """A hub's configuration over the agent's own settings.

    Args:
        config: the agent's own; it has the last word.
        pushed: the hub's, whole.
        hubs: hosts and ports of hubs, which are no targets.

    Raises:
        Refused: it is wrong, or not allowed; then nothing of it counts.
    """
    allow = config.remote.allow
    if not allow:
        raise Refused(["this agent lets no hub change anything: its setting remote.allow is empty"])
    found = [f"{field}: {text}" if field else text for field, text in faults(pushed)]
    allowed = {name.lower() for name in allow}
    for index, service in enumerate(pushed.services):
        if ANY not in allowed and service.name.lower() not in allowed:
            found.append(
                f"services[{index}]: this agent does not let a hub set {service.name!r}; "
                f"its setting remote.allow has {', '.join(allow)}"
            )
    if found:
        raise Refused(found)
    theirs = [_service(service) for service in pushed.services]
    for index, made in enumerate(theirs):
        if not made.target.socket and (made.target.host, made.target.port) in hubs:
            found.append(f"services[{index}].target: that is the hub itself: requests would go round in circles")
    own = own_plan(config)
    services = _merge(own.services, theirs, allowed)
    try:
        for tcp in (False, True):
            allow_list([service.target for service in services], tcp=tcp, first=True)
    except ValueError as exc:
        found.append(str(exc))
    if found:
        raise Refused(found)
    return Plan(
        services=tuple(services),
        labels=own.labels | dict(pushed.labels),
        streams=pushed.limits.streams or own.streams,
        idle_connections=pushed.limits.idle_connections or own.idle_connections,
        log_level=pushed.log_level or own.log_level,
        pool_size=pushed.pool_size or own.pool_size,
        carriers=tuple(pushed.carrier_preference),
    )


def _service(service: pb.Service) -> Service:
    health = None
    if service.HasField("health"):
        check = service.health
        given: dict[str, object] = {"path": check.path}
        if check.HasField("interval"):
            given["interval"] = check.interval.seconds + check.interval.nanos / 1e9
        if check.HasField("timeout"):
            given["timeout"] = check.timeout.seconds + check.timeout.nanos / 1e9
        health = Health.model_validate(given)
    return Service(service.name.lower(), service_target(service.name, service.target), "hub", health)


def _merge(own: Iterable[Service], theirs: list[Service], allowed: set[str]) -> list[Service]:
    """Theirs in the place of ours of the same name, and the first of theirs first if our default is theirs to set."""
    own = list(own)
    set_by_hub = {service.name for service in theirs}
    kept = [service for service in own if service.name not in set_by_hub]
    default_is_theirs = not own or ANY in allowed or own[0].name in allowed
    if default_is_theirs:
        return [*theirs, *kept]
    return [kept[0], *theirs, *kept[1:]]
