"""Which certificates have been taken back, and which lists count."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from tests.hubd.identity.revoking import DUE, revocation_list, serial_of

from hubd.identity.revocations import Revocations


def der(path: Path) -> bytes:
    text = path.read_text()
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(text[text.index(begin) :].partition(end)[0] + end)


def test_what_is_on_the_list_is_held_and_nothing_else(authority) -> None:
    ours, theirs = authority("ours"), authority("theirs")
    bad, good, foreign = ours.issue("bad"), ours.issue("good"), theirs.issue("bad")
    found = Revocations([(ours.revoke(bad), ours.file)])
    assert found
    assert [found.hold(der(each)) for each in (bad, good, foreign)] == [True, False, False]
    assert not found.hold(None)
    assert found.hold(b"no certificate")
    assert found.due == {ours.folder / "revoked.crl": DUE.timestamp()}


def test_the_same_number_of_another_authority_is_another_certificate(authority) -> None:
    ours, theirs = authority("ours"), authority("theirs")
    mine, foreign = ours.issue("a"), theirs.issue("a")
    path = ours.folder / "list.crl"
    path.write_bytes(revocation_list(ours.ca, [serial_of(foreign)]))
    found = Revocations([(path, ours.file)])
    assert not found.hold(der(foreign)) and not found.hold(der(mine))


def test_no_lists_hold_nothing(authority) -> None:
    found = Revocations()
    assert not found and not found.hold(der(authority("ours").issue("a"))) and not found.hold(b"no certificate")


def test_several_lists_in_one_file_and_several_files(authority, tmp_path) -> None:
    one, two, three = authority("one"), authority("two"), authority("three")
    leaves = [each.issue("a") for each in (one, two, three)]
    lists, signers = tmp_path / "all.crl", tmp_path / "all.pem"
    signers.write_bytes(one.file.read_bytes() + two.file.read_bytes())
    lists.write_bytes(
        b"for people\n"
        + revocation_list(one.ca, [serial_of(leaves[0])])
        + revocation_list(two.ca, [serial_of(leaves[1])])
    )
    found = Revocations([(lists, signers), (three.revoke(leaves[2]), three.file)])
    assert all(found.hold(der(leaf)) for leaf in leaves)


def test_what_an_authority_signed_that_was_taken_back_itself_is_held(tmp_path) -> None:
    root = trustme.CA()
    middle = root.create_child_ca()
    lower = middle.create_child_ca()
    signers, lists = tmp_path / "ca.pem", tmp_path / "ca.crl"
    signers.write_bytes(b"".join(each.cert_pem.bytes() for each in (root, middle, lower)))
    number = x509.load_pem_x509_certificate(middle.cert_pem.bytes()).serial_number
    lists.write_bytes(revocation_list(root, [number]))
    found = Revocations([(lists, signers)])
    for ca, fallen in ((root, False), (middle, True), (lower, True)):
        leaf = ca.issue_cert("agent-1").cert_chain_pems[0].bytes().decode()
        assert found.hold(ssl.PEM_cert_to_DER_cert(leaf)) is fallen


@pytest.mark.parametrize("signs", ["another", "the same name"])
def test_a_list_that_no_authority_of_ours_signed_counts_for_nothing(authority, tmp_path, signs: str) -> None:
    ours, theirs = authority("ours"), authority("theirs")
    path = tmp_path / "a.crl"
    text = revocation_list(theirs.ca, [1])
    if signs == "the same name":
        kept = theirs.ca._certificate
        theirs.ca._certificate = ours.ca._certificate
        text = revocation_list(theirs.ca, [1])
        theirs.ca._certificate = kept
    path.write_bytes(text)
    with pytest.raises(
        ValueError, match=rf"cannot use revocation list {path}: no authority in {ours.file} signed the one of"
    ):
        Revocations([(path, ours.file)])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "no such file or directory"),
        (b"", "no X509 CRL in PEM"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "it is damaged"),
    ],
)
def test_a_file_of_no_use_is_one_line(authority, tmp_path, content: bytes | None, why: str) -> None:
    path = tmp_path / "a.crl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=f"cannot use revocation list {path}: {why}"):
        Revocations([(path, authority("ours").file)])


@pytest.mark.parametrize(
    "extension",
    [
        x509.DeltaCRLIndicator(1),
        x509.IssuingDistributionPoint(None, None, False, True, None, False, False),
        x509.IssuingDistributionPoint(None, None, False, False, None, True, False),
    ],
    ids=["delta", "authorities only", "indirect"],
)
def test_a_part_of_a_list_is_refused(authority, tmp_path, extension: x509.ExtensionType) -> None:
    ours = authority("ours")
    path = tmp_path / "a.crl"
    path.write_bytes(revocation_list(ours.ca, [1], extension))
    with pytest.raises(ValueError, match="it holds a part of a list; give a whole one"):
        Revocations([(path, ours.file)])
