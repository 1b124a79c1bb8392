"""A new certificate in the place of one that ``hubd init`` made: same names, same key, signed by the same authority.

With the key the same, one file is exchanged, in one step: a hub that reads its files at that moment finds a pair.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hubd.setup.authority import Issued, issue
from hubd.setup.plan import SetupError
from tunnel.replacing import replace


@dataclass(frozen=True, slots=True)
class Renewed:
    """What came of it: the file, and the end of its certificate's time."""

    path: Path
    until: dt.datetime


def renew(folder: Path, now: dt.datetime, authority_key: Path | None = None) -> Renewed:
    """Exchange the hub's certificate.

    Args:
        folder: what ``hubd init`` was told to write to.
        now: start of the new certificate's time.
        authority_key: where the authority's key is, if not beside its certificate.

    Raises:
        SetupError: nothing there was made by ``hubd init``, or a file cannot be used. Nothing was changed.
    """
    path, ca_path = folder / "hub.pem", folder / "ca.pem"
    if not (folder / "hubd.toml").exists():
        raise SetupError(f"{folder} has no setup to renew: hubd init --dir {folder} makes one")
    if not ca_path.exists():
        raise SetupError(f"{ca_path} is not there, so the certificate is of another authority: renew it with that one")
    authority = Issued(_read(ca_path), _read(authority_key or folder / "ca.key"))
    old, ca = _certificate(path, _read(path)), _certificate(ca_path, authority.certificate)
    key_path = folder / "hub.key"
    ca_key, key = _key(authority_key or folder / "ca.key", authority.key), _key(key_path, _read(key_path))
    _check(old, ca, ca_key, key, now, folder)
    names = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    told = [str(name) for kind in (x509.DNSName, x509.IPAddress) for name in names.get_values_for_type(kind)]
    common = old.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    told.sort(key=lambda name: name != common)
    new = issue(authority, told, now, key=key, until=ca.not_valid_after_utc)
    try:
        replace(path, new.certificate, like=path.stat())
    except OSError as exc:
        raise SetupError(f"cannot write {path}: {exc.strerror}; run this as its owner") from exc
    return Renewed(path, x509.load_pem_x509_certificate(new.certificate).not_valid_after_utc)


def _check(
    old: x509.Certificate,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
    folder: Path,
) -> None:
    if ca.public_key() != ca_key.public_key():
        raise SetupError(f"the authority's key does not belong to {folder / 'ca.pem'}")
    if old.public_key() != key.public_key():
        raise SetupError(f"{folder / 'hub.key'} does not belong to {folder / 'hub.pem'}")
    try:
        old.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature) as exc:
        raise SetupError(
            f"{folder / 'hub.pem'} was not signed by {folder / 'ca.pem'}: renew it where it is from"
        ) from exc
    if ca.not_valid_after_utc <= now:
        raise SetupError(
            f"the authority itself ended on {ca.not_valid_after_utc:%Y-%m-%d}: run hubd init with another --dir, and give "
            "every agent the new ca.pem"
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        hint = ": put it back for this, or name it with --ca-key" if path.name == "ca.key" else ""
        raise SetupError(f"{path} is not there{hint}") from None
    except OSError as exc:
        raise SetupError(f"cannot read {path}: {exc.strerror}; run this as its owner") from exc


def _certificate(path: Path, content: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError as exc:
        raise SetupError(f"{path} has no certificate in PEM") from exc


def _key(path: Path, content: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError) as exc:
        raise SetupError(f"{path} has no private key in PEM without a password") from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SetupError(f"{path} is no key that hubd init made")
    return key
