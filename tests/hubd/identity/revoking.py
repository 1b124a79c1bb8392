"""Lists of revoked certificates, made as an authority makes them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DUE = NOW + dt.timedelta(7)


def serial_of(path: Path) -> int:
    """The serial number of the first certificate in a file."""
    text = path.read_bytes()
    return x509.load_pem_x509_certificate(text[text.index(b"-----BEGIN CERTIFICATE") :]).serial_number


def revocation_list(
    ca: trustme.CA, serials: Iterable[int], *extensions: x509.ExtensionType, due: dt.datetime = DUE
) -> bytes:
    """A list of this authority's, PEM."""
    issuer = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    builder = x509.CertificateRevocationListBuilder(issuer.subject, last_update=NOW, next_update=due)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder(serial, NOW).build()
        builder = builder.add_revoked_certificate(entry)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    key = serialization.load_pem_private_key(ca.private_key_pem.bytes(), None)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]
