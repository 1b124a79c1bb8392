from __future__ import annotations

from hubd.control.server import ROLES, SERVICE
from tunnelpb.agent.v1 import control_pb2


def test_every_call_of_the_service_has_a_role():
    service = control_pb2.DESCRIPTOR.services_by_name["AgentControlService"]
    assert service.full_name == SERVICE
    assert set(ROLES) == {f"/{SERVICE}/{method.name}" for method in service.methods}
