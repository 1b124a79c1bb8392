"""Fixtures of the whole-system tests: running systems over each carrier, and sockets for their targets."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from tests.system.harness import ROOT, System, free_port, listening
from tests.system.relay import Relay
from tests.system.targets import Target, WebSocketTarget
from tests.system.visitors import Visitor

CARRIERS = ("ws", "ws-raw", "wss", "tcp", "tls", "unix")


@dataclass
class Plant:
    """A hub, one agent on it, and the agent's targets, which run only where a test says so.

    Attributes:
        agent: its id.
        http: socket of the agent's default target.
        ws: socket of its second target.
    """

    system: System
    agent: str
    http: socket.socket
    ws: socket.socket

    @property
    def port(self) -> int:
        """The hub's port."""
        return self.system.port

    def target(self) -> Target:
        """The default target, for ``async with``."""
        return Target(self.http)

    def visitor(self) -> Visitor:
        """A connection to the hub whose paths lead to this agent."""
        return Visitor(self.port, self.agent)

    def websocket(self) -> WebSocketTarget:
        """The second target."""
        return WebSocketTarget(self.ws)


def address(sock: socket.socket) -> str:
    """A listening socket's host:port."""
    return "{}:{}".format(*sock.getsockname())


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, hub.pem and hub.key."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(str(folder / "hub.key"))
    for pem in issued.cert_chain_pems:
        pem.write_to_path(str(folder / "hub.pem"), append=True)
    return folder


@pytest.fixture(scope="session")
def unix_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example of a foreign carrier, installed as anybody's plugin is, in a folder for PYTHONPATH."""
    folder = tmp_path_factory.mktemp("plugin")
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
        "--no-index", "--no-build-isolation", "--target", str(folder), str(ROOT / "examples" / "carrier_unix"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """An empty system: the test starts what it needs."""
    with System(tmp_path) as system:
        yield system


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Three listening sockets for targets."""
    with listening(3) as found:
        yield found


@pytest.fixture(scope="module")
def crossing(
    tmp_path_factory: pytest.TempPathFactory, certificates: Path, unix_plugin: Path
) -> Iterator[dict[str, Plant]]:
    """One hub with an agent over each carrier side by side; ids are the carriers' names."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("crossing")
        system = System(folder)
        system.paths.append(unix_plugin)
        tls, unix = free_port(), f"unix://{folder}/hub.sock"
        raw = stack.enter_context(Relay(system.port, raw=True))
        stack.enter_context(system)
        system.start_hub(
            "--tls-listen", f"127.0.0.1:{tls}", "--tls-cert", str(certificates / "hub.pem"),
            "--tls-key", str(certificates / "hub.key"), "--carrier", unix,
        )  # fmt: skip
        urls = {
            "ws": f"ws://127.0.0.1:{system.port}",
            "ws-raw": f"ws://127.0.0.1:{raw.port}",
            "wss": f"wss://localhost:{tls}",
            "tcp": f"tcp://127.0.0.1:{system.port}",
            "tls": f"tls://127.0.0.1:{tls}",
            "unix": unix,
        }
        plants = {}
        for carrier, url in urls.items():
            http, ws = stack.enter_context(listening(2))
            more = ("--ca-file", str(certificates / "ca.pem")) if carrier in ("tls", "wss") else ()
            targets = (f"http://{address(http)}", f"http://{address(ws)}")
            system.start_agent(carrier, *targets, url=url, arguments=more, wait=False)
            plants[carrier] = Plant(system, carrier, http, ws)
        for carrier in urls:
            system.wait_attached(carrier)
        assert raw.hidden == 1, "the session behind the relay is a raw one"
        yield plants


@pytest.fixture(scope="module", params=CARRIERS)
def plant(request: pytest.FixtureRequest, crossing: dict[str, Plant]) -> Plant:
    """The agent of each carrier in turn, all on the same hub."""
    return crossing[request.param]


@pytest.fixture(scope="module")
def ws_plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """A hub and an agent ``a`` over the default carrier."""
    with listening(2) as (http, ws), System(tmp_path_factory.mktemp("plant")) as system:
        system.start_hub()
        system.start_agent("a", f"http://{address(http)}", f"http://{address(ws)}")
        yield Plant(system, "a", http, ws)
