from __future__ import annotations

import asyncio
import sys

import pytest
import uvloop

from tunnel.loops import loop_factory


def test_uvloop_runs_where_it_is_installed() -> None:
    assert loop_factory() is uvloop.Loop
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        assert isinstance(runner.get_loop(), uvloop.Loop)


def test_elsewhere_the_built_in_loop_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is None
