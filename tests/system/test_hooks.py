"""The example plugins, installed as anybody's would be."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.system.harness import ROOT, System, environment
from tests.system.test_setup import target

__all__ = ["target"]

NAMES = ("hook_sites", "hook_paths")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    for name in NAMES:
        command = [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check",
            "--no-index", "--no-build-isolation", "--target", str(folder), str(ROOT / "examples" / name),
        ]  # fmt: skip
        subprocess.run(command, check=True)
    return folder


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", f"/api/v1/proxy/demo{path}")
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_the_examples_decide(tmp_path: Path, installed: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SITES", "berlin")
    monkeypatch.setenv("HOOK_PATHS", "/admin")
    with System(tmp_path) as system:
        system.paths.append(installed)
        hub = system.start_hub()
        hub.wait_log(r"hook plugins decide on agents and visitors.*paths sites")
        stranger = system.start_agent("demo", target, arguments=("--label", "site=rome"), wait=False)
        stranger.wait_log(r"403 denied_by_hook: this agent's site is not served here")
        system.start_agent("demo", target, arguments=("--label", "site=berlin"))
        assert get(system.port, "/shop") == (200, b"hello")
        status, body = get(system.port, "/admin/users")
        assert (status, json.loads(body)["msg"]) == (403, "this path is not served from outside")
        assert get(system.port, "/%61dmin")[0] == 403


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_pass_their_own_tests(tmp_path: Path, installed: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "--rootdir", str(ROOT / "examples" / name),
         "-c", str(ROOT / "examples" / name / "pyproject.toml"), str(ROOT / "examples" / name / "tests")],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=environment(tmp_path, [installed]),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
