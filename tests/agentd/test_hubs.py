from __future__ import annotations

import pytest

from agentd.hubs import read_hubs, unprotected
from carrier_api import Registry
from tunnel.targets import parse_target


@pytest.fixture(scope="module")
def registry():
    return Registry.load()


def test_ids_from_settings_and_urls(registry):
    hubs, faults = read_hubs(["ws://h:1", "tcp://h:2/api/v1/hubs/a", "wss://h/base"], "a", [], registry)
    assert faults == []
    assert [(hub.carrier.name, hub.agent_id, hub.place) for hub in hubs] == [
        ("websocket", "a", "ws://h:1"), ("tcp", "a", "tcp://h:2"), ("websocket", "a", "wss://h"),
    ]  # fmt: skip


def test_id_from_the_url_alone(registry):
    (hub,), faults = read_hubs(["ws://127.0.0.1:8882/api/v1/hubs/a"], None, [], registry)
    assert (hub.agent_id, faults) == ("a", [])


@pytest.mark.parametrize(
    ("urls", "agent_id", "words"),
    [
        (["http://h:1"], "a", "did you mean ws://"),
        (["h:1"], "a", "starts with a scheme"),
        (["tcp://h"], "a", "needs a port"),
        (["ws://h:1"], None, "names no agent: give --id"),
        (["ws://h:1/api/v1/hubs/a"], "b", "attaches as a, --id says b"),
        (["ws://h:1/api/v1/hubs/a!"], None, "is no agent id"),
        (["ws://h:1?token=secret"], "a", "takes no query"),
        (["ws://h:1", "ws://h:1"], "a", "given twice"),
    ],
)
def test_faults(registry, urls, agent_id, words):
    _, faults = read_hubs(urls, agent_id, [], registry)
    assert len(faults) == 1
    assert words in str(faults[0])
    assert "secret" not in str(faults[0])


def test_all_faults_at_once(registry):
    _, faults = read_hubs(["nope://x", "tcp://h"], "a", [], registry)
    assert len(faults) == 2


def test_f17_the_hub_is_no_target(registry):
    targets = [parse_target("http://h:1"), parse_target("http://h:2"), parse_target("unix:///s")]
    _, faults = read_hubs(["ws://h:1"], "a", targets, registry)
    assert [str(fault) for fault in faults] == [
        "--target: http://h:1 is the hub itself: requests would go round in circles"
    ]


def test_f2_tokens_take_an_encrypted_or_local_carrier(registry):
    urls = ["ws://h:1", "wss://h:2", "tcp://127.0.0.1:3", "tls://h:4"]
    assert read_hubs(urls, "a", [], registry)[1] == []
    _, faults = read_hubs(urls, "a", [], registry, token=True)
    assert [str(fault) for fault in faults] == [
        "--token-file: no token is sent to ws://h:1, which is not encrypted: use wss:// or tls://"
    ]


@pytest.mark.parametrize(
    ("url", "given", "missing"),
    [
        ("ws://127.0.0.1:1", {}, []),
        ("wss://hub.example", {}, ["--insecure-no-credentials"]),
        ("wss://hub.example", {"token": True}, []),
        ("wss://hub.example", {"certificate": True}, []),
        ("wss://hub.example", {"anonymous": True}, []),
        ("ws://hub.example", {}, ["--insecure-plain-hub", "--insecure-no-credentials"]),
        ("ws://hub.example", {"certificate": True}, ["--insecure-plain-hub"]),
        ("ws://hub.example", {"plain": True, "anonymous": True}, []),
    ],
)
def test_f6_other_machines_are_reached_with_protection_or_a_flag_that_says_not(registry, url, given, missing):
    hubs, faults = read_hubs([url], "demo", (), registry)
    assert not faults
    settings = {"token": False, "certificate": False, "plain": False, "anonymous": False} | given
    found = unprotected(hubs, **settings)
    assert [
        flag for flag in ("--insecure-plain-hub", "--insecure-no-credentials") if any(flag in str(f) for f in found)
    ] == missing
