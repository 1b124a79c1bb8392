"""Certificates, keys and authorities that cannot be used, and hubs that hang up on a handshake."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from tunnelctl import tlsfiles
from tunnelctl.problems import Code, Problem
from tunnelctl.settings import Context


class Files:
    """An authority and what it signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = str(folder / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca)

    def issue(self, name: str, **more: object) -> tuple[str, str]:
        issued = self.authority.issue_cert(name, **more)
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        key.chmod(0o600)
        return str(cert), str(key)

    def context(self, name: str = "", **more: str) -> Context:
        cert, key = self.issue(name) if name else (None, None)
        return Context(address="h:1", **{"ca_file": self.ca, "cert_file": cert, "key_file": key, **more})


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def refusal(files: Context) -> Problem:
    with pytest.raises(Problem) as caught:
        tlsfiles.check(files)
    (line,) = caught.value.lines
    assert "\n" not in line
    return caught.value


def test_good_files_are_good(files):
    assert tlsfiles.check(files.context("me")).verify_mode is ssl.CERT_REQUIRED
    cert, key = files.issue("both")
    both = files.folder / "both-in-one.pem"
    both.write_text(Path(cert).read_text() + Path(key).read_text())
    both.chmod(0o640)
    tlsfiles.check(Context(address="h:1", cert_file=str(both)))


def test_files_that_are_no_good_are_named(files, tmp_path):
    cert, key = files.issue("me")
    other = files.issue("other")[1]
    words = tmp_path / "words"
    words.write_text("none")
    locked = tmp_path / "locked.key"
    pem = Path(key).read_bytes()
    from cryptography.hazmat.primitives import serialization as s

    locked.write_bytes(
        s.load_pem_private_key(pem, None).private_bytes(
            s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"x")
        )
    )
    for given, expected in (
        ({"ca_file": str(words)}, f"{words}: no certificates of authorities"),
        ({"ca_file": "/nowhere/ca.pem"}, "/nowhere/ca.pem: No such file"),
        ({"cert_file": "/nowhere/me.pem"}, "/nowhere/me.pem: No such file"),
        ({"cert_file": cert}, f"{cert}: no certificate with its private key in it; --key-file"),
        ({"cert_file": cert, "key_file": "/nowhere/me.key"}, "/nowhere/me.key: No such file"),
        ({"cert_file": cert, "key_file": other}, f"{other}: not the key of the certificate {cert}"),
        ({"cert_file": cert, "key_file": str(words)}, f"{cert} and {words}: not a certificate and"),
        ({"cert_file": cert, "key_file": str(locked)}, f"{locked}: the private key is encrypted"),
    ):
        problem = refusal(Context(address="h:1", **given))
        assert problem.lines[0].startswith(expected), problem.lines
        assert problem.code is Code.CONFIG
    Path(key).chmod(0o644)
    assert "chmod o= " in refusal(Context(address="h:1", cert_file=cert, key_file=key)).lines[0]


def test_a_key_alone_does_not_end_the_process(files):
    problem = refusal(Context(address="h:1", key_file=files.issue("me")[1]))
    assert problem.code is Code.USAGE
    assert "--cert-file" in problem.lines[0]


@contextmanager
def server(context: ssl.SSLContext | None, *, greets: bool = True) -> Iterator[int]:
    """Takes one connection; with a context it shakes hands, and says something to those it lets in."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            plain, _ = listener.accept()
            with plain:
                if context is None:
                    plain.recv(1)
                    plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    return
                try:
                    with context.wrap_socket(plain, server_side=True) as secure:
                        if greets:
                            secure.sendall(b"settings")
                        secure.recv(1)
                except OSError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def listening(files: Files, *, mutual: bool = True, **more: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files.issue("127.0.0.1", **more))
    if mutual:
        context.load_verify_locations(files.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def told(files: Context, context: ssl.SSLContext | None) -> Problem | None:
    with server(context) as port:
        return tlsfiles.explain("127.0.0.1", port, "hub:1", files)


def test_a_hub_that_lets_us_in_has_another_fault(files):
    assert told(files.context("me"), listening(files)) is None


def test_nobody_there_is_not_about_certificates(files):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert tlsfiles.explain("127.0.0.1", port, "hub:1", files.context("me")) is None


def test_certificates_the_hub_refuses(files, tmp_path):
    (tmp_path / "foreign").mkdir()
    foreign = Files(tmp_path / "foreign").context("me", ca_file=files.ca)
    old = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    cert, key = files.issue("old", not_before=old, not_after=old + dt.timedelta(days=1))
    expired = files.context(cert_file=cert, key_file=key)
    for given, reason, words in (
        (files.context(), "CERTIFICATE_MISSING", "asks for a client certificate"),
        (foreign, "CERTIFICATE_REFUSED", f"refuses the certificate {foreign.cert_file}: it trusts no authority"),
        (expired, "CERTIFICATE_EXPIRED", f"refuses the certificate {cert}: it expired at 2020-01-02"),
    ):
        problem = told(given, listening(files))
        assert (problem.code, problem.status, problem.reason) == (Code.DENIED, "UNAUTHENTICATED", reason)
        assert words in problem.lines[0] and "--cert-file" in problem.hint


def test_hubs_that_are_not_to_be_trusted(files, tmp_path):
    (tmp_path / "foreign").mkdir()
    foreign = Files(tmp_path / "foreign")
    old = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    for context, words, hint in (
        (listening(foreign, mutual=False), "no authority that is trusted here has signed it", "--ca-file"),
        (listening(files, mutual=False, not_before=old, not_after=old), "certificate has expired", "--ca-file"),
    ):
        problem = told(files.context("me"), context)
        assert problem.code is Code.UNAVAILABLE
        assert problem.lines[0].endswith(f"its certificate is not to be trusted: {words}")
        assert hint in problem.hint
    problem = told(files.context("me", server_name="other"), listening(files, mutual=False))
    assert "mismatch" in problem.lines[0] and "--server-name" in problem.hint


def test_a_port_that_speaks_something_else(files):
    problem = told(files.context("me"), None)
    assert (problem.code, problem.reason) == (Code.UNAVAILABLE, "HUB_AWAY")
    assert "does not speak TLS" in problem.lines[0] and "admin.listen" in problem.hint
