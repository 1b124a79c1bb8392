"""``agentd enroll`` before it reaches a hub; that it works with one is shown by tests/system/test_enroll.py."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agentd.cli import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["enroll", *map(str, arguments)])


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "join.token"
    path.write_text("join\n")
    path.chmod(0o600)
    return path


def test_a_token_that_is_there_is_not_overwritten(tmp_path: Path, token: Path) -> None:
    out = tmp_path / "own.token"
    out.write_text("mine")
    done = run("--hub", "ws://127.0.0.1:1", "--id", "a", "--join-token-file", token, "--token-out", out)
    assert done.exit_code == 2 and done.stderr == f"agentd: --token-out: cannot make {out}: file exists\n"
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--hub", "ws://127.0.0.1:1"], "names no agent"),
        (["--hub", "ws://hub.example", "--id", "a"], "which is not encrypted"),
        (["--hub", "nope://hub.example", "--id", "a"], "no carrier for nope://"),
        (["--hub", "wss://hub.example", "--id", "a", "--ca-file", "/nowhere.pem"], "cannot use CA file /nowhere.pem"),
        (["--hub", "wss://hub.example", "--id", "a", "--join-token-file", "/nowhere.token"], "/nowhere.token"),
    ],
)
def test_faults_are_one_line_and_leave_no_file(tmp_path: Path, token: Path, arguments: list[str], text: str) -> None:
    given = arguments if "--join-token-file" in arguments else [*arguments, "--join-token-file", str(token)]
    done = run(*given, "--token-out", tmp_path / "own.token")
    assert done.exit_code == 78 and text in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "own.token").exists()


def test_a_hub_that_is_not_there_leaves_no_file(tmp_path: Path, token: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}"
        done = run("--hub", url, "--id", "a", "--join-token-file", token, "--token-out", tmp_path / "own.token")
    assert done.exit_code == 5 and "is hubd running there?" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "own.token").exists()
