"""What tests that run daemons of ours in their own process share.

A hook is heard in a conftest only, so that is where the loop is imported; the fixture may also be in a test's module.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

import pytest
import uvloop

__all__ = ["pytest_asyncio_loop_factories", "quiet"]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop is what the daemons run on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Hundreds of refusals and violations, each with its line in the log, are another test's business."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)
