"""The end of the hub's certificate: told a month before, once a day, and as a metric."""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path

import pytest

from hubd.identity.expiry import AGAIN, WARNING, Expiry
from hubd.setup.authority import DAYS, issue, make_authority

BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
END = BEGIN + dt.timedelta(DAYS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "hub.pem"
    path.write_bytes(issue(make_authority("a", BEGIN), ["hub.example"], BEGIN).certificate)
    return path


def test_it_is_told_a_month_before_and_once_a_day(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = BEGIN.timestamp()
    expiry = Expiry(lambda: now)
    expiry.poll()
    expiry.watch([path])
    now = END.timestamp() - WARNING - 1
    expiry.poll()
    assert not caplog.records and expiry.ends == END.timestamp()
    with caplog.at_level(logging.WARNING, "hubd.identity"):
        for now in (END.timestamp() - WARNING, END.timestamp() - WARNING + AGAIN - 1, END.timestamp() + 1):
            expiry.poll()
    assert [record.getMessage().split(": renew")[0] for record in caplog.records] == [
        f"TLS: the certificate {path} ends on 2028-03-31 00:00 UTC",
        f"TLS: the certificate {path} has ended on 2028-03-31 00:00 UTC",
    ]


def test_a_renewed_certificate_is_not_complained_of(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = END.timestamp() - 5
    expiry = Expiry(lambda: now)
    with caplog.at_level(logging.WARNING, "hubd.identity"):
        expiry.watch([path])
        path.write_text("half a cert")
        expiry.watch([path])
        assert expiry.ends == END.timestamp()
        later = BEGIN + dt.timedelta(DAYS - 1)
        path.write_bytes(issue(make_authority("a", later), ["hub.example"], later).certificate)
        expiry.watch([path])
        expiry.poll()
    # Each time the settings are read, until it is renewed.
    assert len(caplog.records) == 2
    assert expiry.ends == (later + dt.timedelta(DAYS)).timestamp()
    expiry.watch([])
    assert expiry.ends == 0


def test_each_of_several_is_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = END.timestamp() - 5
    other = path.with_name("api.pem")
    other.write_bytes(path.read_bytes())
    expiry = Expiry(lambda: now)
    with caplog.at_level(logging.WARNING, "hubd.identity"):
        expiry.watch([path, other])
    assert [str(each) in caplog.text for each in (path, other)] == [True, True]
    assert len(caplog.records) == 2


def test_an_old_list_is_told_once_a_day_and_not_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = due = BEGIN.timestamp()
    now -= 1
    expiry = Expiry(lambda: now)
    with caplog.at_level(logging.WARNING, "hubd.identity"):
        expiry.watch([], {tmp_path / "a.crl": due, tmp_path / "b.crl": due + 5 * AGAIN})
        assert expiry.due == due and not caplog.records
        for now in (due, due + AGAIN - 1, due + AGAIN):
            expiry.poll()
    assert len(caplog.records) == 2
    assert (
        caplog.records[0]
        .getMessage()
        .startswith(
            f"TLS: the revocation list {tmp_path}/a.crl was to be followed by a newer one on 2026-01-01 00:00 UTC, and counts still"
        )
    )
