from __future__ import annotations

import pytest
from google.protobuf import text_format

from tunnel.agentconfig import MAX_SERVICES, digest, faults, service_target
from tunnelpb.agent.v1.config_pb2 import AgentConfig


def config(text: str) -> AgentConfig:
    return text_format.Parse(text, AgentConfig())


def test_what_is_good():
    good = config(
        """
        services { name: 'web' target: 'http://127.0.0.1:80' health { path: '/healthz?x=1' interval { seconds: 1 } } }
        services { name: 'ssh' target: 'tcp://127.0.0.1:80' health { timeout { nanos: 500000000 } } }
        services { name: 'app' target: 'unix:///run/app.sock' }
        labels { key: 'region' value: 'eu-1' }
        limits { streams: 100 } log_level: 'debug' pool_size: 8
        carrier_preference: 'wss' carrier_preference: 'tls'
        """
    )
    assert faults(good) == []
    assert faults(AgentConfig()) == []


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("services { name: 'a b' target: 'http://h:1' }", ["services[0].name"]),
        ("services { name: 'a' target: 'h:1' }", ["services[0].target"]),
        ("services { name: 'a' target: 'x=http://h:1' }", ["services[0].target"]),
        ("services { name: 'a' target: 'tcp://h' }", ["services[0].target"]),
        ("services { target: '' }", ["services[0].name", "services[0].target"]),
        (
            "services { name: 'a' target: 'http://h:1' } services { name: 'A' target: 'http://h:2' }",
            ["services[1]"],
        ),
        (
            "services { name: 'a' target: 'http://h:1' } services { name: 'b' target: 'http://h:1' }",
            ["services[1]"],
        ),
        (
            "services { name: 'a' target: 'tcp://h:1' health { path: '/x' } }",
            ["services[0].health.path"],
        ),
        (
            "services { name: 'a' target: 'http://h:1' health { path: 'x' interval { nanos: 5 } timeout { } } }",
            ["services[0].health.path", "services[0].health.interval", "services[0].health.timeout"],
        ),
        ("labels { key: 'a b' value: 'x' } labels { key: 'ok' value: 'ö' }", ["labels['a b']", "labels['ok']"]),
        ("limits { streams: 999999 idle_connections: 70000 }", ["limits.streams", "limits.idle_connections"]),
        ("log_level: 'loud' pool_size: 9", ["pool_size", "log_level"]),
        (
            "carrier_preference: 'WSS' carrier_preference: 'a' carrier_preference: 'a'",
            ["carrier_preference[0]", "carrier_preference[2]"],
        ),
    ],
)
def test_all_faults(text, fields):
    found = faults(config(text))
    assert [field for field, _ in found] == fields
    assert all(text and "\n" not in text for _, text in found)


def test_too_many():
    many = AgentConfig(carrier_preference=[f"c{number}" for number in range(17)])
    for number in range(MAX_SERVICES + 1):
        many.services.add(name=f"s{number}", target=f"http://h:{number + 1}")
    for number in range(33):
        many.labels[f"k{number}"] = "v"
    assert [field for field, _ in faults(many)] == ["services", "labels", "carrier_preference"]
    large = AgentConfig(log_level="info")
    for number in range(MAX_SERVICES):
        large.services.add(name=f"s{number}", target=f"http://h:{number + 1}/" + "x" * 1500)
    assert [field for field, _ in faults(large)] == [""]
    with pytest.raises(ValueError, match="at most"):
        service_target("a", "http://h/" + "x" * 3000)


def test_digest():
    one, two = AgentConfig(), AgentConfig()
    for key in "abcdef":
        one.labels[key] = key
    for key in "fedcba":
        two.labels[key] = key
    assert digest(one) == digest(two) != digest(AgentConfig())
    assert len(digest(one)) == 32
