from __future__ import annotations

import asyncio
import dataclasses
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from carrier_api import client_context, kit, server_context
from carrier_tls import TlsCarrier, tunnel_carriers
from yamux.carrier import Listener, TlsOptions
from yamux.testing import Recorder

if TYPE_CHECKING:
    from tests.plugins.conftest import Certificates

CARRIER = TlsCarrier()


@pytest.mark.parametrize("check", kit.CHECKS, ids=kit.name_of)
async def test_compliance(check: kit.Check, certificates: Certificates, silent_port: int) -> None:
    bench = kit.Bench(
        CARRIER,
        "tls://127.0.0.1:0",
        client_tls=certificates.client,
        server_tls=certificates.server,
        silent_url=f"tls://127.0.0.1:{silent_port}",
    )
    await kit.run(bench, [check])


def test_urls() -> None:
    (carrier,) = tunnel_carriers()
    address = carrier.parse("tls://hub.example/base")
    assert (address.port, address.path, address.secure, address.authority) == (443, "/base", True, "hub.example")
    assert carrier.parse("tls://hub.example:8443").authority == "hub.example:8443"


async def _listen(tls: TlsOptions) -> Listener:
    return await CARRIER.listen(CARRIER.parse("tls://127.0.0.1:0"), Recorder, tls=tls, backlog=8)


async def _dial(listener: Listener, tls: TlsOptions, host: str = "127.0.0.1") -> Recorder:
    port = CARRIER.parse(listener.addresses[0]).port
    client = Recorder()
    await CARRIER.dial(CARRIER.parse(f"tls://{host}:{port}"), lambda: client, tls=tls, timeout=30)
    return client


async def _end(listener: Listener, *clients: Recorder) -> None:
    for client in clients:
        client.transport.abort()
        await client.lost()
    listener.close()
    await listener.wait_closed()


async def test_unknown_authority_is_refused(certificates: Certificates) -> None:
    listener = await _listen(certificates.server)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"the certificate of 127\.0\.0\.1:\d+ is not trusted: "):
        await _dial(listener, TlsOptions(ca_file=certificates.stranger))
    with pytest.raises(ssl.SSLCertVerificationError):
        await _dial(listener, TlsOptions())
    await _end(listener)


async def test_wrong_name_is_refused(certificates: Certificates) -> None:
    listener = await _listen(certificates.server)
    wrong = dataclasses.replace(certificates.client, server_name="hub.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="hub.example"):
        await _dial(listener, wrong)
    right = dataclasses.replace(certificates.client, server_name="localhost")
    await _end(listener, await _dial(listener, right))


async def test_only_the_explicit_field_switches_verification_off(certificates: Certificates) -> None:
    listener = await _listen(certificates.server)
    client = await _dial(listener, TlsOptions(insecure_skip_verify=True))
    await _end(listener, client)


async def test_tls_1_1_is_refused(certificates: Certificates) -> None:
    assert client_context(certificates.client).minimum_version == ssl.TLSVersion.TLSv1_2
    assert server_context(certificates.server).minimum_version == ssl.TLSVersion.TLSv1_2


async def test_client_certificate_is_required_when_the_server_names_authorities(certificates: Certificates) -> None:
    listener = await _listen(dataclasses.replace(certificates.server, ca_file=certificates.authority))
    with_cert = dataclasses.replace(certificates.client, cert_file=certificates.client_cert)
    good = await _dial(listener, with_cert)
    # In TLS 1.3 the client is done before the server has looked at its certificate.
    bad = await _dial(listener, certificates.client)
    await bad.lost()
    assert bad.size == 0
    await _end(listener, good)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (TlsOptions(), "listening with TLS needs a certificate file"),
        (TlsOptions(cert_file="/nonexistent/cert.pem"), "cannot read TLS file /nonexistent/cert.pem"),
    ],
)
async def test_a_listener_without_a_usable_certificate(options: TlsOptions, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        await _listen(options)


async def test_faulty_files_are_named(certificates: Certificates) -> None:
    rubbish = certificates.folder / "rubbish.pem"
    rubbish.write_text("no certificate\n")
    with pytest.raises(ValueError, match=r"cannot use CA file .*rubbish\.pem: "):
        client_context(TlsOptions(ca_file=str(rubbish)))
    with pytest.raises(ValueError, match=r"cannot use CA file /nonexistent: no such file"):
        client_context(TlsOptions(ca_file="/nonexistent"))
    with pytest.raises(ValueError, match=r"cannot use certificate .*rubbish\.pem: "):
        server_context(TlsOptions(cert_file=str(rubbish)))


def test_encrypted_keys_are_refused_without_asking(certificates: Certificates) -> None:
    from cryptography.hazmat.primitives import serialization

    pem = (certificates.folder / "server.pem").read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(b"secret"),
    )
    path = certificates.folder / "locked.key"
    path.write_bytes(locked)
    with pytest.raises(ValueError, match="encrypted"):
        server_context(TlsOptions(cert_file=certificates.server.cert_file, key_file=str(path)))


def test_contexts_are_cached_until_a_file_changes(certificates: Certificates) -> None:
    copy = certificates.folder / "copy.pem"
    copy.write_text((certificates.folder / "ca.pem").read_text())
    options = TlsOptions(ca_file=str(copy))
    first = client_context(options)
    assert client_context(options) is first
    replaced = certificates.folder / "copy.new"
    replaced.write_text((certificates.folder / "stranger.pem").read_text())
    replaced.replace(copy)
    assert client_context(options) is not first


async def test_a_plain_server_is_a_clear_tls_error() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(OSError, match=rf"127\.0\.0\.1:{port}"):
        await CARRIER.dial(CARRIER.parse(f"tls://127.0.0.1:{port}"), Recorder, tls=TlsOptions(), timeout=30)
    server.close()
    await server.wait_closed()


async def test_a_server_that_hangs_up_is_a_clear_error() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectionError, match=r"closed the connection during the TLS handshake"):
        await CARRIER.dial(CARRIER.parse(f"tls://127.0.0.1:{port}"), Recorder, tls=TlsOptions(), timeout=30)
    server.close()
    await server.wait_closed()
