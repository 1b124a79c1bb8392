"""TLS contexts for carriers: strict unless a field says otherwise."""

from __future__ import annotations

import functools
import os
import ssl
import stat
import weakref

from yamux.carrier import TlsOptions

HANDSHAKE_TIMEOUT = 10.0
"""Seconds. asyncio's default is 60, in which a silent peer holds a socket nobody can see."""
SHUTDOWN_TIMEOUT = 5.0
"""Seconds to wait for the peer's close_notify; asyncio's 30 would outlast a drain."""


def client_context(options: TlsOptions) -> ssl.SSLContext:
    """TLS >= 1.2, certificate and host name checked, unless `insecure_skip_verify` is set.

    Contexts are cached by options and file times, since loading the system's authorities takes tens of milliseconds
    of loop time; a renewed file is read again.

    Raises:
        ValueError: a file is missing, unreadable or not PEM; one line with its path.
    """
    files = (options.ca_file, options.cert_file, options.key_file)
    return _client_context(options, tuple(_stamp(path) for path in files))


class ServerContext(ssl.SSLContext):
    """A context for listening whose files can be read again while its listener goes on.

    Attributes:
        files: what it was made of.
        successor: what new connections get, once the files were read again.
    """

    files: TlsOptions
    successor: ssl.SSLContext | None = None


def server_context(options: TlsOptions) -> ssl.SSLContext:
    """TLS >= 1.2 with `cert_file`; with `ca_file` clients must show a certificate of those authorities.

    Not cached: whoever listens decides when to read renewed files. `renew_server_contexts` does so for all of them.

    Raises:
        ValueError: no certificate named, or a file is missing, unreadable, not PEM, or a key that everybody can read.
    """
    context = _server_context(options)
    context.sni_callback = _present_successor
    _serving.add(context)
    return context


def renew_server_contexts() -> list[str]:
    """Read the files of all contexts for listening again: connections from now on get what is there now.

    Returns what is wrong, one line each; where there is something, the context goes on with what it had.
    """
    faults = []
    for context in list(_serving):
        try:
            context.successor = _server_context(context.files)
        except ValueError as exc:
            faults.append(str(exc))
    return list(dict.fromkeys(faults))


_serving: weakref.WeakSet[ServerContext] = weakref.WeakSet()


def _present_successor(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
    """Called for every handshake, with or without a server name."""
    assert isinstance(context, ServerContext)
    if context.successor is not None:
        connection.context = context.successor


def _server_context(options: TlsOptions) -> ServerContext:
    if options.cert_file is None:
        raise ValueError("listening with TLS needs a certificate file")
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.files = options
    _harden(context)
    _load_chain(context, options)
    if options.ca_file is not None:
        for path in filter(None, (options.ca_file, options.also_ca_file)):
            _load_authorities(context, path)
        context.verify_mode = ssl.CERT_OPTIONAL if options.client_optional else ssl.CERT_REQUIRED
    return context


@functools.lru_cache(maxsize=32)
def _client_context(options: TlsOptions, stamps: tuple[tuple[int, int] | None, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    if options.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif options.ca_file is not None:
        _load_authorities(context, options.ca_file)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if options.cert_file is not None:
        _load_chain(context, options)
    return context


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # TLS compression leaks lengths (CRIME) and renegotiation is a cheap way to burn a server's CPU.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # Balancers in front of a hub pick HTTP/2 for clients that do not say what they speak.
    context.set_alpn_protocols(["http/1.1"])


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except OSError as exc:
        raise ValueError(f"cannot use CA file {path}: {_why(exc)}") from exc


def _load_chain(context: ssl.SSLContext, options: TlsOptions) -> None:
    assert options.cert_file is not None
    for path in filter(None, (options.cert_file, options.key_file)):
        if not os.access(path, os.R_OK):
            raise ValueError(f"cannot read TLS file {path}")
    _check_private(options.key_file or options.cert_file)
    try:
        # An encrypted key would make OpenSSL ask on the terminal and block the loop.
        context.load_cert_chain(options.cert_file, options.key_file, password=_no_password)
    except OSError as exc:
        raise ValueError(f"cannot use certificate {options.cert_file}: {_why(exc)}") from exc


def _check_private(path: str) -> None:
    """Raise ValueError for a private key that everybody on the machine can read. A group may: distributions have one
    for those that serve TLS."""
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode) and mode & 0o007:
        raise ValueError(f"others may read the private key {path} (mode {mode & 0o777:04o}); run: chmod o= {path}")


def _no_password() -> str:
    raise ValueError("the private key is encrypted; give one without a passphrase")


def _why(exc: OSError) -> str:
    if isinstance(exc, ssl.SSLError):
        return (exc.reason or "not PEM").replace("_", " ").lower()
    return (exc.strerror or type(exc).__name__).lower()


def _stamp(path: str | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_mtime_ns, info.st_ino
