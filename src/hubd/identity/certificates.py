"""Client certificates: whose authority signed one, and which names it carries.

The TLS listener has checked a certificate's signature, dates and purpose by the time it comes here. But it trusts the
authorities of agents and those of visitors alike, so who signed is asked again: directly, without intermediates between
(those stand in the file of authorities themselves).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

_NO_NAMES: Final[frozenset[str]] = frozenset()


class Authorities:
    """The authorities of one kind of client.

    Args:
        path: PEM file with their certificates.

    Raises:
        ValueError: the file cannot be used; one line with its path.
    """

    def __init__(self, path: Path) -> None:
        self._issuers = read_certificates(path)

    def names(self, der: bytes | None) -> frozenset[str]:
        """The names in a certificate one of these authorities signed: DNS names, mail addresses, URIs and the common
        name. None for another's certificate. Takes some 50 us, so once for a connection."""
        if der is None:
            return _NO_NAMES
        try:
            certificate = x509.load_der_x509_certificate(der)
            signed = any(_issued(certificate, issuer) for issuer in self._issuers)
            return frozenset(_names(certificate)) if signed else _NO_NAMES
        except ValueError:
            return _NO_NAMES

    def signed(self, der: bytes | None) -> bool:
        """Whether one of these authorities signed a certificate, whatever its names."""
        if der is None:
            return False
        try:
            certificate = x509.load_der_x509_certificate(der)
            return any(_issued(certificate, issuer) for issuer in self._issuers)
        except ValueError:
            return False


def read_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates in a file of authorities, PEM.

    Raises:
        ValueError: it cannot be used; one line with its path.
    """
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as exc:
        raise ValueError(f"cannot use CA file {path}: {(exc.strerror or 'unreadable').lower()}") from exc
    except ValueError as exc:
        raise ValueError(f"cannot use CA file {path}: no certificate in PEM") from exc


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _names(certificate: x509.Certificate) -> list[str]:
    found = [str(part.value) for part in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        others = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return found
    for kind in (x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier):
        found += others.get_values_for_type(kind)
    return found
