"""TLS contexts: strict by default, read again when a file changes, and clear about files that cannot be used."""

from __future__ import annotations

import dataclasses
import os
import shutil
import ssl
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from carrier_api import tls
from carrier_api.tls import client_context, renew_server_contexts, server_context
from yamux.carrier import TlsOptions

if TYPE_CHECKING:
    from tests.plugins.conftest import Certificates


@pytest.fixture(autouse=True)
def fresh_cache() -> Iterator[None]:
    tls._client_context.cache_clear()
    yield
    tls._client_context.cache_clear()


def shake_hands(
    client: ssl.SSLContext, server: ssl.SSLContext, name: str = "localhost"
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends after a handshake in memory; raises what the first end that refuses raises."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(down, up, server_hostname=name)
    far = server.wrap_bio(up, down, server_side=True)
    waiting = [near, far]
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
        if not waiting:
            return near, far
    raise AssertionError("the handshake does not end")


def old_context(protocol: int) -> ssl.SSLContext:
    """A peer that speaks nothing newer than TLS 1.1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = ssl.SSLContext(protocol)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def authorities(context: ssl.SSLContext) -> set[str]:
    return {str(entry["serialNumber"]) for entry in context.get_ca_certs()}


def test_the_server_and_its_name_are_verified(certificates: Certificates) -> None:
    context = client_context(certificates.client)
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
    server = server_context(certificates.server)
    near, _ = shake_hands(context, server)
    assert near.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match=r"hub\.example"):
        shake_hands(context, server, "hub.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer|self.signed"):
        shake_hands(client_context(TlsOptions(ca_file=certificates.stranger)), server)


def test_named_authorities_replace_those_of_the_system(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificates.stranger)
    monkeypatch.setenv("SSL_CERT_DIR", str(certificates.folder / "none"))
    system = authorities(client_context(TlsOptions()))
    named = authorities(client_context(certificates.client))
    assert len(system) == len(named) == 1 and system.isdisjoint(named)
    assert client_context(TlsOptions()).verify_mode == ssl.CERT_REQUIRED
    assert client_context(TlsOptions()).check_hostname


def test_only_the_switch_turns_verification_off(certificates: Certificates) -> None:
    context = client_context(TlsOptions(insecure_skip_verify=True))
    assert context.verify_mode == ssl.CERT_NONE and not context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    shake_hands(context, server_context(certificates.server), "hub.example")


@pytest.mark.parametrize("switch", [False, True])
def test_tls_1_2_is_the_floor_of_clients(certificates: Certificates, switch: bool) -> None:
    old = old_context(ssl.PROTOCOL_TLS_SERVER)
    assert certificates.server.cert_file is not None
    old.load_cert_chain(certificates.server.cert_file)
    context = client_context(dataclasses.replace(certificates.client, insecure_skip_verify=switch))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol"):
        shake_hands(context, old)


def test_tls_1_2_is_the_floor_of_servers(certificates: Certificates) -> None:
    old = old_context(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(certificates.authority)
    context = server_context(certificates.server)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol"):
        shake_hands(old, context)
    # The same client is fine with a server of its age, so it is the floor that refuses.
    aged = old_context(ssl.PROTOCOL_TLS_SERVER)
    assert certificates.server.cert_file is not None
    aged.load_cert_chain(certificates.server.cert_file)
    near, _ = shake_hands(old, aged)
    assert near.version() == "TLSv1.1"


def test_tls_1_2_itself_is_spoken(certificates: Certificates) -> None:
    server = server_context(certificates.server)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    near, _ = shake_hands(client_context(certificates.client), server)
    assert near.version() == "TLSv1.2" and near.compression() is None


def test_both_sides_say_http_1_1_and_renegotiate_nothing(certificates: Certificates) -> None:
    client, server = client_context(certificates.client), server_context(certificates.server)
    for context in (client, server):
        assert context.options & ssl.OP_NO_RENEGOTIATION and context.options & ssl.OP_NO_COMPRESSION
    near, far = shake_hands(client, server)
    assert near.selected_alpn_protocol() == far.selected_alpn_protocol() == "http/1.1"
    balancer = server_context(certificates.server)
    balancer.set_alpn_protocols(["h2", "http/1.1"])
    near, _ = shake_hands(client, balancer)
    assert near.selected_alpn_protocol() == "http/1.1"


def test_a_server_with_authorities_wants_client_certificates(certificates: Certificates) -> None:
    server = server_context(dataclasses.replace(certificates.server, ca_file=certificates.authority))
    assert server.verify_mode == ssl.CERT_REQUIRED
    mine = dataclasses.replace(certificates.client, cert_file=certificates.client_cert)
    _, far = shake_hands(client_context(mine), server)
    shown = far.getpeercert()
    assert shown is not None and ("email", "agent@example.org") in shown["subjectAltName"]
    with pytest.raises(ssl.SSLError, match=r"(?i)did not return a certificate"):
        shake_hands(client_context(certificates.client), server)


def test_a_client_certificate_of_a_stranger_is_refused(certificates: Certificates, tmp_path: Path) -> None:
    path = tmp_path / "foreign.pem"
    trustme.CA().issue_cert("agent@example.org").private_key_and_cert_chain_pem.write_to_path(str(path))
    server = server_context(dataclasses.replace(certificates.server, ca_file=certificates.authority))
    foreign = dataclasses.replace(certificates.client, cert_file=str(path))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client_context(foreign), server)


def test_a_server_without_authorities_asks_for_no_certificate(certificates: Certificates) -> None:
    server = server_context(certificates.server)
    assert server.verify_mode == ssl.CERT_NONE
    mine = dataclasses.replace(certificates.client, cert_file=certificates.client_cert)
    _, far = shake_hands(client_context(mine), server)
    assert far.getpeercert() is None


def copied(source: str | None, target: Path) -> str:
    assert source is not None
    shutil.copyfile(source, target)
    return str(target)


@pytest.fixture
def options(certificates: Certificates, tmp_path: Path) -> TlsOptions:
    """A client's options with three files that a test may change."""
    return TlsOptions(
        ca_file=copied(certificates.authority, tmp_path / "ca.pem"),
        cert_file=copied(certificates.client_cert, tmp_path / "cert.pem"),
        key_file=copied(certificates.client_cert, tmp_path / "key.pem"),
    )


def rename_over(path: str) -> None:
    fresh = Path(path).with_suffix(".new")
    shutil.copy2(path, fresh)
    # The old inode stays in use, as it does when a mounted secret is exchanged.
    Path(path).rename(f"{path}.old")
    fresh.rename(path)


def write_in_place(path: str) -> None:
    info = os.stat(path)
    Path(path).write_bytes(Path(path).read_bytes())
    # Two writes may fall into one tick of the file system's clock.
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns + 1_000_000_000))


