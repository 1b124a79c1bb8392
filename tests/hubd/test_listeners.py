"""Listening, pausing, TLS, and what a server name may be used for (B5, D5, D7)."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
import trustme

from hubd.listeners import ListenError, bind
from tunnel.settings import HostPort


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def cert(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "cert.pem"
    issued = authority.issue_cert("hub.localhost", "*.hub.localhost", "127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(path))
    return str(path)


async def secure(bench, authority: trustme.CA, name: str):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return await bench.visitor(ssl=context, server_hostname=name)


def ask(host: str, target: str = "/api/v1/proxy/demo/x") -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


async def tls_hub(start, cert: str):
    return await start(listen=None, tls_listen="127.0.0.1:0", tls={"cert": cert}, domain="hub.localhost")


async def attach_over_tls(bench, authority: trustme.CA, agent_id: str) -> None:
    visitor = await secure(bench, authority, "hub.localhost")
    head = (
        f"GET /api/v1/hubs/{agent_id} HTTP/1.1\r\nHost: hub.localhost\r\nConnection: Upgrade\r\nUpgrade: yamux\r\n\r\n"
    )
    await visitor.send(head.encode())
    assert (await visitor.head()).status == 101


async def test_tls_port_serves_visitors_and_agents(start, cert, authority):
    bench = await tls_hub(start, cert)
    visitor = await secure(bench, authority, "hub.localhost")
    assert (await visitor.ask(ask("hub.localhost", "/healthz"))).status == 200
    assert bench.front.link.secure and bench.front.link.proto == b"https"
    await attach_over_tls(bench, authority, "demo")
    assert len(bench.hub.pools) == 1


async def test_b5_server_name_and_host_of_different_tunnels(start, cert, authority):
    bench = await tls_hub(start, cert)
    for sni, host, status in (
        ("a.hub.localhost", "b.hub.localhost", 421),
        ("a.hub.localhost", "hub.localhost", 421),
        ("a.hub.localhost", "A.hub.localhost", 404),
        ("hub.localhost", "b.hub.localhost", 404),
        ("127.0.0.1", "b.hub.localhost", 404),
    ):
        visitor = await secure(bench, authority, sni)
        assert (await visitor.ask(ask(host))).status == status, (sni, host)


async def test_d5_tls_hello_that_never_comes(start, cert, monkeypatch):
    monkeypatch.setattr("hubd.listeners.HANDSHAKE_TIMEOUT", 0.05)
    bench = await tls_hub(start, cert)
    visitor = await bench.visitor()
    assert await visitor.rest() == b""
    assert not bench.hub.connections


async def test_bad_certificate_is_one_line(start, tmp_path):
    path = tmp_path / "nothing.pem"
    with pytest.raises(ListenError, match=r"^TLS: .*nothing\.pem"):
        await tls_hub(start, str(path))


async def test_d7_backlog_and_dual_stack():
    sockets = bind(HostPort("localhost", 0), 4096)
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
    finally:
        for sock in sockets:
            sock.close()


def test_address_in_use_names_the_address_and_the_fix():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ListenError) as caught:
            bind(HostPort("127.0.0.1", port), 10)
    text = str(caught.value)
    assert f"127.0.0.1:{port}" in text and "--listen" in text and "\n" not in text


def test_address_of_another_machine():
    with pytest.raises(ListenError, match="cannot listen on 192.0.2.1:80|not allowed"):
        bind(HostPort("192.0.2.1", 80), 10)
