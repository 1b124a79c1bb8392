"""``hubd init`` on the command line; that its setup works is shown by tests/system/test_setup.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hubd.cli import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


def test_it_writes_once_and_says_what_to_do(tmp_path: Path) -> None:
    given = ("--dir", tmp_path / "etc", "--state", tmp_path / "state", "--host", "hub.example")
    done = run(*given)
    assert done.exit_code == 0 and "agentd run --hub wss://hub.example:8443" in done.stdout
    files = {path: path.read_bytes() for path in (tmp_path / "etc").iterdir()}
    again = run(*given)
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr == f"hubd: {tmp_path}/etc is set up already; nothing was changed\n"
    assert {path: path.read_bytes() for path in (tmp_path / "etc").iterdir()} == files


def test_a_file_in_the_way_is_a_conflict(tmp_path: Path) -> None:
    (tmp_path / "hub.pem").write_text("mine")
    done = run("--dir", tmp_path, "--state", tmp_path / "state")
    assert done.exit_code == 6 and done.stderr.count("\n") == 1 and "hub.pem is there already" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--tls-listen", "8443"], "'8443' is not HOST:PORT"),
        (["--host", "not a name"], "neither a host name"),
        (["--domain", "a_b"], "not a domain name"),
        (["--agent", "a/b"], "no agent id"),
        (["--cert", "x.pem"], "--cert and --key go together"),
        (["--cert", "/nowhere.pem", "--key", "/nowhere.key"], "cannot read /nowhere.pem"),
    ],
)
def test_a_wrong_flag_is_one_line_and_writes_nothing(tmp_path: Path, arguments: list[str], text: str) -> None:
    done = run("--dir", tmp_path / "etc", *arguments)
    assert done.exit_code == 2 and text in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "etc").exists()


def test_renew_says_until_when_and_what_to_do(tmp_path: Path) -> None:
    assert run("--dir", tmp_path / "etc", "--state", tmp_path / "state").exit_code == 0
    done = CliRunner().invoke(app, ["renew", "--dir", str(tmp_path / "etc")])
    assert done.exit_code == 0, done.stderr
    assert f"{tmp_path}/etc/hub.pem is valid until 20" in done.stdout and "systemctl reload hubd" in done.stdout
    missing = CliRunner().invoke(app, ["renew", "--dir", str(tmp_path / "nothing")])
    assert (missing.exit_code, missing.stdout) == (6, "")
    assert missing.stderr == (
        f"hubd: {tmp_path}/nothing has no setup to renew: hubd init --dir {tmp_path}/nothing makes one\n"
    )
