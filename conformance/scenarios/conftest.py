"""Roles, the Go programs, tasks left behind, and the table at the end of the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from conformance import gobuild
from conformance.scenarios import table


@pytest.fixture(scope="session", autouse=True)
def go_programs() -> dict[str, Path]:
    """Build the Go programs before the first scenario; a machine without Go fails here, by name."""
    return gobuild.programs()


@pytest.fixture(params=["client", "server"])
def role(request: pytest.FixtureRequest) -> str:
    """Return our own yamux role."""
    value: str = request.param
    return value


@pytest.fixture(params=["ours", "theirs"])
def opener(request: pytest.FixtureRequest) -> str:
    """Return which side opens the stream."""
    value: str = request.param
    return value


@pytest_asyncio.fixture(autouse=True)
async def no_task_left() -> AsyncIterator[None]:
    """Every scenario ends with no task of anybody's running."""
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() - before - {asyncio.current_task()} == set()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print scenario numbers and results."""
    results = table.Results()
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            results.add(report.nodeid, outcome)
    if results.counts:
        terminalreporter.section("yamux scenarios")
        for line in results.lines():
            terminalreporter.write_line(line)
