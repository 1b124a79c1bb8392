from __future__ import annotations

import asyncio
import time

import pytest
from tests.agentd.fakecontrol import FakeControl

from agentd.control import Control
from agentd.remote import Remote
from tunnelpb.agent.v1 import config_pb2
from tunnelpb.agent.v1 import control_pb2 as pb
from yamux import Session
from yamux.testing import memory_pair


class Reporter:
    def __init__(self):
        self.served = 0

    def hello(self):
        return pb.Hello(agent_version="1", instance="i")

    def status(self):
        return pb.Status(served=self.served)


@pytest.fixture
async def line(rig, tmp_path, monkeypatch):
    """A control stream on a session in memory."""
    monkeypatch.setattr("agentd.control.FIRST_AGAIN", 0.001)
    fake = FakeControl()
    await fake.start()
    agent, hub = Session(client=True), Session(client=False, stream_factory=fake.protocol)
    memory_pair(agent, hub)
    from agentd.config import AgentConfig

    config = AgentConfig(hub=("ws://h:1",), remote={"allow": "*"})
    applied, drains = [], []
    remote = Remote(config, tmp_path / "x.json", (), applied.append)
    reporter = Reporter()
    control = Control(agent, reporter, remote, lambda left, after: drains.append((left, after)))
    control.fake, control.applied, control.drains, control.reporter = fake, applied, drains, reporter
    control.hub_session = hub
    yield control
    await asyncio.gather(control.end(), return_exceptions=True)
    await agent.close(0.1)
    await hub.close(0.1)
    await fake.close()


async def test_status_is_sent_when_it_has_changed(rig, line):
    await rig.settle(lambda: line.fake.calls and line.fake.calls[0].of("status"))
    (call,) = line.fake.calls
    line.report()
    line.reporter.served = 5
    line.report()
    await rig.settle(lambda: len(call.of("status")) == 2)
    assert [status.served for status in call.of("status")] == [0, 5]


async def test_status_is_sent_now_and_then(rig, line, monkeypatch):
    await rig.settle(lambda: line.welcomed)
    monkeypatch.setattr("agentd.control.REPORT_EVERY", 0.01)
    line.reporter.served = 9
    line.report()
    (call,) = line.fake.calls
    await rig.settle(lambda: 9 in [status.served for status in call.of("status")])
    line.reporter.served = 10
    await rig.settle(lambda: 10 in [status.served for status in call.of("status")])


async def test_pushes_one_after_the_other(rig, line):
    await rig.settle(lambda: line.welcomed)
    (call,) = line.fake.calls
    for version in (1, 2):
        config = config_pb2.AgentConfig(labels={"v": str(version)})
        assert (await call.push(config, version, f"n{version}")).nonce == f"n{version}"
    assert [plan.labels for plan in line.applied] == [{"v": "1"}, {"v": "2"}]
    # Another hub's second version is not the one that runs, and refusing it must not look like an ack.
    bad = config_pb2.AgentConfig(pool_size=99)
    assert (await call.push(bad, 2, "n3")).applied_version == 0


async def test_drain_notices(rig, line):
    await rig.settle(lambda: line.welcomed)
    (call,) = line.fake.calls
    await call.drain(time.time() + 100, 2.5)
    await rig.settle(lambda: bool(line.drains))
    ((left, after),) = line.drains
    assert 95 < left < 101
    assert after == 2.5
    # A clock that is off must not make it too short.
    await call.drain(0, 0)
    await rig.settle(lambda: len(line.drains) == 2)
    assert line.drains[1] == (5.0, 0.0)


async def test_the_end_takes_the_stream_away(rig, line):
    await rig.settle(lambda: line.welcomed)
    (call,) = line.fake.calls
    await asyncio.gather(line.end(), return_exceptions=True)
    await call.over.wait()
    assert not line.open
    await rig.settle(lambda: line.hub_session.num_streams == 0)
    assert "Control" in repr(line)


async def test_a_hub_that_resets_the_stream(rig, line):
    await rig.settle(lambda: line.welcomed)
    line.fake.closed = True
    (call,) = line.fake.calls
    line._stitch.close()
    await call.over.wait()
    await rig.settle(lambda: line.fake.streams >= 3)
    assert not line.welcomed
    line.fake.closed = False
    await rig.settle(lambda: line.welcomed)
