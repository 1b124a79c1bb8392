"""An authority of one's own, and what it signs."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from hubd.setup.authority import DAYS, Issued, issue, make_authority

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture(scope="module")
def authority() -> Issued:
    return make_authority("hubd at hub.example", NOW)


def shake_hands(tmp_path: Path, authority: Issued, own: Issued, name: str) -> None:
    (tmp_path / "own.pem").write_bytes(own.certificate + own.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "own.pem")
    client = ssl.create_default_context(cadata=authority.certificate.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    waiting = [client.wrap_bio(down, up, server_hostname=name), server.wrap_bio(up, down, server_side=True)]
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    assert not waiting


@pytest.mark.parametrize("name", ["hub.example", "any.hub.example", "127.0.0.1", "::1"])
def test_clients_that_trust_the_authority_trust_its_certificates(tmp_path: Path, authority: Issued, name: str) -> None:
    own = issue(authority, ["hub.example", "*.hub.example", "127.0.0.1", "::1"], NOW)
    shake_hands(tmp_path, authority, own, name)


def test_another_name_is_refused(tmp_path: Path, authority: Issued) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path, authority, issue(authority, ["hub.example"], NOW), "other.example")


def test_f6_an_old_certificate_is_refused(tmp_path: Path, authority: Issued) -> None:
    old = issue(authority, ["hub.example"], NOW - dt.timedelta(DAYS + 1))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake_hands(tmp_path, authority, old, "hub.example")


def test_what_it_signs_cannot_sign(authority: Issued) -> None:
    ca = x509.load_pem_x509_certificate(authority.certificate)
    leaf = x509.load_pem_x509_certificate(issue(authority, ["x" * 80], NOW).certificate)
    constraints = [c.extensions.get_extension_for_class(x509.BasicConstraints) for c in (ca, leaf)]
    assert [(c.critical, c.value.ca) for c in constraints] == [(True, True), (True, False)]
    leaf.verify_directly_issued_by(ca)


def test_keys_are_not_printed(authority: Issued) -> None:
    assert "PRIVATE" not in repr(authority)
