"""The command lines and URLs people are told to use, to the letter."""

from __future__ import annotations

import asyncio
import http.client
import socket
from contextlib import AsyncExitStack

import pytest
from tests.system.harness import DEADLINE, Daemon, System, until
from tests.system.targets import Call, Target
from tests.system.visitors import Visitor, fetch


async def _tell(name: str, call: Call) -> None:
    await call.answer("200 OK", name.encode())


@pytest.fixture
async def two(sockets: list[socket.socket]):
    """Three targets that say their name at /who; the third is on nobody's list."""
    async with AsyncExitStack() as stack:
        targets = []
        for name, sock in zip(("first", "second", "third"), sockets, strict=True):
            target = await stack.enter_async_context(Target(sock))
            target.on("/who", lambda call, name=name: _tell(name, call))
            targets.append(target)
        yield targets


async def test_one_agent_one_target(system: System, two: list[Target]) -> None:
    system.start_hub("--domain", "tunnel.localhost")
    system.start_agent("a", f"http://{two[0].address}")
    answer = await fetch(system.port, "/hello")
    assert (answer.status, answer.body) == (200, b"Hello, there\n")
    assert (await fetch(system.port, "/hello", two[0].address)).body == b"Hello, there\n"
    async with Visitor(system.port) as visitor:
        answer = await visitor.request("GET", "/hello", host="a.tunnel.localhost")
        assert (answer.status, answer.body) == (200, b"Hello, there\n")
        answer = await visitor.request("GET", "/hello", host=f"A.Tunnel.LocalHost.:{system.port}")
        assert answer.body == b"Hello, there\n"
        answer = await visitor.request("GET", "/hello", host="b.tunnel.localhost")
        assert answer.status == 404
    assert (await fetch(system.port, "/hello", agent="nobody")).status == 404


@pytest.mark.parametrize("scheme", ["ws", "tcp"])
async def test_two_targets_the_first_is_the_default(system: System, two: list[Target], scheme: str) -> None:
    system.start_hub()
    first, second, third = (target.address for target in two)
    url = f"{scheme}://127.0.0.1:{system.port}"
    system.start_agent("a", f"http://{first}", f"http://{second}", url=url)
    assert (await fetch(system.port, "/who")).body == b"first"
    assert (await fetch(system.port, "/who", first)).body == b"first"
    assert (await fetch(system.port, "/who", second)).body == b"second"
    async with Visitor(system.port) as visitor:
        answer = await visitor.get("/who", None, f"X-Proxy-Host: {second}")
        assert answer.body == b"second"
        # The query is the visitor's word about this request; it wins over a header some client always sends.
        answer = await visitor.get("/who", first, f"X-Proxy-Host: {second}")
        assert answer.body == b"first"
        refused = await visitor.get("/who", third)
        assert refused.status == 502
        assert set(refused.json) == {"msg", "code", "request_id"}
        assert "tunnel-error" not in refused.headers
        assert third not in refused.body.decode()
    assert two[2].connections == 0


async def test_the_full_attach_url_and_bare_targets(system: System, two: list[Target]) -> None:
    """What users of the first agent type: the URL with the id in it, targets as host:port."""
    system.start_hub()
    system.start_agent("a", two[0].address, url=f"ws://127.0.0.1:{system.port}/api/v1/hubs/a")
    assert (await fetch(system.port, "/hello", two[0].address)).body == b"Hello, there\n"


async def test_what_the_target_sees(system: System, two: list[Target]) -> None:
    system.start_hub()
    system.start_agent("a", f"http://{two[0].address}")
    where = two[0].address
    async with Visitor(system.port) as visitor:
        two[0].on("/a%2Fb/%7e", two[0].handlers["/echo"])
        answer = await visitor.request(
            "POST", f"/api/v1/proxy/a/a%2Fb/%7e?q=%41&x-proxy-host={where}&z=", b"body",
            "X-Proxy-Path: /elsewhere", "X-Forwarded-For: 10.9.8.7", "Connection: X-Private", "X-Private: 1",
            "X-Kept: a", "X-Kept: b", "User-Agent: test", host="hub.test:8882",
        )  # fmt: skip
    assert answer.status == 200
    seen = answer.json
    assert seen["target"] == "/a%2Fb/%7e?q=%41&z="
    fields = [(name.lower(), value) for name, value in seen["fields"]]
    headers = dict(fields)
    assert headers["host"] == where
    assert headers["x-forwarded-host"] == "hub.test:8882"
    assert headers["x-origin-host"] == where
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["user-agent"] == "test"
    assert [value for name, value in fields if name == "x-kept"] == ["a", "b"]
    assert not [name for name, _ in fields if name.startswith("x-proxy-") or name == "x-private"]


async def test_an_ordinary_http_client(system: System, two: list[Target]) -> None:
    system.start_hub()
    system.start_agent("a", f"http://{two[0].address}")

    def visit() -> list[tuple[int, bytes]]:
        connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=DEADLINE)
        out = []
        for _ in range(3):
            connection.request("GET", "/api/v1/proxy/a/hello")
            answer = connection.getresponse()
            out.append((answer.status, answer.read()))
        connection.close()
        return out

    assert await asyncio.to_thread(visit) == [(200, b"Hello, there\n")] * 3


async def test_agent_before_hub(system: System, two: list[Target]) -> None:
    """The order of starting does not matter."""
    agent = system.start_agent("a", two[0].address, wait=False)
    hub = system.start_hub()
    system.wait_attached("a", 1, agent)
    assert hub.running
    assert (await fetch(system.port, "/hello")).status == 200


async def test_a_hub_port_in_use_is_one_line(system: System, tmp_path) -> None:
    system.start_hub()
    second = Daemon("second", ["-m", "hubd", "serve", "--dev", "--listen", f"127.0.0.1:{system.port}"], tmp_path)
    await until(lambda: not second.running, "the second hub gives up")
    assert second.process.returncode not in (0, None)
    (line,) = [line for line in second.log.splitlines() if "DEBUG" not in line]
    assert str(system.port) in line


@pytest.mark.parametrize("what", ["id", "target", "scheme"])
async def test_an_agent_that_cannot_work_says_so_in_one_line(system: System, tmp_path, what: str) -> None:
    words = {"id": "a", "target": "127.0.0.1:1", "scheme": "ws"}
    words[what] = {"id": "a/b", "target": "http://", "scheme": "gopher"}[what]
    arguments = ["-m", "agentd", "run", "--hub", f"{words['scheme']}://127.0.0.1:{system.port}", "--id", words["id"]]
    agent = Daemon("agent", [*arguments, "--target", words["target"]], tmp_path)
    await until(lambda: not agent.running, "the agent gives up")
    assert agent.process.returncode not in (0, None)
    assert len(agent.log.strip().splitlines()) == 1, agent.log
    assert "Traceback" not in agent.log
