from __future__ import annotations

import asyncio
import ssl

import pytest

from agentd.config import Health
from agentd.guard import Guard
from agentd.health import Checks, State
from agentd.services import Service
from tunnel.targets import parse_target
from yamux.carrier import TlsOptions


@pytest.fixture
async def checks():
    told: list[int] = []
    one = Checks(TlsOptions(), Guard(), lambda: told.append(1))
    one.told = told
    yield one
    await one.close()


def service(url: str, name: str = "web", **health) -> Service:
    return Service(name, parse_target(url), health=Health(interval=1.0, **health))


def answering(*statuses: int):
    left = list(statuses)

    async def handler(client):
        await client.head()
        status = left.pop(0) if len(left) > 1 else left[0]
        await client.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
        await client.ended()

    return handler


@pytest.mark.parametrize(
    ("status", "state"), [(204, State.HEALTHY), (302, State.HEALTHY), (404, State.UNHEALTHY), (503, State.UNHEALTHY)]
)
async def test_a_path(rig, checks, status, state):
    target = await rig.target(answering(status))
    checks.watch([service(f"{target.url}/base", path="/healthz?x")])
    assert checks.found["web"].state is State.UNKNOWN
    await rig.settle(lambda: checks.found["web"].state is state)
    assert target.heads[0].startswith(b"GET /base/healthz?x HTTP/1.1\r\n")
    if state is State.UNHEALTHY:
        assert checks.found["web"].detail == f"GET /healthz?x answers {status}"
    assert checks.told == [1]


async def test_only_connecting(rig, checks):
    async def silent(client):
        await client.ended()

    target = await rig.target(silent)
    checks.watch([service(f"tcp://127.0.0.1:{target.port}"), service("tcp://127.0.0.1:1", "gone")])
    await rig.settle(lambda: checks.found["web"].state is State.HEALTHY)
    await rig.settle(lambda: checks.found["gone"].state is State.UNHEALTHY)
    assert "refused" in checks.found["gone"].detail.lower()


@pytest.mark.parametrize(
    ("words", "detail"),
    [(b"SSH-2.0-x\r\n", "the answer is not HTTP"), (b"", "the connection was closed without an answer")],
)
async def test_what_is_no_http(rig, checks, words, detail):
    async def odd(client):
        await client.head()
        await client.send(words)

    target = await rig.target(odd)
    checks.watch([service(target.url, path="/")])
    await rig.settle(lambda: checks.found["web"].state is State.UNHEALTHY)
    assert checks.found["web"].detail == detail


async def test_no_answer_in_time(rig, checks):
    async def silent(client):
        await client.ended()

    target = await rig.target(silent)
    checks.watch([service(target.url, path="/", timeout=0.05)])
    await rig.settle(lambda: checks.found["web"].state is State.UNHEALTHY)
    assert checks.found["web"].detail == "no answer within 0.05 s"


async def test_it_changes_both_ways_and_is_told_once_each(rig, checks, monkeypatch):
    monkeypatch.setattr("agentd.health.random.uniform", lambda low, high: 0.001)
    target = await rig.target(answering(500, 500, 200))
    checks.watch([service(target.url, path="/")])
    await rig.settle(lambda: checks.found["web"].state is State.HEALTHY)
    assert checks.told == [1, 1]


async def test_what_is_no_longer_watched_is_forgotten(rig, checks):
    target = await rig.target(answering(200))
    one, other = service(target.url, path="/"), Service("plain", parse_target("http://h:1"))
    checks.watch([one, other])
    assert set(checks.found) == {"web"}
    task = next(iter(checks._running.values()))
    checks.watch([one])
    assert next(iter(checks._running.values())) is task
    checks.watch([])
    assert checks.found == {}
    await asyncio.sleep(0)
    assert task.cancelled() or task.cancelling()


async def test_tls_is_checked_too(rig, checks, certificates):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server)
    target = await rig.target(answering(200), ssl=context)
    checks.watch([service(f"https://127.0.0.1:{target.port}", path="/")])
    await rig.settle(lambda: checks.found["web"].state is State.UNHEALTHY)
    assert "certificate" in checks.found["web"].detail.lower()
