from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc
import grpc.aio
import pytest
from tests.agentd.conftest import FakeHub

from agentd.app import App
from agentd.config import AgentConfig
from agentd.door import Door, DoorError, is_live, runtime_folder, socket_path
from agentd.hubs import read_hubs
from agentd.uplink import State
from carrier_api import Registry
from tunnel.settings import Fault, SettingsError
from tunnelpb.agent.v1 import local_pb2 as pb
from tunnelpb.agent.v1.local_pb2_grpc import AgentLocalServiceStub


@pytest.fixture
def folder():
    """A short path: a socket's has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="agd") as name:
        yield Path(name)


@pytest.fixture
async def started(rig, hub: FakeHub, folder, tmp_path):
    apps, channels = [], []

    async def start(name: str = "s.sock", load=None, **settings):
        config = AgentConfig(
            hub=(hub.url,), id="a", state_dir=tmp_path, local={"socket": str(folder / "d" / name)}, **settings
        )
        hubs, _ = read_hubs(config.hub, "a", [], Registry.load())
        app = App(config, hubs, load=load)
        app.start()
        await app.open_local()
        apps.append(app)
        await rig.settle(lambda: app.uplinks[0].state is State.ONLINE)
        channel = grpc.aio.insecure_channel(f"unix:{app._local.path}", options=[("grpc.use_local_subchannel_pool", 1)])
        channels.append(channel)
        return app, AgentLocalServiceStub(channel)

    yield start
    for channel in channels:
        await channel.close()
    for app in apps:
        await app.stop(0)
        assert app._local is None or not app._local.path.exists()


async def test_status(rig, started, hub):
    app, stub = await started(
        service={"web": {"target": "http://127.0.0.1:1", "health": {}}, "ssh": {"target": "tcp://127.0.0.1:2"}}
    )
    status = await stub.GetStatus(pb.GetStatusRequest())
    (uplink,) = status.uplinks
    assert (uplink.hub, uplink.agent_id, uplink.state, uplink.controlled) == (hub.url, "a", "online", False)
    assert (uplink.hub_version, uplink.last_error, status.instance) == ("hubd/test", "", app.agent.instance)
    assert [(service.name, service.target, service.origin) for service in status.services] == [
        ("web", "http://127.0.0.1:1", "file"), ("ssh", "tcp://127.0.0.1:2", "file"),
    ]  # fmt: skip
    await rig.settle(lambda: app.agent.checks.found["web"].detail)
    listed = await stub.ListServices(pb.ListServicesRequest())
    assert "refused" in listed.services[0].health.detail.lower()


async def test_only_its_owner_may_open_it(started):
    app, _ = await started()
    path = app._local.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_grpc_is_not_started_before_somebody_comes(rig, started):
    app, stub = await started()
    assert is_live(app._local.path)
    await rig.settle(lambda: app._local._callers == set())
    assert app._local._inner is None
    await stub.GetStatus(pb.GetStatusRequest())
    inner = await app._local._inner
    assert stat.S_IMODE(inner.path.stat().st_mode) == 0o600


async def test_a_second_agent_gets_a_name_of_its_own(started, folder):
    one, _ = await started()
    two, stub = await started()
    assert two._local.path != one._local.path
    assert str(os.getpid()) in two._local.path.name
    assert (await stub.GetStatus(pb.GetStatusRequest())).instance == two.agent.instance


def test_agents_that_start_together_take_turns(folder):
    """While one is between looking and listening, the other waits, and then sees it."""
    path = folder / "a.sock"
    program = (
        "import asyncio, pathlib, sys\nfrom agentd.door import Door\n"
        "async def main():\n    door = Door(pathlib.Path(sys.argv[1]), None)\n    print('looking', flush=True)\n"
        "    await door.open()\n    print(door.path.name, flush=True)\n    await door.close()\nasyncio.run(main())"
    )
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "looking\n"
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(str(path))
                sock.listen()
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                assert other.stdout.readline() == f"a-{other.pid}.sock\n"
                assert path.exists()
    finally:
        os.close(descriptor)


async def test_a_dead_socket_is_replaced(started, folder):
    (folder / "d").mkdir(mode=0o700)
    (folder / "d" / "s.sock").touch()
    app, _ = await started()
    assert app._local.path == folder / "d" / "s.sock"


async def test_a_folder_others_may_write_is_refused(folder):
    folder.chmod(0o777)
    with pytest.raises(DoorError, match=r"set local\.socket"):
        await Door(folder / "x.sock", None).open()
    folder.chmod(0o700)
    with pytest.raises(DoorError, match="more than"):
        await Door(folder / ("x" * 120), None).open()


async def test_reload(started):
    config = None

    def load():
        if config is None:
            raise SettingsError([Fault("x.toml:1", "hub", "bad"), Fault("x.toml:2", "id", "bad too")])
        return config, app.agent._hubs

    app, stub = await started(load=load)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Reload(pb.ReloadRequest())
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details().splitlines()[1:] == ["x.toml:1: hub: bad", "x.toml:2: id: bad too"]
    config = app.agent.config.model_copy(update={"keep_host": True, "log_format": "json"})
    answer = await stub.Reload(pb.ReloadRequest())
    assert (answer.applied, answer.need_restart) == (["keep_host"], ["log_format"])
    assert app.server.keep_host


async def test_stats_again_and_again_until_the_end(started):
    app, stub = await started()
    request = pb.StreamStatsRequest()
    request.interval.FromMilliseconds(250)
    call = stub.StreamStats(request)
    first, second = await call.read(), await call.read()
    assert first.time.ToMilliseconds() < second.time.ToMilliseconds()
    assert second.status.instance == app.agent.instance
    app.drain()
    while (await call.read()) is not grpc.aio.EOF:
        pass
    request.interval.FromMilliseconds(1)
    assert await stub.StreamStats(request).code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_drain(started):
    app, stub = await started()
    request = pb.DrainRequest()
    request.deadline.FromSeconds(7)
    assert (await stub.Drain(request)).open_exchanges == 0
    assert app.first.is_set()
    assert app.grace == 7
    request.deadline.FromSeconds(-1)
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.Drain(request)


async def test_callers_are_limited(started, folder, monkeypatch):
    monkeypatch.setattr("agentd.door.MAX_CALLERS", 2)
    app, _ = await started()
    path = str(app._local.path)
    held = [await asyncio.open_unix_connection(path) for _ in range(2)]
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        assert await reader.read(1) == b""
    except ConnectionResetError:
        pass
    for _, other in [*held, (reader, writer)]:
        other.close()


def test_where(monkeypatch):
    assert runtime_folder({"RUNTIME_DIRECTORY": "/run/x:/run/y"}) == Path("/run/x")
    assert runtime_folder({"XDG_RUNTIME_DIR": "/run/user/1"}) == Path("/run/user/1/agentd")
    assert socket_path(None, "a", {"RUNTIME_DIRECTORY": "/r"}) == Path("/r/a.sock")
    assert socket_path("/x/y", "a", {}) == Path("/x/y")
    assert socket_path("none", "a", {}) is None
    monkeypatch.setattr("agentd.door.os.geteuid", lambda: 1000)
    assert socket_path(None, "a", {}) is None
    assert not is_live(Path("/nowhere/x"))
