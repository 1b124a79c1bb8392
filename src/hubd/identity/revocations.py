"""Certificates that their authorities have taken back before their end (RFC 5280, section 5).

A TLS library that checks such lists itself wants one of every authority, and lets nobody in once one is old. This hub
has authorities of three kinds, of which each may have lists or not, and says why it refuses somebody; so it looks for
itself, at each attach and once for a visitor's connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from hubd.identity.certificates import read_certificates

_PEM: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


class Revocations:
    """Lists of revoked certificates.

    Args:
        files: each with lists in PEM, and the file of the authorities that signed them.

    Attributes:
        due: by file, when the first of its lists was to be followed by a newer one, in seconds since the epoch. Lists
            that do not say when are left out.

    Raises:
        ValueError: a file cannot be used; one line with its path.
    """

    def __init__(self, files: Iterable[tuple[Path, Path]] = ()) -> None:
        self.due: dict[Path, float] = {}
        self._serials: dict[bytes, set[int]] = {}
        authorities: list[x509.Certificate] = []
        for path, signers in files:
            known = read_certificates(signers)
            authorities += known
            self._take(path, signers, known)
        self._fallen = self._find_fallen(authorities)

    def __bool__(self) -> bool:
        """Whether there are lists at all."""
        return bool(self._serials)

    def __eq__(self, other: object) -> bool:
        """Whether they hold the same certificates."""
        return isinstance(other, Revocations) and (self._serials, self._fallen) == (other._serials, other._fallen)

    __hash__ = None  # type: ignore[assignment]

    def hold(self, der: bytes | None) -> bool:
        """Whether a certificate is on a list, or below an authority that is. Takes some 20 us."""
        if der is None or not self._serials:
            return False
        try:
            certificate = x509.load_der_x509_certificate(der)
            issuer = certificate.issuer.public_bytes()
            return issuer in self._fallen or certificate.serial_number in self._serials.get(issuer, ())
        except ValueError:
            # Nobody can tell which one this is.
            return True

    def _take(self, path: Path, signers: Path, authorities: list[x509.Certificate]) -> None:
        for found in _read_lists(path):
            issuer = found.issuer.public_bytes()
            if not any(_signed(found, authority) for authority in authorities):
                raise ValueError(
                    f"cannot use revocation list {path}: no authority in {signers} signed the one of "
                    f"{found.issuer.rfc4514_string()}"
                )
            self._serials.setdefault(issuer, set()).update(entry.serial_number for entry in found)
            if found.next_update_utc is not None:
                ends = found.next_update_utc.timestamp()
                self.due[path] = min(self.due.get(path, ends), ends)

    def _find_fallen(self, authorities: list[x509.Certificate]) -> frozenset[bytes]:
        """Names of authorities of which no certificate is left that has not been taken back."""
        fallen: frozenset[bytes] = frozenset()
        while True:
            standing = {
                each.subject.public_bytes()
                for each in authorities
                if each.serial_number not in self._serials.get(each.issuer.public_bytes(), ())
                and (each.issuer == each.subject or each.issuer.public_bytes() not in fallen)
            }
            found = frozenset(each.subject.public_bytes() for each in authorities) - standing
            if found == fallen:
                return fallen
            fallen = found


def _read_lists(path: Path) -> list[x509.CertificateRevocationList]:
    try:
        found = [x509.load_pem_x509_crl(text) for text in _PEM.findall(path.read_bytes())]
        whole = not any(_is_partial(each) for each in found)
    except OSError as exc:
        raise ValueError(f"cannot use revocation list {path}: {(exc.strerror or 'unreadable').lower()}") from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise ValueError(f"cannot use revocation list {path}: it is damaged") from exc
    if not found:
        raise ValueError(f"cannot use revocation list {path}: no X509 CRL in PEM")
    if not whole:
        raise ValueError(f"cannot use revocation list {path}: it holds a part of a list; give a whole one")
    return found


def _is_partial(found: x509.CertificateRevocationList) -> bool:
    """Whether a list tells only what is new, or only of some certificates, or of other authorities' ones."""
    for extension in found.extensions:
        if isinstance(extension.value, x509.DeltaCRLIndicator):
            return True
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            point = extension.value
            return bool(
                point.indirect_crl
                or point.only_some_reasons
                or point.only_contains_ca_certs
                or point.only_contains_attribute_certs
            )
    return False


def _signed(found: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    try:
        return found.issuer == authority.subject and found.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False