def test_contexts_are_cached_by_their_options(options: TlsOptions) -> None:
    first = client_context(options)
    assert client_context(dataclasses.replace(options)) is first
    assert client_context(dataclasses.replace(options, cert_file=None, key_file=None)) is not first
    assert client_context(dataclasses.replace(options, insecure_skip_verify=True)) is not first
    assert client_context(options).verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize("change", [rename_over, write_in_place])
@pytest.mark.parametrize("field", ["ca_file", "cert_file", "key_file"])
def test_a_changed_file_is_read_again(options: TlsOptions, field: str, change: Callable[[str], None]) -> None:
    first = client_context(options)
    change(getattr(options, field))
    second = client_context(options)
    assert second is not first
    assert client_context(options) is second


def test_what_a_renewed_file_says_counts(certificates: Certificates, options: TlsOptions) -> None:
    server = server_context(certificates.server)
    shake_hands(client_context(options), server)
    assert options.ca_file is not None
    shutil.copyfile(certificates.stranger, options.ca_file)
    os.utime(options.ca_file, ns=(0, 0))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client_context(options), server)


def test_a_file_that_vanished_is_a_fault_until_it_is_back(options: TlsOptions) -> None:
    client_context(options)
    assert options.ca_file is not None
    path = Path(options.ca_file)
    text = path.read_bytes()
    path.unlink()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"cannot use CA file .*ca\.pem: no such file"):
            client_context(options)
    path.write_bytes(text)
    assert client_context(options).verify_mode == ssl.CERT_REQUIRED


