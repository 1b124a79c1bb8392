"""A whole setup, or nothing."""

from __future__ import annotations

import dataclasses
import datetime as dt
import stat
from pathlib import Path

import pytest

from hubd.config import HubConfig
from hubd.identity.tokens import TokenBook
from hubd.setup.plan import SetupError, Wishes, instructions, write
from hubd.store import Database
from tunnel.settings import HostPort, load

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def wishes(tmp_path: Path) -> Wishes:
    return Wishes(
        folder=tmp_path / "etc",
        state=tmp_path / "state",
        host="hub.example",
        domain="t.example",
        listen=HostPort("0.0.0.0", 8443),
        agent="demo",
        certificate=None,
        program="/opt/hubd",
        user="ann",
    )


def settings(wishes: Wishes) -> HubConfig:
    return load(HubConfig, prefix="HUBD_", file=wishes.config, flags={}, environ={}).value


def test_the_settings_it_writes_are_good_and_safe(wishes: Wishes) -> None:
    write(wishes, NOW)
    config = settings(wishes)
    assert config.tls_listen == wishes.listen and config.domain == "t.example" and not config.insecure
    assert config.tls is not None and config.tls.cert == wishes.folder / "hub.pem"
    assert config.listen is not None and config.listen.is_loopback


def test_the_token_it_writes_is_in_the_store(wishes: Wishes) -> None:
    write(wishes, NOW)
    database = Database(settings(wishes).store_path)
    row = TokenBook(database).verify(wishes.token.read_text().strip(), ("agent",))
    database.close()
    assert row is not None and row.agent == "demo"


def test_secrets_are_private_and_the_rest_is_not(wishes: Wishes) -> None:
    write(wishes, NOW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in wishes.folder.iterdir()}
    assert {name for name, mode in modes.items() if mode == 0o600} == {"ca.key", "hub.key", "demo.token"}
    assert set(modes) == {"ca.key", "ca.pem", "hub.key", "hub.pem", "demo.token", "hubd.service", "hubd.toml"}
    assert stat.S_IMODE(wishes.state.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["ca.pem", "hub.key", "demo.token", "hubd.service", "hubd.toml"])
def test_nothing_is_overwritten_and_nothing_left_behind(wishes: Wishes, name: str) -> None:
    wishes.folder.mkdir()
    (wishes.folder / name).write_text("mine")
    with pytest.raises(SetupError, match=rf"{name} is there already and stays"):
        write(wishes, NOW)
    assert [path.name for path in wishes.folder.iterdir()] == [name]
    assert (wishes.folder / name).read_text() == "mine" and not wishes.state.exists()


def test_a_folder_that_cannot_be_made_is_one_line(wishes: Wishes, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"cannot set up .*: Not a directory"):
        write(dataclasses.replace(wishes, folder=tmp_path / "file" / "etc"), NOW)


def test_a_store_that_is_there_gets_one_more_token(wishes: Wishes) -> None:
    wishes.state.mkdir()
    database = Database(wishes.state / "hub.db")
    TokenBook(database).create("agent", agent="old")
    database.close()
    write(wishes, NOW)
    database = Database(wishes.state / "hub.db")
    assert {row.agent for row in TokenBook(database).page().rows} == {"old", "demo"}
    database.close()


def test_a_given_certificate_is_used_as_it_is(wishes: Wishes, tmp_path: Path) -> None:
    given = dataclasses.replace(wishes, certificate=(tmp_path / "my.pem", tmp_path / "my.key"))
    write(given, NOW)
    assert not (wishes.folder / "ca.pem").exists()
    tls = settings(given).tls
    assert tls is not None and (tls.cert, tls.key) == given.certificate
    assert "--ca-file" not in instructions(given)


def test_the_instructions_name_what_was_written_and_no_secret(wishes: Wishes) -> None:
    write(wishes, NOW)
    text = instructions(wishes)
    assert "agentd run --hub wss://hub.example:8443 --id demo --token-file demo.token --ca-file ca.pem" in text
    assert f"/opt/hubd serve --config {wishes.config}" in text
    assert wishes.token.read_text().strip() not in text
    plain = dataclasses.replace(wishes, listen=HostPort("0.0.0.0", 443), host="2001:db8::1", domain=None)
    assert "--hub wss://[2001:db8::1] --id" in instructions(plain) and "t.example" not in instructions(plain)
