"""What a pushed agent configuration must be like: one set of rules for the hub that stores it and the agent that runs it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tunnel.targets import SERVICE_NAME, Target, allow_list, parse_target

if TYPE_CHECKING:
    from tunnelpb.agent.v1 import config_pb2 as pb

MAX_BYTES = 256 * 1024
"""Of a whole configuration: 256 services at 1 KiB each."""
MAX_SERVICES = 256
MAX_LABELS = 32
"""What a hub takes when an agent attaches."""
MAX_POOL = 8
"""Sessions to one hub. More than one core can feed gains nothing."""
MAX_STREAMS = 100_000
MAX_IDLE = 65_535
MAX_CARRIERS = 16
LOG_LEVELS = ("debug", "info", "warning", "error")

LEAST_INTERVAL = 1.0
MAX_INTERVAL = 86_400.0
MAX_TIMEOUT = 300.0

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}=[A-Za-z0-9._:/@-]{0,128}")
HEALTH_PATH = re.compile(r"/[\x21-\x22\x24-\x5b\x5d-\x7e]{0,1023}")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,31}")
_LONGEST_TARGET = 2048

Fault = tuple[str, str]
"""The field, such as ``services[1].target``, and what is wrong with it."""


def digest(config: pb.AgentConfig) -> bytes:
    """SHA-256 of the deterministic serialization."""
    return hashlib.sha256(config.SerializeToString(deterministic=True)).digest()


def service_target(name: str, url: str) -> Target:
    """The target of a service.

    Raises:
        ValueError: one line that says how to write it.
    """
    if len(url) > _LONGEST_TARGET:
        raise ValueError(f"a target has at most {_LONGEST_TARGET} characters")
    if "://" not in url.partition("=")[0]:
        raise ValueError(f"{url!r}: a target starts with http://, https://, unix:// or tcp://")
    return parse_target(f"{name}={url}")


def faults(config: pb.AgentConfig) -> list[Fault]:
    """Everything wrong with a configuration, whoever is to run it."""
    found = [*_services(config), *_labels(config)]
    limits = config.limits
    for field, value, most in (
        ("limits.streams", limits.streams, MAX_STREAMS),
        ("limits.idle_connections", limits.idle_connections, MAX_IDLE),
        ("pool_size", config.pool_size, MAX_POOL),
    ):
        if value > most:
            found.append((field, f"at most {most}, or 0 for the agent's own"))
    if config.log_level and config.log_level not in LOG_LEVELS:
        found.append(("log_level", f"one of {', '.join(LOG_LEVELS)}, or empty for the agent's own"))
    found += _carriers(list(config.carrier_preference))
    if config.ByteSize() > MAX_BYTES:
        found.append(("", f"the whole has {config.ByteSize()} bytes, more than {MAX_BYTES}"))
    return found


def _services(config: pb.AgentConfig) -> Iterator[Fault]:
    if len(config.services) > MAX_SERVICES:
        yield "services", f"at most {MAX_SERVICES}"
        return
    targets: list[Target] = []
    for index, service in enumerate(config.services):
        where = f"services[{index}]"
        name = service.name
        if not SERVICE_NAME.fullmatch(name):
            yield f"{where}.name", 'letters, digits, ".", "_" and "-", at most 63, beginning with a letter or digit'
            name = f"service-{index}"
        try:
            target = service_target(name, service.target)
        except ValueError as exc:
            yield f"{where}.target", str(exc).replace(f"{name}=", "", 1)
            continue
        if service.HasField("health"):
            yield from _health(service.health, target, f"{where}.health")
        try:
            for tcp in (False, True):
                allow_list([*targets, target], tcp=tcp)
        except ValueError as exc:
            yield where, str(exc)
        else:
            targets.append(target)


def _health(check: pb.HealthCheck, target: Target, where: str) -> Iterator[Fault]:
    if check.path and target.tcp:
        yield f"{where}.path", "a tcp:// target has no paths: leave it empty to only connect"
    elif check.path and not HEALTH_PATH.fullmatch(check.path):
        yield f"{where}.path", 'begins with "/", and what is no plain character is percent-encoded'
    for field, least, most in (("interval", LEAST_INTERVAL, MAX_INTERVAL), ("timeout", 0.01, MAX_TIMEOUT)):
        if check.HasField(field):  # type: ignore[arg-type]
            given = getattr(check, field)
            seconds = given.seconds + given.nanos / 1e9
            if not least <= seconds <= most:
                yield f"{where}.{field}", f"between {least:g} and {most:g} seconds"


def _labels(config: pb.AgentConfig) -> Iterator[Fault]:
    if len(config.labels) > MAX_LABELS:
        yield "labels", f"at most {MAX_LABELS}"
        return
    for key in sorted(config.labels):
        if not LABEL.fullmatch(f"{key}={config.labels[key]}"):
            yield f"labels[{key!r}]", "letters, digits and . _ / - (: @ in the value), 63 in the key, 128 in the value"


def _carriers(schemes: list[str]) -> Iterator[Fault]:
    if len(schemes) > MAX_CARRIERS:
        yield "carrier_preference", f"at most {MAX_CARRIERS}"
        return
    for index, scheme in enumerate(schemes):
        if not _SCHEME.fullmatch(scheme):
            yield f"carrier_preference[{index}]", 'the scheme of a carrier URL, such as "wss"'
        elif scheme in schemes[:index]:
            yield f"carrier_preference[{index}]", f"{scheme} is there twice"
