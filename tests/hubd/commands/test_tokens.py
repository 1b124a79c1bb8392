"""``hubd token`` beside a store."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hubd.cli import app
from hubd.identity.tokens import TokenBook
from hubd.store import Database


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["token", *map(str, arguments)])


def check(store: Path, secret: str) -> str:
    database = Database(store)
    row = TokenBook(database).verify(secret, ("agent", "join", "admin", "visitor"))
    database.close()
    return "" if row is None else row.id


def test_a_token_is_printed_alone_on_standard_output(store: Path) -> None:
    done = run("create", "--agent", "demo", "--store", store)
    assert done.exit_code == 0
    token_id = check(store, done.stdout.strip())
    assert token_id and token_id in done.stderr and "agent for demo, good until " in done.stderr
    assert done.stdout.strip() not in done.stderr


def test_a_token_in_a_file_is_private_and_not_printed(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "token"
    done = run("create", "--kind", "admin", "--role", "viewer", "--out", out, "--store", store)
    assert done.exit_code == 0 and done.stdout == ""
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert check(store, out.read_text().strip())
    again = run("create", "--kind", "admin", "--role", "viewer", "--out", out, "--store", store)
    assert again.exit_code == 2 and "File exists" in again.stderr
    assert check(store, out.read_text().strip())


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--agent", "a/b"], 2, "hubd: --agent: 'a/b' is no agent id"),
        (["--kind", "admin"], 2, "hubd: --role: an admin token has a role"),
        (["--kind", "king"], 2, "hubd: --kind: a token is one of"),
        (["--agent", "demo", "--ttl", "soon"], 2, "hubd: --ttl: 'soon' is not a duration"),
    ],
)
def test_a_wrong_flag_is_named_and_leaves_no_file(
    store: Path, tmp_path: Path, arguments: list[str], code: int, text: str
) -> None:
    done = run("create", *arguments, "--out", tmp_path / "token", "--store", store)
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.startswith(text) and done.stderr.count("\n") == 1
    assert not (tmp_path / "token").exists()


def test_a_third_token_is_a_conflict(store: Path) -> None:
    for code in (0, 0, 6):
        assert run("create", "--agent", "demo", "--store", store).exit_code == code


def test_the_list_shows_states_but_no_secrets(store: Path) -> None:
    secret = run("create", "--agent", "demo", "--comment", "for Ann", "--store", store).stdout.strip()
    join = run("create", "--kind", "join", "--uses", "3", "--store", store)
    token_id = check(store, secret)
    assert run("revoke", token_id, "--store", store).exit_code == 0
    done = run("list", "--store", store)
    assert "3 uses left" in done.stdout and "for Ann" not in done.stdout
    done = run("list", "--ended", "--store", store)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["ID", "KIND", "FOR", "EXPIRES", "LAST", "USE", "STATE", "COMMENT"]
    assert any(token_id in line and "revoked" in line and line.endswith("for Ann") for line in lines)
    assert secret.split("_")[3] not in done.stdout and join.stdout.split("_")[3] not in done.stdout


def test_a_token_nobody_knows_is_not_found(store: Path) -> None:
    done = run("revoke", "tokens/nobody", "--store", store)
    assert (done.exit_code, done.stderr) == (3, "hubd: no token is called nobody\n")


def test_the_store_of_the_settings_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "hubd.toml"
    file.write_text(f'[store]\npath = "{tmp_path}/of-file.db"\n')
    secret = run("create", "--agent", "demo", "--config", file).stdout.strip()
    assert check(tmp_path / "of-file.db", secret)
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}:/elsewhere")
    secret = run("create", "--agent", "demo").stdout.strip()
    assert check(tmp_path / "hub.db", secret)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--store", "/nowhere/at/all/hub.db"],
            "cannot use the store /nowhere/at/all/hub.db: No such file or directory",
        ),
        (["--config", "/nowhere.toml"], "/nowhere.toml"),
    ],
)
def test_a_store_that_cannot_be_had_is_one_line(arguments: list[str], text: str) -> None:
    done = run("list", *arguments)
    assert done.exit_code == 78
    assert text in done.stderr and done.stderr.count("\n") == 1


def test_a_store_in_memory_is_no_place_for_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBD_DEV", "true")
    done = run("list")
    assert done.exit_code == 78 and "--store PATH" in done.stderr