def test_server_contexts_are_made_anew(certificates: Certificates) -> None:
    assert server_context(certificates.server) is not server_context(certificates.server)


@pytest.fixture
def bad_files(certificates: Certificates, tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.pem").touch()
    (tmp_path / "rubbish.pem").write_text("no certificate\n")
    (tmp_path / "torn.pem").write_bytes(Path(certificates.authority).read_bytes()[:200])
    copied(certificates.authority, tmp_path / "keyless.pem")
    copied(certificates.client_cert, tmp_path / "other.pem")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.pem", "no such file or directory"),
        ("folder", "is a directory"),
        ("empty.pem", "no certificate or crl found"),
        ("rubbish.pem", "no certificate or crl found"),
        ("torn.pem", "bad end line|no certificate or crl found|not pem"),
    ],
)
def test_bad_authorities_are_one_line_with_the_path(
    certificates: Certificates, bad_files: Path, name: str, reason: str
) -> None:
    path = str(bad_files / name)
    for make, options in (
        (client_context, TlsOptions(ca_file=path)),
        (server_context, dataclasses.replace(certificates.server, ca_file=path)),
    ):
        with pytest.raises(ValueError, match=rf"\Acannot use CA file [^\n]*/{name}: (?:{reason})\Z"):
            make(options)


@pytest.mark.parametrize("make", [client_context, server_context])
@pytest.mark.parametrize(
    ("cert", "key", "line"),
    [
        ("missing.pem", None, r"cannot read TLS file \S*/missing\.pem"),
        ("other.pem", "missing.key", r"cannot read TLS file \S*/missing\.key"),
        ("folder", None, r"cannot use certificate \S*/folder: is a directory"),
        ("rubbish.pem", None, r"cannot use certificate \S*/rubbish\.pem: [a-z ]+"),
        ("empty.pem", None, r"cannot use certificate \S*/empty\.pem: [a-z ]+"),
        ("keyless.pem", None, r"cannot use certificate \S*/keyless\.pem: [a-z ]+"),
        ("other.pem", "foreign.key", r"cannot use certificate \S*/other\.pem: key values mismatch"),
    ],
)
def test_bad_certificates_and_keys_are_one_line_with_the_path(
    bad_files: Path, make: Callable[[TlsOptions], ssl.SSLContext], cert: str, key: str | None, line: str
) -> None:
    trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("x.example").private_key_pem.write_to_path(
        str(bad_files / "foreign.key")
    )
    options = TlsOptions(cert_file=str(bad_files / cert), key_file=str(bad_files / key) if key else None)
    with pytest.raises(ValueError, match=rf"\A{line}\Z"):
        make(options)


def test_a_server_needs_a_certificate(certificates: Certificates) -> None:
    for options in (TlsOptions(), TlsOptions(ca_file=certificates.authority)):
        with pytest.raises(ValueError, match=r"\Alistening with TLS needs a certificate file\Z"):
            server_context(options)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602])
def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "own.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    path.chmod(mode)
    for make in (server_context, client_context):
        with pytest.raises(
            ValueError, match=rf"others may read the private key .* \(mode {mode:04o}\); run: chmod o= "
        ):
            make(TlsOptions(cert_file=str(path)))
    path.chmod(0o640)
    server_context(TlsOptions(cert_file=str(path)))


def test_renewed_files_are_presented_without_a_new_listener(tmp_path: Path) -> None:
    first, second = trustme.CA(), trustme.CA()
    path, ca = tmp_path / "own.pem", tmp_path / "ca.pem"

    def install(authority: trustme.CA) -> None:
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(path))
        authority.cert_pem.write_to_path(str(ca))

    install(first)
    server = server_context(TlsOptions(cert_file=str(path), ca_file=str(ca)))
    install(second)
    client = ssl.create_default_context(cafile=str(ca))
    client.load_cert_chain(path)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, server)
    assert renew_server_contexts() == []
    near, far = shake_hands(client, server)
    near.write(b"x")
    assert far.read(1) == b"x"
    assert far.getpeercert(binary_form=True), "the authorities of clients are the new ones as well"
    path.write_text("rubbish")
    (fault,) = renew_server_contexts()
    assert fault.startswith(f"cannot use certificate {path}")
    shake_hands(client, server)
