"""What the tests of all carriers share: both event loops, certificates, and an address that never answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
import uvloop

from yamux.carrier import TlsOptions


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test of a carrier runs on both loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass(frozen=True)
class Certificates:
    server: TlsOptions
    client: TlsOptions
    authority: str
    stranger: str
    client_cert: str
    folder: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    stranger.cert_pem.write_to_path(str(folder / "stranger.pem"))
    issued = authority.issue_cert("localhost", "127.0.0.1", "::1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    mine = authority.issue_cert("agent@example.org")
    mine.private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    return Certificates(
        server=TlsOptions(cert_file=str(folder / "server.pem")),
        client=TlsOptions(ca_file=str(folder / "ca.pem")),
        authority=str(folder / "ca.pem"),
        stranger=str(folder / "stranger.pem"),
        client_cert=str(folder / "client.pem"),
        folder=folder,
    )


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue is full, so that the kernel drops further connection requests."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        yield port
        for filler in fillers:
            filler.close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections into its queue and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]
