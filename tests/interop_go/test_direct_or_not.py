"""Odd but right traffic, and targets that fail at each moment: through a tunnel as without one.

Each case is sent to the target directly and through hub and agent, ours and those in Go in each other's place. What
the visitor reads and what the target reads must be the same.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import h11
import pytest
import pytest_asyncio

from conformance.daemons import start_agent, start_hub
from conformance.smuggling.reading import H11Reader, Read
from conformance.smuggling.responses import reply

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE = 40.0
THREE = b"Content-Length: 3"
CHUNKS = b"Transfer-Encoding: chunked"
ABC = b"3\r\nabc\r\n0\r\n\r\n"
EARLY = reply(b"Link: </a>", line=b"HTTP/1.1 103 Early Hints")
BIG = 200_000

# Name: the version, the fields and the body behind the method and target.
REQUESTS: dict[str, tuple[bytes, bytes, tuple[bytes, ...], bytes]] = {
    "get": (b"GET", b"1.1", (), b""),
    "get-closing": (b"GET", b"1.1", (b"Connection: close",), b""),
    "get-1.0": (b"GET", b"1.0", (), b""),
    "get-gzip": (b"GET", b"1.1", (b"Accept-Encoding: gzip", b"Range: bytes=0-9", b"If-None-Match: *"), b""),
    "get-large-head": (b"GET", b"1.1", tuple(b"X-%d: %b" % (n, b"a" * 6000) for n in range(4)), b""),
    "head": (b"HEAD", b"1.1", (), b""),
    "post": (b"POST", b"1.1", (b"Content-Length: 5",), b"hello"),
    "post-empty": (b"POST", b"1.1", (b"Content-Length: 0",), b""),
    "post-chunked": (b"POST", b"1.1", (CHUNKS,), b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n"),
    "post-expecting": (b"POST", b"1.1", (b"Content-Length: 5", b"Expect: 100-continue"), b"hello"),
    "delete-body": (b"DELETE", b"1.1", (b"Content-Length: 5",), b"hello"),
    "put-large": (b"PUT", b"1.1", (b"Content-Length: %d" % BIG,), b"x" * BIG),
}

# Name: what the target answers, and how its connection goes on.
ANSWERS: dict[str, tuple[bytes, str]] = {
    "length": (reply(THREE, body=b"abc"), "stays"),
    "length-closing": (reply(THREE, b"Connection: close", body=b"abc"), "fin"),
    "length-fin": (reply(THREE, body=b"abc"), "fin"),
    "empty": (reply(b"Content-Length: 0"), "stays"),
    "chunked": (reply(CHUNKS, body=ABC), "stays"),
    "chunked-trailers": (reply(CHUNKS, b"Trailer: X", body=b"3\r\nabc\r\n0\r\nX: y\r\n\r\n"), "stays"),
    "until-close": (reply(body=b"abc"), "fin"),
    "until-close-1.0": (reply(line=b"HTTP/1.0 200 OK", body=b"abc" * 30000), "fin"),
    "1.0-keep": (reply(THREE, b"Connection: keep-alive", line=b"HTTP/1.0 200 OK", body=b"abc"), "stays"),
    "204": (reply(line=b"HTTP/1.1 204 No Content"), "stays"),
    "204-length": (reply(b"Content-Length: 0", line=b"HTTP/1.1 204 No Content"), "stays"),
    "304": (reply(b'ETag: "x"', line=b"HTTP/1.1 304 Not Modified"), "stays"),
    "304-length": (reply(THREE, b'ETag: "x"', line=b"HTTP/1.1 304 Not Modified"), "stays"),
    "gzip": (reply(THREE, b"Content-Encoding: gzip", body=b"\x1f\x8b\x00"), "stays"),
    "early": (EARLY + reply(THREE, body=b"abc"), "stays"),
    "continue": (reply(line=b"HTTP/1.1 100 Continue") + reply(THREE, body=b"abc"), "stays"),
    "cookies": (reply(THREE, b"Set-Cookie: a=b", b"Set-Cookie: c=d", body=b"abc"), "stays"),
    "large-head": (reply(THREE, *[b"X-%d: %b" % (n, b"a" * 6000) for n in range(8)], body=b"abc"), "stays"),
    "not-found": (reply(THREE, line=b"HTTP/1.1 404 Nope", body=b"abc"), "stays"),
    "redirect": (reply(b"Location: http://elsewhere/", b"Content-Length: 0", line=b"HTTP/1.1 302 Found"), "stays"),
    "unauthorized": (reply(THREE, b"WWW-Authenticate: Basic", line=b"HTTP/1.1 401 No", body=b"abc"), "stays"),
    "error": (reply(THREE, line=b"HTTP/1.1 500 Oh", body=b"abc"), "stays"),
    "nothing-fin": (b"", "fin"),
    "nothing-reset": (b"", "reset"),
    "half-head-fin": (b"HTTP/1.1 200 OK\r\nX: ", "fin"),
    "half-head-reset": (b"HTTP/1.1 200 OK\r\nX: ", "reset"),
    "half-length-fin": (reply(b"Content-Length: 9", body=b"abc"), "fin"),
    "half-length-reset": (reply(b"Content-Length: 9", body=b"abc"), "reset"),
    "half-chunk-fin": (reply(CHUNKS, body=b"9\r\nabc"), "fin"),
    "half-chunk-reset": (reply(CHUNKS, body=b"9\r\nabc"), "reset"),
    "no-last-chunk-fin": (reply(CHUNKS, body=b"3\r\nabc\r\n"), "fin"),
    "no-last-chunk-reset": (reply(CHUNKS, body=b"3\r\nabc\r\n"), "reset"),
}
BROKEN = ("nothing", "half", "no-last")

# The programs in Go unpack bodies, and let a cut one look complete or answer 400: that is theirs, and not compared.
WITH_GO = ("get", "head", "post", "post-chunked")

# What a hop adds or takes away, and what stands for the framing.
_HOP = frozenset(
    b"connection keep-alive transfer-encoding content-length date trailer via tunnel-error server x-content-type-options".split()
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a visitor and the target read.

    Attributes:
        status: of the answer, 0 for none; "failed" for all that is a 502 or not whole, as these are the same failure.
        interim: before it.
        body: as far as it is whole.
        fields: end to end.
        asked: what the target was asked.
    """

    status: object
    interim: tuple[int, ...]
    body: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    asked: tuple[bytes, bytes, bytes] | None


