"""The example of a client in Go: generated, built, and run against a real hub."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.harness import System
from tests.tunnelctl.fakehub import FakeHub

from tools import goclient

# The build may come first, on a machine that has built nothing yet.
pytestmark = pytest.mark.timeout(goclient.BUILD_TIMEOUT)


@pytest.fixture(scope="module")
def program() -> Path:
    return goclient.build()


def run(program: Path, address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program, "-hub", address, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_sessions_of_a_real_hub(program: Path, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as short, System(tmp_path) as system:
        address = f"unix://{short}/t/admin.sock"
        system.start_hub("--admin", address)
        system.start_agent("berlin", "http://127.0.0.1:9", arguments=("--allow", "web"))
        done = run(program, address, "list")
        assert done.returncode == 0, done.stderr
        name, agent, state, carrier = done.stdout.split()
        assert (agent, state, carrier) == ("agents/berlin", "ACTIVE", "websocket")
        with subprocess.Popen([program, "-hub", address, "watch"], stdout=subprocess.PIPE, text=True) as process:
            read = iter(process.stdout)
            assert next(read) == f"upsert {name} agents/berlin ACTIVE websocket\n"
            assert next(read) == "synced\n"
            system.start_agent("paris", "http://127.0.0.1:9")
            # Berlin's row may change meanwhile: its control stream opens.
            assert any(" agents/paris " in line for line in read)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        done = run(program, address, "push", "berlin", "web", "http://127.0.0.1:8001")
        assert (done.returncode, done.stdout) == (0, "stored version 1\napplied by 1 sessions\n"), done.stderr
        done = run(program, address, "push", "berlin", "db", "tcp://127.0.0.1:5432")
        assert done.returncode == 1
        assert " refused it: " in done.stderr


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with tempfile.TemporaryDirectory() as folder:
        hub = FakeHub(Path(folder))
        yield hub
        hub.stop()


def test_a_watch_goes_on_and_starts_over(program: Path, fake: FakeHub) -> None:
    fake.add_session("s1")
    with subprocess.Popen(
        [program, "-hub", fake.address, "watch"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        read = iter(process.stdout)
        assert [next(read).split()[0] for _ in range(2)] == ["upsert", "synced"]
        fake.cut()
        fake.add_session("s2")
        assert next(read).startswith("upsert sessions/s2 ")
        fake.restart(forget=True)
        assert next(read).startswith("reset:")
        assert [next(read).split()[0] for _ in range(3)] == ["upsert", "upsert", "synced"]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_a_push_waits_for_the_sessions_and_errors_are_explained(program: Path, fake: FakeHub) -> None:
    fake.add_session("s1")
    done = run(program, fake.address, "push", "berlin", "web", "http://127.0.0.1:8000")
    assert (done.returncode, done.stdout) == (0, "stored version 1\napplied by 1 sessions\n")
    done = run(program, fake.address, "push", "berlin", "web", "nothing")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: 1 fields are wrong (FIELD_INVALID)",
        "  config.services[0].target: no URL",
    ]
    assert run(program, fake.address, "what").returncode == 1
