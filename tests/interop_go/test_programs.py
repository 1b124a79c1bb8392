"""The daemons and the Go programs in each other's place, as visitors and targets see it.

After the 101 both sides of a Go program speak yamux right on the connection, without WebSocket frames; ours do the same
with them, since neither side then agrees on the subprotocol.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from yarl import URL

from conformance import target as targets
from conformance.daemons import Hub, start_agent, start_hub
from conformance.peer import pattern
from conformance.target import CHUNKS, Target

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Joined:
    """A hub and an agent of it, with the target behind: ``hub.kind`` and ``agent`` say whose they are."""

    hub: Hub
    agent: str
    target: Target
    visitor: aiohttp.ClientSession

    def url(self, path: str, *, query: str = "") -> URL:
        """Return the visitor's URL, its bytes left as they are."""
        return URL(self.hub.url("one", path, self.target.address, query=query), encoded=True)

    async def inspect(self, path: str, *, query: str = "", **options: Any) -> dict[str, Any]:
        """Return what the target saw of a GET."""
        async with self.visitor.get(self.url(path, query=query), **options) as response:
            assert response.status == 200, await response.text()
            seen: dict[str, Any] = await response.json()
            return seen


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def target() -> AsyncIterator[Target]:
    async with targets.running() as running:
        yield running


@pytest_asyncio.fixture(
    loop_scope="module",
    scope="module",
    params=["go-go", "ours-go", "go-ours", "ours-ours"],
    ids=lambda kind: f"hub_agent_{kind}",
)
async def joined(request: pytest.FixtureRequest, target: Target) -> AsyncIterator[Joined]:
    kinds: str = request.param
    hub_kind, agent_kind = kinds.split("-")
    hub = await start_hub(hub_kind)
    try:
        agent = await start_agent(agent_kind, hub, "one", [target.address, target.websocket])
        try:
            async with aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=50)) as visitor:
                yield Joined(hub, agent_kind, target, visitor)
        finally:
            await agent.stop()
    finally:
        await hub.child.stop()


def _values(seen: dict[str, Any], name: str) -> list[str]:
    return [value for key, value in seen["fields"] if key.lower() == name]


async def test_s_hello(joined: Joined) -> None:
    for _ in range(20):
        async with joined.visitor.get(joined.url("/hello")) as response:
            assert response.status == 200
            assert await response.read() == b"Hello, there\n"


async def test_s_path_and_query(joined: Joined) -> None:
    seen = await joined.inspect("/inspect/a/b.c;d=1", query="q=1&r=%26&r=two+words&empty=")
    path, _, query = seen["target"].partition("?")
    assert path == "/inspect/a/b.c;d=1"
    wanted = "q=1&r=%26&r=two+words&empty="
    if joined.hub.kind == "go" and joined.agent == "go":
        wanted += f"&x-proxy-host={joined.target.address}"
    assert query == wanted


async def test_s_percent_encoding(joined: Joined) -> None:
    assert (await joined.inspect("/inspect/a%20b%C3%A9%25"))["target"].partition("?")[0] == "/inspect/a%20b%C3%A9%25"


async def test_s_encoded_slash(joined: Joined) -> None:
    """Their agent gets the path decoded, so it cannot tell %2F from a slash; ours does, under both hubs."""
    path = (await joined.inspect("/inspect/a%2Fb%3Fc"))["target"].partition("?")[0]
    assert path == ("/inspect/a/b%3Fc" if joined.agent == "go" else "/inspect/a%2Fb%3Fc")


async def test_s_fields_at_the_target(joined: Joined) -> None:
    seen = await joined.inspect("/inspect", headers={"X-Own": "kept"})
    assert _values(seen, "host") == [joined.target.address]
    assert _values(seen, "x-origin-host") == [joined.target.address]
    assert _values(seen, "x-forwarded-host") == [f"127.0.0.1:{joined.hub.port}"]
    assert "127.0.0.1" in ",".join(_values(seen, "x-forwarded-for"))
    assert _values(seen, "x-own") == ["kept"]