class Target:
    """A listener whose connections answer as the case says."""

    def __init__(self) -> None:
        self.answer: tuple[bytes, str] = (b"", "stays")
        self.reads: list[Read] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests = H11Reader()
        try:
            while data := await reader.read(1 << 18):
                for read in requests.feed(data):
                    self.reads.append(read)
                    raw, end = self.answer
                    writer.write(raw)
                    await writer.drain()
                    if end == "reset":
                        linger = struct.pack("ii", 1, 0)
                        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    if end != "stays":
                        return
        except ConnectionError:
            pass
        finally:
            writer.close()


@dataclass
class World:
    """A target, and the ports that lead to it."""

    target: Target
    ways: dict[str, tuple[int, bytes]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    target = Target()
    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
        stack.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        ways: dict[str, tuple[int, bytes]] = {"direct": (port, b"")}
        for hub_kind, agent_kind in (("ours", "ours"), ("ours", "go"), ("go", "ours")):
            hub = await start_hub(hub_kind)
            stack.push_async_callback(hub.child.stop)
            agent = await start_agent(agent_kind, hub, "d", [f"127.0.0.1:{port}"])
            stack.push_async_callback(agent.stop)
            ways[f"hub {hub_kind}, agent {agent_kind}"] = (hub.port, b"/api/v1/proxy/d")
        yield World(target, ways)


async def visit(world: World, way: str, name: str) -> Outcome:
    method, version, fields, body = REQUESTS[name]
    port, prefix = world.ways[way]
    query = b"" if way == "direct" else b"?x-proxy-host=127.0.0.1:%d" % world.ways["direct"][0]
    world.target.reads.clear()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"\r\n".join((b"%b %b/x%b HTTP/%b" % (method, prefix, query, version), b"Host: v", *fields, b"", b""))
    writer.write(head + body)
    async with asyncio.timeout(PATIENCE):
        outcome = await answer_of(reader, method)
    writer.close()
    asked = None
    if world.target.reads:
        read = world.target.reads[0]
        asked = (read.method, read.target, read.body)
    return Outcome(*outcome, asked)


async def answer_of(reader: asyncio.StreamReader, method: bytes) -> tuple[Any, ...]:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"v")]))
    connection.send(h11.EndOfMessage())
    status, body, fields = 0, bytearray(), ()
    interim: list[int] = []
    failed = ("failed", (), b"", ())
    while True:
        try:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(1 << 18))
                continue
        except (h11.RemoteProtocolError, ConnectionError):
            return failed
        if isinstance(event, h11.InformationalResponse):
            interim.append(event.status_code)
        elif isinstance(event, h11.Response):
            status = event.status_code
            fields = tuple(sorted(pair for pair in event.headers if pair[0] not in _HOP))
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return failed if status == 502 else (status, tuple(interim), bytes(body), fields)
        else:
            return failed


assert len(REQUESTS) * len(ANSWERS) >= 100


def is_broken(answer: str, name: str) -> bool:
    """Whether a case has no whole answer: to HEAD the head is all of it."""
    if name == "head":
        return answer.startswith(("nothing", "half-head"))
    return answer.startswith(BROKEN)


def comparable(outcome: Outcome, way: str, name: str) -> Outcome:
    """Without what may differ: Go guesses a Content-Type, and drops or invents interim answers; HTTP/1.0 has none."""
    if "go" not in way and "1.0" not in name:
        return outcome
    fields = tuple(pair for pair in outcome.fields if pair[0] != b"content-type")
    return replace(outcome, interim=(), fields=fields)


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_tunnel_changes_nothing(world: World, name: str) -> None:
    wrong = []
    for answer, script in ANSWERS.items():
        world.target.answer = script
        direct = await visit(world, "direct", name)
        assert (direct.status == "failed") == is_broken(answer, name), (answer, direct)
        for way in list(world.ways)[1:]:
            if "go" in way and (name not in WITH_GO or answer == "gzip" or is_broken(answer, name)):
                continue
            got = await visit(world, way, name)
            if comparable(got, way, name) != comparable(direct, way, name):
                wrong.append(f"{answer} by {way}: {str(got)[:400]}, and directly {str(direct)[:400]}")
    assert wrong == [], "\n".join(wrong)
