"""Builds the Go programs once before the first test that needs them; a machine without Go fails here, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import gobuild


@pytest.fixture(scope="session", autouse=True)
def go_programs() -> dict[str, Path]:
    """Return the built programs by name."""
    return gobuild.programs()
