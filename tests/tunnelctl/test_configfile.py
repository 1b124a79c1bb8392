"""An agent's configuration as a file."""

from __future__ import annotations

import io
import sys

import pytest

from tunnelctl import configfile, rows
from tunnelctl.problems import Problem
from tunnelpb.agent.v1 import config_pb2


def full():
    made = config_pb2.AgentConfig(
        labels={"a b": "x", "z": ""}, log_level="info", pool_size=2, carrier_preference=["wss", "tls"],
        limits=config_pb2.AgentConfigLimits(streams=5),
    )  # fmt: skip
    web = made.services.add(name='w"eb', target="http://127.0.0.1:80")
    web.health.path = "/h"
    web.health.interval.FromMilliseconds(1500)
    web.health.timeout.FromMilliseconds(250)
    made.services.add(name="ssh", target="tcp://127.0.0.1:22").health.SetInParent()
    return made


@pytest.mark.parametrize("config", [full(), config_pb2.AgentConfig()])
def test_what_is_written_reads_the_same(home, config):
    file = home / "c.toml"
    file.write_text(configfile.to_toml(rows.agent_config(config)))
    assert configfile.read(str(file)).config == config


def test_standard_input(monkeypatch):
    class Input:
        buffer = io.BytesIO(b"pool_size = 3\n")

    monkeypatch.setattr(sys, "stdin", Input)
    assert configfile.read("-").config.pool_size == 3
    Input.buffer = io.BytesIO(b"pool = 3\npol = 4\n")
    with pytest.raises(Problem) as caught:
        configfile.read("-")
    assert [line.split(": ")[0] for line in caught.value.lines] == ["standard input:1", "standard input:2"]


def test_where_a_field_stands_that_the_hub_finds_fault_with(home):
    file = home / "c.toml"
    file.write_text('pool_size = 50\n\n[[services]]\nname = "a"\ntarget = "x://y"\n[labels]\n"b.c" = "d"\n')
    given = configfile.read(str(file))
    assert given.where("services[0].target") == f"{file}:5"
    assert given.where("services[0].health.path") == f"{file}:3", "the line of what is around it"
    assert given.where("pool_size") == f"{file}:1"
    assert given.where("labels") == f"{file}:6"
    assert given.where("log_level") == str(file)


def test_numbers_beyond_the_wire(home):
    file = home / "c.toml"
    file.write_text("pool_size = -1\n[limits]\nstreams = 5000000000\n")
    with pytest.raises(Problem) as caught:
        configfile.read(str(file))
    assert len(caught.value.lines) == 2
