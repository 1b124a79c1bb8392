"""Shared by all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings
from tests.canary import canaries, no_canary_shows

__all__ = ["canaries", "no_canary_shows"]

# Private keys the tests write must not be readable by everybody, or nobody takes them.
os.umask(0o027)

# A shell without job control has what it starts in the background ignore SIGINT, and programs under test inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A daemon under test is not the one this machine may be set up for.
os.environ["HUBD_CONFIG"] = os.environ["AGENTD_CONFIG"] = ""

# Deadlines measure the machine, not the code, and a shared machine is slow at times.
settings.register_profile("default", deadline=None)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep what the developer's shell sets from reaching the code under test."""
    for name in ("NO_COLOR", "CREDENTIALS_DIRECTORY", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield
