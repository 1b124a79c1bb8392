"""The long tests run the same systems as the short ones, and are all marked."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.system.conftest import certificates, sockets, system, unix_plugin, ws_plant

__all__ = ["certificates", "sockets", "system", "unix_plugin", "ws_plant"]

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nobody waits an hour for having forgotten a marker."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker("soak")
