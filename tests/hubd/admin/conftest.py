"""A real hub with its management API on a socket, and channels to it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.hubd.admin.apihelp import Api, Certificates
from tests.hubd.control.conftest import control, streams

__all__ = ["control", "streams"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: a socket's has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="adm") as name:
        yield Path(name)


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Any]]:
    """Open channels; they are closed at the end."""
    channels = []

    def make(target: str, credentials: grpc.ChannelCredentials | None = None, **options: Any) -> Any:
        if credentials is None:
            channel = grpc.aio.insecure_channel(target, **options)
        else:
            channel = grpc.aio.secure_channel(target, credentials, **options)
        channels.append(channel)
        return channel

    yield make
    for channel in channels:
        await channel.close()


async def _over_socket(start: Any, connect: Any, folder: Path) -> Api:
    path = folder / "admin.sock"
    bench = await start(admin={"listen": [f"unix:{path}"]}, id="h1")
    return Api(connect(f"unix:{path}"), bench)


async def _over_tls(start: Any, connect: Any, certificates: Certificates) -> Api:
    admin = {
        "listen": ["127.0.0.1:0"],
        "tls": {"cert": str(certificates.cert), "key": str(certificates.key)},
        "client_ca": str(certificates.ca),
        "clients": {"root": "admin"},
    }
    bench = await start(admin=admin, id="h1")
    (address,) = bench.app.api.addresses
    return Api(connect(address, certificates.credentials("root")), bench, "cert/root")


@pytest.fixture
async def local(start: Any, connect: Any, folder: Path) -> Api:
    """A hub with the API on a socket."""
    return await _over_socket(start, connect, folder)


@pytest.fixture(params=["socket", "mutual tls"])
async def api(request: pytest.FixtureRequest, start: Any, connect: Any, folder: Path, tmp_path: Path) -> Api:
    """A hub with the API on a socket, and one with an administrator's certificate on TCP: all has to work on both."""
    if request.param == "socket":
        return await _over_socket(start, connect, folder)
    return await _over_tls(start, connect, Certificates(tmp_path))


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """An authority of its own."""
    return Certificates(tmp_path)
