"""A real hub with its management API on a socket, and channels to it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
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


Open = Callable[..., Awaitable[Api]]


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


@pytest.fixture
async def opened(start: Any, connect: Any, folder: Path) -> Open:
    """Start hubs with the API on a socket of their own."""

    async def begin(**settings: Any) -> Api:
        path = folder / f"{len(list(folder.iterdir()))}.sock"
        bench = await start(admin={"listen": [f"unix:{path}"]}, id="h1", **settings)
        return Api(connect(f"unix:{path}"), bench)

    return begin


@pytest.fixture
async def api(opened: Open) -> Api:
    """One such hub."""
    return await opened()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """An authority of its own."""
    return Certificates(tmp_path)
