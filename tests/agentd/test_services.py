from __future__ import annotations

import dataclasses

import pytest
from google.protobuf import text_format

from agentd.config import AgentConfig
from agentd.services import Refused, own_plan, own_services, plan
from tunnelpb.agent.v1 import config_pb2 as pb


def own(**settings) -> AgentConfig:
    return AgentConfig(hub=("ws://h:1",), **settings)


def pushed(text: str) -> pb.AgentConfig:
    return text_format.Parse(text, pb.AgentConfig())


def test_services_of_the_file():
    config = own(
        target=("http://a:1", "Web=http://b:2"),
        service={"DB": {"target": "tcp://c:3", "health": {"interval": "30s"}}},
    )
    found = own_services(config)
    assert [(service.name, service.target.place, service.origin) for service in found] == [
        ("a:1", "a:1", "file"), ("web", "b:2", "file"), ("db", "c:3", "file"),
    ]  # fmt: skip
    assert (found[0].health, found[2].health.interval) == (None, 30.0)


def test_silence_leaves_the_agents_own():
    config = own(target=("web=http://a:1",), label=("k=v",), log_level="error", pool_size=2, remote={"allow": "*"})
    made, own_made = plan(config, pushed("")), own_plan(config)
    assert [service.name for service in made.services] == ["web"]
    assert dataclasses.replace(made, services=()) == dataclasses.replace(own_made, services=())


@pytest.mark.parametrize(
    ("allow", "order"),
    [
        # The hub's first is the default only where the default is the hub's to set.
        (("web", "new"), ["web/hub", "new/hub", "db/file"]),
        (("new", "other"), ["web/file", "new/hub", "db/file"]),
        (("*",), ["web/hub", "new/hub", "db/file"]),
    ],
)
def test_order_of_services(allow, order):
    config = own(target=("web=http://a:1", "db=http://b:1"), remote={"allow": allow})
    text = "services { name: 'new' target: 'http://n:1' }"
    if "web" in allow or "*" in allow:
        text = "services { name: 'Web' target: 'http://w:1' }" + text
    made = plan(config, pushed(text))
    assert [f"{service.name}/{service.origin}" for service in made.services] == order


def test_a_service_the_hub_drops_is_as_the_file_says():
    config = own(target=("web=http://a:1",), remote={"allow": "web"})
    assert plan(config, pushed("labels { key: 'a' value: 'b' }")).targets[0].place == "a:1"


def test_one_address_under_two_names():
    config = own(target=("http://a:1",), remote={"allow": "*"})
    made = plan(config, pushed("services { name: 'web' target: 'http://a:1' }"))
    assert [service.name for service in made.services] == ["web", "a:1"]


def test_everything_that_is_wrong_at_once():
    config = own(remote={"allow": ("web",)})
    text = "services { name: 'db' target: 'http://a:1' } services { name: 'web' target: 'ftp://a' } pool_size: 100"
    with pytest.raises(Refused) as caught:
        plan(config, pushed(text))
    assert len(caught.value.faults) == 3
    with pytest.raises(Refused, match="hub itself"):
        plan(config, pushed("services { name: 'web' target: 'http://h:1' }"), {("h", 1)})
    with pytest.raises(Refused, match=r"remote\.allow is empty"):
        plan(own(), pushed(""))


def test_health_of_a_pushed_service():
    config = own(remote={"allow": "*"})
    text = "services { name: 'w' target: 'http://a:1' health { path: '/h' interval { seconds: 2 } timeout { nanos: 500000000 } } }"
    (service,) = plan(config, pushed(text)).services
    assert (service.health.path, service.health.interval, service.health.timeout) == ("/h", 2.0, 0.5)