async def test_s_fields_of_the_answer(joined: Joined) -> None:
    async with joined.visitor.get(joined.url("/inspect")) as response:
        assert response.headers.getall("X-Twice") == ["one", "two"]
        assert response.content_type == "application/json"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_s_methods(joined: Joined, method: str) -> None:
    body = b"" if method in ("GET", "HEAD") else b"some body"
    async with joined.visitor.request(method, joined.url("/inspect"), data=body or None) as response:
        assert response.status == 200
        if method == "HEAD":
            assert await response.read() == b""
            assert int(response.headers["Content-Length"]) > 0
        else:
            seen = await response.json()
            assert (seen["method"], seen["body"]) == (method, len(body))


@pytest.mark.parametrize("status", [204, 304, 404, 418, 500, 503])
async def test_s_statuses(joined: Joined, status: int) -> None:
    async with joined.visitor.get(joined.url(f"/status/{status}")) as response:
        assert response.status == status


async def test_s_64_mib_both_ways(joined: Joined) -> None:
    body = pattern(64 * MIB)
    digest = hashlib.sha256(body).hexdigest()
    async with joined.visitor.post(joined.url("/echo"), data=io.BytesIO(body)) as response:
        assert response.status == 200
        assert response.headers["X-Sha256"] == digest
        back = hashlib.sha256()
        async for piece in response.content.iter_chunked(MIB):
            back.update(piece)
    assert back.hexdigest() == digest


async def test_s_chunked_upload(joined: Joined) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"%d," % number

    async with joined.visitor.post(joined.url("/echo"), data=pieces()) as response:
        assert await response.read() == b"".join([b"%d," % number for number in range(100)])


async def test_s_chunks_arrive_one_by_one(joined: Joined) -> None:
    async with joined.visitor.get(joined.url("/chunks")) as response:
        for number in range(CHUNKS):
            assert await response.content.readline() == b"piece %d\n" % number
            joined.target.steps.release()
        assert await response.content.read() == b""


async def test_s_many_at_once(joined: Joined) -> None:
    async def one(number: int) -> None:
        body = pattern(10_000, number)
        async with joined.visitor.post(joined.url("/echo"), data=body) as response:
            assert await response.read() == body

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(one(number))


async def test_s_websocket_visitor(joined: Joined) -> None:
    url = joined.hub.url("one", "/any", joined.target.websocket).replace("http:", "ws:")
    async with connect(url, subprotocols=["chat"], max_size=None) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == "chat"
        for message in ("text", b"\x00binary\xff", "", pattern(MIB)):
            await socket.send(message)
            assert await socket.recv() == message
        await asyncio.wait_for(await socket.ping(), 20)
        await socket.close(4001, "done")
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 4001


async def test_s_cut_with_a_length_is_seen(joined: Joined) -> None:
    joined.target.release.clear()
    async with joined.visitor.get(joined.url("/cut", query="length=1")) as response:
        assert await response.content.readexactly(9) == b"the begin"
        joined.target.release.set()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()


async def test_s_cut_chunked_is_seen(joined: Joined) -> None:
    """Their hub ends the body properly, a fault of theirs that no agent can mend; ours never does."""
    joined.target.release.clear()
    async with joined.visitor.get(joined.url("/cut")) as response:
        assert await response.content.readexactly(9) == b"the begin"
        joined.target.release.set()
        if joined.hub.kind == "go":
            assert await response.content.read() == b""
        else:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.content.read()


async def test_s_unknown_agent(joined: Joined) -> None:
    url = URL(joined.hub.url("nobody", "/hello", joined.target.address), encoded=True)
    async with joined.visitor.get(url) as response:
        answer = await response.json()
        if joined.hub.kind == "go":
            assert (response.status, answer["msg"]) == (400, "no session found in 'nobody'")
        else:
            assert response.status == 404
            assert {"msg", "code", "request_id"} <= answer.keys()
