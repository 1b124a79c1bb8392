"""What the benchmarks use on a machine without nginx and wrk."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.system.harness import free_port

from benchmarks import load, target


def test_the_responder_and_the_generator_work_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "find_wrk", lambda: None)
    monkeypatch.setattr(target, "_big_file", lambda www: None)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with target.start_target(tmp_path / "target", port, nginx=None):
        for vary in (False, True):
            seen = load.run(f"{url}/hello", 4, 0.2, vary=vary)
            assert seen.requests > 0
            assert seen.failures == 0
        assert load.download(f"{url}/big", target.BIG).size == target.BIG
        assert load.run(f"{url}/none", 1, 0.1).failures > 0
