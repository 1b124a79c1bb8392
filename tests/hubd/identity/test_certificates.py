"""Who signed a certificate, and what it is called."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from hubd.identity.certificates import Authorities


def der(path: Path) -> bytes:
    text = path.read_text()
    return ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE") :].partition("-----END CERTIFICATE-----")[0]
                                    + "-----END CERTIFICATE-----")  # fmt: skip


def test_names_count_under_their_own_authority_only(authority) -> None:
    ours, theirs = authority("ours"), authority("theirs")
    leaf = der(ours.issue("agent-1", "a@example.com", common_name="short"))
    assert Authorities(ours.file).names(leaf) == {"agent-1", "a@example.com", "short"}
    assert Authorities(ours.file).signed(leaf)
    assert Authorities(theirs.file).names(leaf) == frozenset()
    assert not Authorities(theirs.file).signed(leaf)


def test_an_authority_of_the_same_name_is_another_one(authority) -> None:
    """Both of trustme's have the same kind of name; only the key tells."""
    leaf = der(authority("one").issue("agent-1"))
    other = authority("two")
    assert not Authorities(other.file).signed(leaf)


@pytest.mark.parametrize("given", [None, b"", b"no certificate"])
def test_what_is_no_certificate_has_no_names(authority, given: bytes | None) -> None:
    authorities = Authorities(authority("ours").file)
    assert authorities.names(given) == frozenset() and not authorities.signed(given)


def test_a_certificate_without_alternative_names_has_its_common_one(authority) -> None:
    ours = authority("ours")
    issuer = x509.load_pem_x509_certificate(ours.file.read_bytes())
    key = serialization.load_pem_private_key(ours.ca.private_key_pem.bytes(), None)
    now = dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agent-1")])
    leaf = (
        x509.CertificateBuilder(issuer.subject, name, key.public_key(), 7, now, now + dt.timedelta(1))
        .sign(key, hashes.SHA256())  # type: ignore[arg-type]
        .public_bytes(serialization.Encoding.DER)
    )  # fmt: skip
    assert Authorities(ours.file).names(leaf) == {"agent-1"}


@pytest.mark.parametrize(("content", "why"), [(None, "no such file"), ("nothing", "no certificate in PEM")])
def test_a_file_of_no_use_is_one_line(tmp_path: Path, content: str | None, why: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=rf"cannot use CA file {path}: {why}"):
        Authorities(path)
