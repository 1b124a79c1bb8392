from __future__ import annotations

import asyncio
import socket

import pytest

from agentd import dial as module
from agentd.dial import DialError, dial, is_denied
from tunnel.targets import parse_target
from yamux.carrier import TlsOptions
from yamux.testing import Recorder


async def reach(url: str, *, timeout: float = 30.0, tls: TlsOptions | None = None) -> Recorder:
    seen = Recorder()
    await dial(parse_target(url), lambda: seen, timeout=timeout, tls=tls or TlsOptions())
    return seen


async def talk(client):
    await client.send(b"hello")
    await client.ended()


async def test_tcp(rig):
    target = await rig.target(talk)
    seen = await reach(target.url)
    assert await seen.received(5) == b"hello"
    assert seen.transport.get_write_buffer_limits()[1] == 64 * 1024
    seen.transport.abort()
    await seen.lost()


async def test_name(rig):
    target = await rig.target(talk)
    seen = await reach(f"http://localhost:{target.port}")
    assert await seen.received(5) == b"hello"
    seen.transport.abort()
    await seen.lost()


async def test_socket(rig, tmp_path):
    path = str(tmp_path / "s")
    await rig.target_socket(talk, path)
    seen = await reach(f"unix://{path}")
    assert await seen.received(5) == b"hello"
    seen.transport.abort()
    await seen.lost()
    with pytest.raises(DialError) as caught:
        await reach(f"unix://{tmp_path}/none")
    assert caught.value.reason.code == "target_refused"


async def tls_target(rig, certificates):
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server)
    return await rig.target(talk, ssl=context)


async def test_tls_is_verified(rig, certificates):
    target = await tls_target(rig, certificates)
    seen = await reach(f"https://localhost:{target.port}", tls=TlsOptions(ca_file=certificates.ca))
    assert await seen.received(5) == b"hello"
    seen.transport.abort()
    await seen.lost()


async def test_f6_tls_of_strangers_is_refused(rig, certificates):
    target = await tls_target(rig, certificates)
    with pytest.raises(DialError) as caught:
        await reach(f"https://localhost:{target.port}")
    assert caught.value.reason.code == "target_tls"
    assert "not trusted" in caught.value.detail


async def test_bad_authority_file(rig):
    with pytest.raises(DialError) as caught:
        await reach("https://localhost:1", tls=TlsOptions(ca_file="/none"))
    assert caught.value.reason.code == "target_tls"


async def test_d9_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(DialError) as caught:
            await reach(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert (caught.value.reason.code, caught.value.reason.status) == ("target_refused", 502)
    assert "127.0.0.1" in caught.value.detail


async def test_d9_unresolved(monkeypatch):
    async def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop().__class__, "getaddrinfo", fail, raising=False)
    with pytest.raises(DialError) as caught:
        await dial_name("nowhere.invalid")
    assert (caught.value.reason.code, caught.value.reason.status) == ("target_unresolved", 502)


async def dial_name(name: str) -> None:
    await reach(f"http://{name}:80")


async def test_d9_timeout():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        with pytest.raises(DialError) as caught:
            await reach(f"http://127.0.0.1:{port}", timeout=0.05)
        for filler in fillers:
            filler.close()
    assert (caught.value.reason.code, caught.value.reason.status) == ("target_timeout", 504)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:127.0.0.1", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255"],
)
def test_f16_addresses_no_name_may_lead_to(address):
    assert is_denied(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "8.8.8.8", "::1", "fd00::1", "2001:4860::1"]
)
def test_f16_addresses_names_do_lead_to(address):
    assert not is_denied(address)


async def test_f15_every_address_of_a_name_is_checked(monkeypatch):
    dialled = []

    async def found(*_, **__):
        return [(2, 1, 6, "", (address, 80)) for address in ("169.254.169.254", "10.9.9.9", "0.0.0.0")]

    async def refuse(host, *_, **__):
        dialled.append(host)
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(asyncio.get_running_loop().__class__, "getaddrinfo", found, raising=False)
    monkeypatch.setattr(module, "dial_tcp", refuse)
    with pytest.raises(DialError):
        await dial_name("two-faced.example")
    assert dialled == ["10.9.9.9"]


async def test_f15_a_name_with_forbidden_addresses_only(monkeypatch):
    async def found(*_, **__):
        return [(2, 1, 6, "", ("169.254.169.254", 80))]

    monkeypatch.setattr(asyncio.get_running_loop().__class__, "getaddrinfo", found, raising=False)
    with pytest.raises(DialError) as caught:
        await dial_name("metadata.example")
    assert caught.value.reason.code == "target_denied"
    assert "169.254.169.254" in caught.value.detail


async def test_cancellation_leaves_nothing(rig):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        task = asyncio.create_task(reach(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
