"""The example of a client in Python does what it says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.harness import System
from tests.tunnelctl.fakehub import FakeHub

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "client" / "watch_and_push.py"


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with tempfile.TemporaryDirectory() as folder:
        hub = FakeHub(Path(folder))
        yield hub
        hub.stop()


def start(address: str, service: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(EXAMPLE), "--hub", address, "--service", service],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def test_every_agent_gets_a_configuration_once(fake: FakeHub) -> None:
    fake.add_session("s1")
    with start(fake.address, "web=http://127.0.0.1:8000") as process:
        read = iter(process.stdout)
        assert next(read) == "agents/berlin gets version 1\n"
        fake.add_session("s2")
        assert next(read) == "agents/berlin has version 1\n"
        fake.add_session("s3", agent="paris")
        assert next(read) == "agents/paris gets version 1\n"
        row = fake.sessions["sessions/s3"]
        row.close_reason = "drained"
        fake.change("removed", row)
        assert next(read) == "agents/paris left: drained\n"
        fake.restart(forget=True)
        assert "the hub is away" in next(iter(process.stderr))
        assert next(read) == "agents/berlin has version 1\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert fake.configs["agents/berlin"][0].config.services[0].target == "http://127.0.0.1:8000"


def test_a_bad_one_names_its_faults(fake: FakeHub) -> None:
    fake.add_session("s1")
    with start(fake.address, "web=nothing") as process:
        assert next(iter(process.stdout)).endswith("config.services[0].target: no URL\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_nobody_there_is_one_line(fake: FakeHub) -> None:
    fake.stop()
    with start(fake.address, "web=http://x") as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1


def test_on_a_real_hub(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as short, System(tmp_path) as system:
        address = f"unix://{short}/t/admin.sock"
        system.start_hub("--admin", address)
        with start(address, "web=http://127.0.0.1:8001") as process:
            read = iter(process.stdout)
            agent = system.start_agent("berlin", "http://127.0.0.1:9", arguments=("--allow", "web"))
            assert next(read) == "agents/berlin gets version 1\n"
            agent.stop()
            assert next(read).startswith("agents/berlin left: ")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
