"""Rows hold all that the API's messages do."""

from __future__ import annotations

import json

import pytest

from tunnelctl import rows
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

# What rows leave out on purpose: an etag is for changing what was read.
LEFT_OUT = {"etag"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (rows.session, session_pb2.Session),
        (rows.agent, agent_pb2.Agent),
        (rows.agent_config, config_pb2.AgentConfig),
        (rows.config_version, agent_config_pb2.AgentConfigVersion),
        (rows.config_status, agent_config_pb2.AgentConfigStatus),
        (rows.route, route_pb2.Route),
        (rows.resolution, route_pb2.ResolveRouteResponse),
        (rows.token, token_pb2.Token),
        (rows.hub, hub_pb2.Hub),
        (rows.plugin, hub_pb2.Plugin),
        (rows.setting, hub_pb2.Setting),
        (rows.stats, stats_pb2.Stats),
        (rows.event, event_pb2.Event),
    ],
)
def test_every_field_is_there_and_an_empty_message_is_a_row(make, message):
    row = make(message())
    json.dumps(row)
    for field in message.DESCRIPTOR.fields:
        duration = field.message_type is not None and field.message_type.name == "Duration"
        name = f"{field.name}_seconds" if duration else field.name
        assert name in row or field.name in LEFT_OUT, field.name


def test_times_and_durations():
    row = session_pb2.Session()
    row.connect_time.FromJsonString("2026-11-25T12:00:00.123456Z")
    row.rtt.FromMicroseconds(1500)
    found = rows.session(row)
    assert (found["connect_time"], found["rtt_seconds"]) == ("2026-11-25T12:00:00.123Z", 0.0015)
    assert (found["close_time"], found["bytes_in"]) == (None, None)


def test_enums_by_their_bare_names_even_those_of_newer_hubs():
    assert rows.enum(session_pb2.Session.State, 2) == "DRAINING"
    assert rows.enum(stats_pb2.StatsScope, 3) == "SESSION"
    assert rows.enum(session_pb2.Session.State, 99) == "99"


def test_passwords_are_not_shown():
    agent = agent_pb2.Agent(visitors=agent_pb2.VisitorAccess(users={"ann": "secret"}))
    assert rows.agent(agent)["visitors"]["users"] == ["ann"]


def test_settings_that_are_no_json():
    assert rows.setting(hub_pb2.Setting(key="a", value="{")) == {"key": "a", "value": "{", "origin": ""}
