"""Routes as messages, and what is wrong with one."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from google.protobuf import field_mask_pb2

from hubd.admin.errors import Faults
from hubd.admin.names import stamp, take
from hubd.store.routes import RouteRecord
from tunnelpb.hub.v1 import route_pb2 as pb

if TYPE_CHECKING:
    from hubd.ports import Ports

SETTABLE = ("host", "path", "tcp_port", "agent", "service", "strip_path")
ROUTE_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_HOST = re.compile(
    r"(?=.{1,253}\Z)(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
)
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")
_SERVICE = re.compile(r"[\x21-\x7e]{0,255}")


def message(record: RouteRecord, ports: Ports | None = None) -> pb.Route:
    """A route's message."""
    return pb.Route(
        name=f"routes/{record.id}",
        host=record.host,
        path=record.path,
        tcp_port=record.tcp_port,
        agent=f"agents/{record.agent}",
        service=record.service,
        strip_path=record.strip_path,
        create_time=stamp(record.created),
        etag=str(record.revision),
        origin="api",
        error=ports.errors.get(record.id, "") if ports is not None else "",
    )


def made(route_id: str, given: pb.Route, faults: Faults) -> RouteRecord:
    """A new route as people want it; ``faults`` gets what is wrong."""
    return _checked(RouteRecord(route_id, created=time.time()), given, SETTABLE, faults)


def changed(record: RouteRecord, given: pb.Route, mask: field_mask_pb2.FieldMask, faults: Faults) -> RouteRecord:
    """A route with the masked fields of a wish; an empty mask means those that are set."""
    paths = list(mask.paths) or [field.name for field, _ in given.ListFields() if field.name in SETTABLE]
    for index, path in enumerate(paths):
        if path not in SETTABLE:
            faults.add(f"update_mask.paths[{index}]", f"no field to set; they are {', '.join(SETTABLE)}")
    return replace(_checked(record, given, paths, faults), revision=record.revision + 1)


def _checked(record: RouteRecord, given: pb.Route, fields: tuple[str, ...] | list[str], faults: Faults) -> RouteRecord:
    values = {name: getattr(record, name) for name in SETTABLE}
    values["agent"] = f"agents/{record.agent}" if record.agent else ""
    values |= {name: getattr(given, name) for name in fields if name in SETTABLE}
    host = values["host"].lower().removesuffix(".")
    path = values["path"].rstrip("/")
    port = values["tcp_port"]
    if bool(host) == bool(port):
        faults.add("route.host", "give either a host or a tcp_port")
    if host and not _HOST.fullmatch(host):
        faults.add("route.host", 'must be a host name without a port, or "*.example.com" for the names below it')
    if port > 65535:
        faults.add("route.tcp_port", "must be at most 65535")
    if not _PATH.fullmatch(path):
        faults.add("route.path", 'must be whole segments such as "/api/v1"')
    if port and (path or values["strip_path"]):
        faults.add("route.path", "a port has no paths")
    if values["strip_path"] and not path and not port:
        faults.add("route.strip_path", "there is no path to take off")
    if not _SERVICE.fullmatch(values["service"]):
        faults.add("route.service", "must be at most 255 printable ASCII characters without spaces")
    agent = take("agents", values["agent"], "route.agent", faults)
    return replace(
        record, host=host, path=path, tcp_port=port, agent=agent, service=values["service"],
        strip_path=values["strip_path"],
    )  # fmt: skip
