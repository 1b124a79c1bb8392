"""Runs the daemons of these tests on the loop they are made for, and without their log."""

from conformance.fixtures import pytest_asyncio_loop_factories, quiet

__all__ = ["pytest_asyncio_loop_factories", "quiet"]
