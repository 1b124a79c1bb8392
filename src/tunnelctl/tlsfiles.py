"""TLS to the hub, as far as a user can get it wrong: files that cannot be used, and why a hub hangs up on a handshake.

gRPC tells neither: of a bad file it says "empty address list", of a certificate that was refused "socket closed", and
for a key without a certificate it ends the process. So the files are tried before, and the handshake after.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
import ssl
import stat
from typing import NoReturn

from tunnelctl.problems import Code, Problem, unreachable
from tunnelctl.settings import Context

# For a connection and a handshake, each: the hub was asked a moment ago and somebody answered.
_DEADLINE = 3.0
# What OpenSSL calls a missing issuer and a certificate that is its own (X509_V_ERR_…).
_UNSIGNED = (18, 19, 20, 21)
_OWN = "--cert-file and --key-file name a certificate that the hub's admin.client_ca has signed, or a context does"


def check(files: Context) -> ssl.SSLContext:
    """Return what the files of a context make. Raises Problem if they cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    if files.ca_file is not None:
        try:
            context.load_verify_locations(_readable(files.ca_file))
        except OSError:
            _bad(f"{files.ca_file}: no certificates of authorities in it; --ca-file wants them as PEM")
    if files.cert_file is None:
        if files.key_file is not None:
            raise Problem(
                f"{files.key_file}: a key alone is no credential; --cert-file names its certificate",
                code=Code.USAGE,
                reason="BAD_FLAG",
            )
        return context
    key = files.key_file or files.cert_file
    try:
        context.load_cert_chain(_readable(files.cert_file), _readable(key), password=lambda: _encrypted(key))
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            _bad(f"{key}: not the key of the certificate {files.cert_file}")
        if files.key_file is None:
            _bad(f"{key}: no certificate with its private key in it; --key-file names the file of the key")
        _bad(f"{files.cert_file} and {key}: not a certificate and its private key, as PEM")
    _private(key)
    return context


def explain(host: str, port: int, shown: str, files: Context) -> Problem | None:
    """Return why a handshake with a hub fails, or None if it is not the handshake. Blocks for seconds at most."""
    context = check(files)
    if files.ca_file is None:
        context.load_default_certs()
    try:
        with socket.create_connection((host, port), _DEADLINE) as plain:
            return _shake(context, plain, host, shown, files)
    except OSError:
        return None


def _shake(context: ssl.SSLContext, plain: socket.socket, host: str, shown: str, files: Context) -> Problem | None:
    """Raises OSError, if it is not TLS that fails."""
    try:
        secure = context.wrap_socket(plain, server_hostname=files.server_name or host)
    except ssl.SSLCertVerificationError as error:
        return _untrusted(shown, error)
    except TimeoutError:
        raise
    except (ssl.SSLError, ConnectionError):
        return unreachable(shown, "it does not speak TLS there", "is it the port of the management API (admin.listen)?")
    with secure:
        # Since TLS 1.3 a client is through before its certificate has been looked at. A hub that takes it speaks first.
        try:
            heard = secure.recv(1)
        except (ssl.SSLError, ConnectionError) as error:
            if isinstance(error, TimeoutError):
                raise
            heard = b""
    return None if heard else _refused(shown, files)


def _refused(shown: str, files: Context) -> Problem:
    if files.cert_file is None:
        return _denied(f"the hub at {shown} asks for a client certificate", "CERTIFICATE_MISSING")
    begins, ends = _dates(files.cert_file)
    now = dt.datetime.now(dt.UTC)
    reason, why = "CERTIFICATE_REFUSED", "it trusts no authority that has signed it"
    if now > ends:
        reason, why = "CERTIFICATE_EXPIRED", f"it expired at {ends:%Y-%m-%d %H:%M} UTC"
    elif now < begins:
        reason, why = "CERTIFICATE_EXPIRED", f"it is not valid before {begins:%Y-%m-%d %H:%M} UTC"
    return _denied(f"the hub at {shown} refuses the certificate {files.cert_file}: {why}", reason)


def _dates(cert_file: str) -> tuple[dt.datetime, dt.datetime]:
    # Three hundred milliseconds to import: wanted here only.
    from cryptography import x509

    with open(cert_file, "rb") as file:
        found = x509.load_pem_x509_certificate(file.read())
    return found.not_valid_before_utc, found.not_valid_after_utc


def _untrusted(shown: str, error: ssl.SSLCertVerificationError) -> Problem:
    hint, why = "--ca-file names the authorities to trust", error.verify_message.rstrip(".")
    if error.verify_code in _UNSIGNED:
        why = "no authority that is trusted here has signed it"
    elif "mismatch" in why:
        hint = "--server-name says which name its certificate has"
    return unreachable(shown, f"its certificate is not to be trusted: {why[:1].lower()}{why[1:]}", hint)


def _denied(line: str, reason: str) -> Problem:
    return Problem(line, hint=_OWN, code=Code.DENIED, status="UNAUTHENTICATED", reason=reason)


def _readable(path: str) -> str:
    try:
        with open(path, "rb"):
            return path
    except OSError as error:
        _bad(f"{path}: {error.strerror}")


def _private(path: str) -> None:
    """Refuse a key that everybody on the machine can read, as the daemons do. A group may."""
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode) and mode & 0o007:
        _bad(f"{path}: others may read this private key (mode {mode & 0o777:04o}); run: chmod o= {path}")


def _encrypted(path: str) -> NoReturn:
    # OpenSSL would ask on the terminal.
    _bad(f"{path}: the private key is encrypted; give one without a passphrase")


def _bad(line: str) -> NoReturn:
    raise Problem(line, code=Code.CONFIG, reason="BAD_TLS_FILE")
