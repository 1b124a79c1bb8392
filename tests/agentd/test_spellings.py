"""Addresses in every spelling, and names that change what they mean: nothing is reached that is not on the list."""

from __future__ import annotations

import asyncio
import random

import pytest

import agentd.dial as module
from agentd.dial import DialError
from tunnel.targets import parse_target
from yamux.carrier import TlsOptions

# Ways to write loopback, the unspecified address and the cloud's metadata service; {} stands for the port of a server
# that would answer.
SPELLINGS = (
    """
127.1:{} 127.0.1:{} 127.0.0.1.:{} 127.000.000.001:{} 127.0.0.01:{} 0177.0.0.1:{} 0177.0.0.01:{} 0177.1:{} 017700000001:{} 0x7f.0.0.1:{} 0x7f.1:{}
0x7f000001:{} 0X7F000001:{} 0x7f.0x0.0x0.0x1:{} 2130706433:{} 02130706433:{} 4294967296127.1:{} 127.0.0.1.example:{} 127.0.0.2:{} 127.127.127.127:{}
0:{} 0.0:{} 0.0.0.0:{} 00.00.00.00:{} 0x0:{} 0x00000000:{} [::]:{} [::1]:{} [0::1]:{} [0:0:0:0:0:0:0:1]:{} [::0001]:{} [::ffff:127.0.0.1]:{} [::ffff:7f00:1]:{}
[0:0:0:0:0:ffff:127.0.0.1]:{} [::127.0.0.1]:{} [64:ff9b::127.0.0.1]:{} [2002:7f00:1::]:{} [::ffff:0:127.0.0.1]:{} [fe80::1]:{} [fe80::1%25lo]:{} [fe80::1%lo]:{}
localhost:{} LOCALHOST:{} localhost.:{} localhost.localdomain:{} ip6-localhost:{} loopback:{} 127.0.0.1:{}@evil evil@127.0.0.1:{} 127.0.0.1:{}#x 127.0.0.1:{}/
127.0.0.1:{}/x 127.0.0.1:{}?x http://127.0.0.1:{} //127.0.0.1:{} 127.0.0.1:0{} 127.0.0.1:+{} 127.0.0.1:{}:80 127.0.0.1%00:{} 127.0.0.1%2e:{} 127%2e0%2e0%2e1:{}
169.254.169.254 169.254.169.254:80 169.254.169.254.:80 2852039166 0xa9fea9fe 0251.0376.0251.0376 169.254.43518 [::ffff:169.254.169.254] [::ffff:a9fe:a9fe]:80
metadata metadata.google.internal metadata.google.internal:80 instance-data 100.100.100.200 unix:/run/docker.sock unix:///run/docker.sock /run/docker.sock
\xef\xbc\x91127.0.0.1:{} 127\xe3\x80\x820\xe3\x80\x820\xe3\x80\x821:{} \xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.0.0.1:{}
""".encode("latin-1")
    .decode("unicode_escape")
    .encode("latin-1")
    .split()
)

FLIPS = 1000
FORBIDDEN = (
    "169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
)
FINE = ("10.1.2.3", "192.168.7.7", "127.0.0.1", "::1", "fd00::5", "203.0.113.9")


async def test_f14_f16_no_spelling_of_an_address_gets_past_the_list(rig) -> None:
    async def never(client) -> None:
        raise AssertionError("the decoy was reached")

    async def listed(client) -> None:
        while await client.head():
            await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    decoy = await rig.target(never)
    target = await rig.target(listed)
    rig.start(target.url)
    assert len(SPELLINGS) >= 60
    for spelling in SPELLINGS:
        asked = spelling.replace(b"{}", b"%d" % decoy.port)
        reply = await rig.ask(b"GET /x HTTP/1.1\r\nHost: v\r\nX-Proxy-Host: " + asked + b"\r\nX-Proxy-Path: /x\r\n\r\n")
        assert reply.code == "target_not_allowed", asked
    assert decoy.connections == 0 and target.connections == 0
    reply = await rig.ask(
        b"GET /x HTTP/1.1\r\nHost: v\r\nX-Proxy-Host: 127.0.0.1:%d\r\nX-Proxy-Path: /x\r\n\r\n" % target.port
    )
    assert reply.status == 200


@pytest.mark.parametrize(
    "text",
    [
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "127.0.0.01",
        "127.0.0.1.",
        "0",
        "0x0",
        "0.0",
        "256.1.1.1",
        "1.2.3.4.5",
        "2852039166",
        "0xa9fea9fe",
    ],
)
def test_f16_a_target_in_numbers_is_written_plainly(text: str) -> None:
    with pytest.raises(ValueError, match="plainly written"):
        parse_target(f"http://{text}:80")


async def test_f15_a_name_that_flips_leads_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer of the resolver differs from the one before; only what was looked at is connected to."""
    dice = random.Random(15)
    answer: list[str] = []
    dialled: list[str] = []
    lookups = 0

    async def resolve(*_, **__):
        nonlocal lookups, answer
        lookups += 1
        answer = dice.sample([*FORBIDDEN, *FINE], dice.randrange(1, 5))
        return [(2, 1, 6, "", (address, 80)) for address in answer]

    async def connect(host, *_, **__):
        dialled.append(host)
        if dice.random() < 0.5:
            raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(asyncio.get_running_loop().__class__, "getaddrinfo", resolve, raising=False)
    monkeypatch.setattr(module, "dial_tcp", connect)
    target = parse_target("http://rebinding.example:80")
    denied = 0
    for flip in range(1, FLIPS + 1):
        dialled.clear()
        try:
            await module.dial(target, asyncio.Protocol, timeout=30, tls=TlsOptions())
        except DialError as error:
            denied += error.reason.code == "target_denied"
        assert lookups == flip, "resolved once for each connection"
        assert set(dialled) <= set(answer) - set(FORBIDDEN), (dialled, answer)
        assert dialled or set(answer) <= set(FORBIDDEN)
    assert denied > FLIPS // 20
