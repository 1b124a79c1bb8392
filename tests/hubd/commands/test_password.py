"""``hubd hash-password`` beside the settings it is for."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from hubd.cli import app
from hubd.config import HubConfig
from hubd.identity.passwords import matches


def test_its_output_fits_into_the_settings() -> None:
    done = CliRunner().invoke(app, ["hash-password"], input="secret\n")
    assert done.exit_code == 0 and "secret" not in done.output
    config = HubConfig.model_validate({"visitors": {"mode": "basic", "users": {"ann": done.stdout.strip()}}})
    assert matches(b"secret", config.visitors.users["ann"]) and done.stdout.strip() not in repr(config)


def test_no_password_is_a_fault() -> None:
    done = CliRunner().invoke(app, ["hash-password"], input="\n")
    assert done.exit_code == 2 and done.stderr == "hubd: a password has 1 to 1024 bytes\n"


def test_a_plain_password_is_refused_by_the_settings() -> None:
    with pytest.raises(ValueError, match="hubd hash-password"):
        HubConfig.model_validate({"visitors": {"mode": "basic", "users": {"ann": "secret"}}})
