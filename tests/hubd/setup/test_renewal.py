"""Certificates of ``hubd init`` that get a successor; that a running hub takes it is shown by tests/system/test_setup.py."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from tests.hubd.setup.test_authority import shake_hands

from hubd.setup.authority import CA_DAYS, DAYS, Issued, make_authority
from hubd.setup.plan import SetupError, Wishes, write
from hubd.setup.renewal import renew
from tunnel.settings import HostPort

BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    wishes = Wishes(
        folder=folder, state=tmp_path / "state", host="hub.example", domain="apps.example",
        listen=HostPort.parse("0.0.0.0:8443"), agent="a", certificate=None, program="/usr/bin/hubd", user="hubd",
    )  # fmt: skip
    write(wishes, BEGIN)
    return folder


def certificate(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "hub.pem").read_bytes())


def names(one: x509.Certificate) -> list[str]:
    return [str(name.value) for name in one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_all_but_the_dates_stays(folder: Path, tmp_path: Path) -> None:
    before, old, mode = contents(folder), certificate(folder), (folder / "hub.pem").stat().st_mode
    now = dt.datetime.now(dt.UTC)
    done = renew(folder, now)
    after, new = contents(folder), certificate(folder)
    assert {name for name in after if after[name] != before.get(name)} == {"hub.pem"}
    assert done.path == folder / "hub.pem" and done.until == new.not_valid_after_utc
    assert new.not_valid_after_utc == (now + dt.timedelta(DAYS)).replace(microsecond=0)
    assert new.serial_number != old.serial_number
    assert (new.subject, new.public_key(), sorted(names(new))) == (old.subject, old.public_key(), sorted(names(old)))
    assert (folder / "hub.pem").stat().st_mode == mode
    authority = Issued(after["ca.pem"], after["ca.key"])
    shake_hands(tmp_path, authority, Issued(after["hub.pem"], after["hub.key"]), "any.apps.example")


def test_it_ends_with_its_authority_at_the_latest(folder: Path) -> None:
    done = renew(folder, BEGIN + dt.timedelta(CA_DAYS - 10))
    assert done.until == BEGIN + dt.timedelta(CA_DAYS)


def test_the_authoritys_key_may_be_elsewhere(folder: Path, tmp_path: Path) -> None:
    away = shutil.move(folder / "ca.key", tmp_path / "safe.key")
    with pytest.raises(SetupError, match=r"ca\.key is not there: put it back for this, or name it with --ca-key"):
        renew(folder, BEGIN)
    assert renew(folder, BEGIN, Path(away)).until == BEGIN + dt.timedelta(DAYS)


def another(folder: Path) -> None:
    (folder / "ca.pem").write_bytes(make_authority("another", BEGIN).certificate)


def another_with_key(folder: Path) -> None:
    made = make_authority("another", BEGIN)
    (folder / "ca.pem").write_bytes(made.certificate)
    (folder / "ca.key").write_bytes(made.key)


def another_key(folder: Path) -> None:
    (folder / "hub.key").write_bytes(make_authority("another", BEGIN).key)


FAULTS = {
    "no setup": (lambda folder: (folder / "hubd.toml").unlink(), "has no setup to renew: hubd init --dir"),
    "a given certificate": (lambda folder: (folder / "ca.pem").unlink(), "of another authority"),
    "no certificate": (lambda folder: (folder / "hub.pem").unlink(), r"hub\.pem is not there"),
    "not PEM": (lambda folder: (folder / "hub.pem").write_text("?"), r"hub\.pem has no certificate in PEM"),
    "no key": (lambda folder: (folder / "ca.key").write_text("?"), r"ca\.key has no private key in PEM"),
    "another authority": (another, "does not belong to"),
    "signed by another": (another_with_key, "was not signed by"),
    "another key": (another_key, r"hub\.key does not belong to .*hub\.pem"),
    "a folder": (lambda folder: ((folder / "ca.key").unlink(), (folder / "ca.key").mkdir()), "cannot read .*run this"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_what_cannot_be_renewed_is_told_and_left_alone(folder: Path, what: str) -> None:
    spoil, text = FAULTS[what]
    spoil(folder)
    before = {path.name for path in folder.iterdir()}
    kept = (folder / "hub.pem").read_bytes() if (folder / "hub.pem").exists() else b""
    with pytest.raises(SetupError, match=text) as caught:
        renew(folder, BEGIN)
    assert "\n" not in str(caught.value)
    assert {path.name for path in folder.iterdir()} == before
    assert ((folder / "hub.pem").read_bytes() if kept else b"") == kept


def test_an_authority_that_ended_signs_nothing(folder: Path) -> None:
    with pytest.raises(SetupError, match="the authority itself ended on 2035-12-30: run hubd init with another --dir"):
        renew(folder, BEGIN + dt.timedelta(CA_DAYS + 1))


def test_a_disk_that_takes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(folder)

    def replace(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tunnel.replacing.os.replace", replace)
    with pytest.raises(SetupError, match="cannot write .*No space left"):
        renew(folder, BEGIN)
    assert contents(folder) == before
