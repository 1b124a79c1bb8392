from __future__ import annotations

import asyncio
import logging

import pytest

from agentd.config import AgentConfig
from agentd.kept import KeptError, load
from agentd.remote import Remote
from tunnelpb.agent.v1 import config_pb2
from tunnelpb.agent.v1 import control_pb2 as pb


@pytest.fixture
def make(tmp_path):
    def remote(**settings) -> Remote:
        config = AgentConfig(hub=("ws://h:1",), **{"remote": {"allow": "*"}, **settings})
        one = Remote(config, tmp_path / "x.json", (), lambda plan: one.applied.append(plan))
        one.applied = []
        return one

    return remote


def push(version: int, **fields) -> pb.ConfigPush:
    return pb.ConfigPush(version=version, digest=b"%d" % version, config=config_pb2.AgentConfig(**fields))


async def test_taken_and_kept(make, tmp_path):
    remote = make()
    assert remote.start().log_level == "info"
    assert await remote.take(push(1, log_level="debug")) == ""
    assert await remote.take(push(1, log_level="debug")) == ""
    assert [plan.log_level for plan in remote.applied] == ["debug"]
    assert load(tmp_path / "x.json").version == 1
    again = make()
    assert again.start().log_level == "debug"
    assert (again.version, again.digest) == (1, b"1")


async def test_refused(make, caplog):
    remote = make()
    await remote.take(push(1, log_level="debug"))
    assert "pool_size" in await remote.take(push(2, pool_size=99))
    assert (remote.version, len(remote.applied)) == (1, 1)
    assert "pool_size" in remote.error
    assert await remote.take(push(3)) == ""
    assert remote.error == ""


async def test_pushes_of_two_hubs_take_turns(make):
    remote = make()
    await asyncio.gather(remote.take(push(1, log_level="debug")), remote.take(push(2, log_level="error")))
    assert [plan.log_level for plan in remote.applied] == ["debug", "error"]
    assert remote.version == 2


async def test_a_disk_that_is_full_keeps_nothing_up(make, monkeypatch, caplog):
    def full(path, kept):
        raise KeptError("cannot keep it: no space")

    monkeypatch.setattr("agentd.remote.save", full)
    remote = make()
    with caplog.at_level(logging.WARNING):
        assert await remote.take(push(1, log_level="debug")) == ""
    assert len(remote.applied) == 1
    assert "no space" in caplog.text


async def test_a_kept_file_that_is_broken(make, tmp_path, caplog):
    (tmp_path / "x.json").write_text("{")
    remote = make()
    assert remote.start().log_level == "info"
    assert "remove the file" in caplog.text


async def test_other_settings_of_its_own(make):
    remote = make()
    await remote.take(push(1, log_level="debug"))
    more = AgentConfig(hub=("ws://h:1",), remote={"allow": "*"}, pool_size=3)
    assert remote.reload(more, ()).pool_size == 3
    assert remote.reload(more, ()).log_level == "debug"
    assert remote.reload(AgentConfig(hub=("ws://h:1",)), ()).log_level == "info"
    assert (remote.version, remote.digest) == (0, b"")
    assert "allow is empty" in remote.error
    assert remote.reload(more, ()).log_level == "info"
