"""Places the agent connects to in no case (rows F15, F16, F17)."""

from __future__ import annotations

import asyncio
import socket

import pytest

from agentd.dial import DialError, dial
from agentd.guard import Guard, is_denied
from tunnel.targets import parse_target
from yamux.carrier import TlsOptions
from yamux.testing import Recorder


def resolve_to(monkeypatch, **names: list[str]) -> None:
    """Answer for names; what has no answer does not exist."""

    async def found(loop, host, port, **_):
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, 1, 6, "", (address, port)) for address in names[host]]

    monkeypatch.setattr(asyncio.get_running_loop().__class__, "getaddrinfo", found, raising=False)


async def refusal(url: str, guard: Guard) -> DialError:
    with pytest.raises(DialError) as caught:
        await dial(parse_target(url), Recorder, timeout=30, tls=TlsOptions(), guard=guard)
    return caught.value


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254",
        "fd20:ce::254", "fe80::1", "fe80::1%eth0", "fec0::1", "::ffff:169.254.169.254", "::ffff:10.0.0.1",
        "::ffff:127.0.0.1", "::ffff:7f00:1", "::169.254.169.254", "::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::127.0.0.1",
        "2002:a9fe:a9fe::1", "2002:7f00:1::1", "2001:0:a9fe:a9fe::1", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "ff02::1",
        "255.255.255.255", "240.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0177.1", "0x7f.1",
        "127.0.0.1.", "①②⑦.⓪.⓪.①", "[::1]", "127.0.0.01", "", "localhost",
    ],
)  # fmt: skip
def test_f16_no_name_leads_there(address: str) -> None:
    assert is_denied(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "8.8.8.8", "fd00::1", "2001:4860::1", "64:ff9b::808:808"]
)
def test_f16_services_live_there(address: str) -> None:
    assert not is_denied(address)


@pytest.mark.parametrize(
    "text",
    ["http://2130706433:80", "http://127.1:80", "http://0177.1:80", "http://0x7f.1:80", "http://0x7f000001:80",
     "http://127.0.0.1.:80", "http://1.2.3:80", "http://::1:80", "http://①②⑦.⓪.⓪.①:80", "http://127.0.0.01:80"],
)  # fmt: skip
def test_f16_no_target_can_be_written_that_way(text: str) -> None:
    with pytest.raises(ValueError):
        parse_target(text)


async def test_f15_a_name_that_flips_never_leads_out(monkeypatch) -> None:
    """Each look-up is checked, and what was checked is what is dialled: there is no second look-up to answer."""
    dialled: list[str] = []
    answers = 0

    async def flip(*_, **__):
        nonlocal answers
        answers += 1
        address = "169.254.169.254" if answers % 2 else "10.0.0.1"
        return [(0, 1, 6, "", (address, 80))]

    async def refuse(host, *_, **__):
        dialled.append(host)
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(asyncio.get_running_loop().__class__, "getaddrinfo", flip, raising=False)
    monkeypatch.setattr("agentd.dial.dial_tcp", refuse)
    codes = [(await refusal("http://two-faced.example", Guard())).reason.code for _ in range(100)]
    assert codes == ["target_denied", "target_refused"] * 50
    assert dialled == ["10.0.0.1"] * 50 and answers == 100


@pytest.mark.parametrize(
    ("hub", "target"),
    [
        ("ws://hub.example:8882", "http://hub.example:8882"),
        ("ws://hub.example:8882", "http://other.example:8882"),
        ("ws://hub.example:8882", "http://192.0.2.1:8882"),
        ("wss://hub.example/base", "https://192.0.2.1"),
        ("ws://127.0.0.1:8882", "http://localhost:8882"),
        ("ws://localhost:8882", "http://127.0.0.2:8882"),
        ("tcp://[::1]:8882", "http://127.0.0.1:8882"),
    ],
)
async def test_f17_the_hub_is_no_target_by_any_name(monkeypatch, hub: str, target: str) -> None:
    addresses = {"hub.example": ["192.0.2.1", "192.0.2.7"], "other.example": ["192.0.2.7"]}
    literal = {text: [text] for text in ("127.0.0.1", "::1", "192.0.2.1", "127.0.0.2")}
    resolve_to(monkeypatch, **addresses, localhost=["127.0.0.1", "::1"], **literal)
    error = await refusal(target, Guard([hub]))
    assert error.reason.code == "target_denied" and error.detail.endswith("is the hub itself")


async def test_f17_the_agents_own_ports_and_sockets_are_no_targets(tmp_path) -> None:
    guard = Guard()
    guard.ports.add(9091)
    guard.sockets.add(str(tmp_path / "agent.sock"))
    (tmp_path / "alias").symlink_to(tmp_path / "agent.sock")
    for target in ("http://127.0.0.1:9091", "http://localhost:9091", "http://127.9.9.9:9091"):
        assert (await refusal(target, guard)).detail.endswith("is the agent itself")
    for path in ("agent.sock", "alias"):
        assert (await refusal(f"unix://{tmp_path}/{path}", guard)).reason.code == "target_denied"


async def test_f17_other_places_are_none_of_the_guards_business(monkeypatch) -> None:
    guard = Guard(["ws://hub.example:8882", "ws://gone.example:80", "not a url", "ws://[bad"])
    guard.ports.add(9091)
    resolve_to(monkeypatch, **{"hub.example": ["192.0.2.1"]})
    assert await guard.loops(["192.0.2.1"], 80) == ""
    assert await guard.loops(["192.0.2.2"], 8882) == ""
    assert await guard.loops(["192.0.2.2", "2001:db8::1"], 9091) == ""
    assert not guard.own_socket("/nowhere.sock")
