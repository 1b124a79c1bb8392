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

CARRIERS = ("ws", "ws-raw", "tcp", "tls", "unix")


@dataclass
class Plant:
    """A hub, one agent ``a`` on it, and the agent's targets, which run only where a test says so.

    Attributes:
        carrier: what the agent attached over.
        http: socket of the agent's default target.
        ws: socket of its second target.
    """

    system: System
    carrier: str
    http: socket.socket
    ws: socket.socket

    @property
    def port(self) -> int:
        """The hub's port."""
        return self.system.port

    def target(self) -> Target:
        """The default target, for ``async with``."""
        return Target(self.http)

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


def _plant(carrier: str, request: pytest.FixtureRequest, stack: ExitStack) -> Plant:
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    folder = factory.mktemp(carrier)
    http, ws = stack.enter_context(listening(2))
    system = System(folder)
    hub: list[str] = []
    url, agent = f"ws://127.0.0.1:{system.port}", ()
    if carrier == "ws-raw":
        url = f"ws://127.0.0.1:{stack.enter_context(Relay(system.port, raw=True)).port}"
    elif carrier == "tcp":
        url = f"tcp://127.0.0.1:{system.port}"
    elif carrier == "tls":
        files: Path = request.getfixturevalue("certificates")
        port = free_port()
        hub = [
            "--tls-listen",
            f"127.0.0.1:{port}",
            "--tls-cert",
            str(files / "hub.pem"),
            "--tls-key",
            str(files / "hub.key"),
        ]
        url, agent = f"tls://127.0.0.1:{port}", ("--ca-file", str(files / "ca.pem"))
    elif carrier == "unix":
        system.paths.append(request.getfixturevalue("unix_plugin"))
        url = f"unix://{folder}/hub.sock"
        hub = ["--carrier", url]
    stack.enter_context(system)
    system.start_hub(*hub)
    system.start_agent("a", f"http://{address(http)}", f"http://{address(ws)}", url=url, arguments=agent)
    return Plant(system, carrier, http, ws)


@pytest.fixture(scope="module", params=CARRIERS)
def plant(request: pytest.FixtureRequest) -> Iterator[Plant]:
    """A running system over each carrier in turn."""
    with ExitStack() as stack:
        yield _plant(request.param, request, stack)


@pytest.fixture(scope="module")
def ws_plant(request: pytest.FixtureRequest) -> Iterator[Plant]:
    """A running system over the default carrier."""
    with ExitStack() as stack:
        yield _plant("ws", request, stack)
