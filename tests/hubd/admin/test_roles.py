"""The table of roles."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from google.protobuf.descriptor import FileDescriptor

import tunnelpb.hub.v1
from hubd.admin.roles import MUTATING, ROLES, Role


def _methods() -> set[str]:
    found = set()
    for module in pkgutil.iter_modules(tunnelpb.hub.v1.__path__):
        if module.name.endswith("_pb2"):
            descriptor: FileDescriptor = import_module(f"tunnelpb.hub.v1.{module.name}").DESCRIPTOR
            for service in descriptor.services_by_name.values():
                found |= {f"/{service.full_name}/{method.name}" for method in service.methods}
    return found


def test_f9_every_method_has_a_role():
    methods = _methods()
    assert len(methods) > 30
    assert methods == {name for name in ROLES if name.startswith("/tunnelpb.")}


def test_strangers_learn_only_whether_the_hub_serves():
    assert all(name.startswith("/grpc.health.") for name, role in ROLES.items() if role is Role.NONE)


def test_what_changes_something_needs_more_than_a_viewer():
    assert all(ROLES[name] >= Role.OPERATOR for name in MUTATING)
    assert "/tunnelpb.hub.v1.SessionService/EvictSession" in MUTATING
    assert "/tunnelpb.hub.v1.SessionService/WatchSessions" not in MUTATING
    assert Role.VIEWER < Role.OPERATOR < Role.ADMIN
