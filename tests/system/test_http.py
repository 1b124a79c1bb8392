"""HTTP/1.1 through the whole system: connections that go on, methods and statuses without a body, early answers."""

from __future__ import annotations

import asyncio

import pytest
from tests.system.conftest import Plant
from tests.system.harness import DEADLINE
from tests.system.targets import Call
from tests.system.visitors import Visitor, fetch

MIB = 2**20


async def test_one_connection_many_requests(ws_plant: Plant) -> None:
    plant = ws_plant
    async with plant.target() as target, asyncio.timeout(DEADLINE), Visitor(plant.port) as visitor:
        for number in range(100):
            answer = await visitor.request("POST", visitor.url("/echo"), b"x" * (number * 100))
            assert (answer.status, answer.json["size"]) == (200, number * 100)
            assert answer.keeps
        assert len(target.calls) == 100
        assert target.connections < 10, "the agent keeps its connections to the target"


async def test_pipelined_requests_are_answered_in_order(ws_plant: Plant) -> None:
    plant = ws_plant
    async with plant.target(), asyncio.timeout(DEADLINE), Visitor(plant.port) as visitor:
        for number in range(50):
            if number % 3:
                visitor.write_head("GET", visitor.url(f"/echo?n={number}"))
            else:
                visitor.write_head("POST", visitor.url(f"/echo?n={number}"), "Content-Length: 5")
                visitor.writer.write(b"abcde")
        for number in range(50):
            answer = await visitor.response()
            assert answer.json["target"] == f"/echo?n={number}"
            assert answer.json["size"] == (0 if number % 3 else 5)


@pytest.mark.parametrize("minor", [0, 1])
async def test_connections_end_where_asked(ws_plant: Plant, minor: int) -> None:
    plant = ws_plant
    async with plant.target(), asyncio.timeout(DEADLINE), Visitor(plant.port) as visitor:
        fields = ["Connection: close"] if minor else []
        visitor.write_head("GET", visitor.url("/hello"), *fields, minor=minor)
        assert (await visitor.response()).body == b"Hello, there\n"
        assert await visitor.at_end()


async def test_responses_without_a_body(ws_plant: Plant) -> None:
    """Each is followed by another request on the same connection, which a body that is none would spoil."""
    plant = ws_plant

    async def length_only(call: Call) -> None:
        await call.head("200 OK", "Content-Length: 12345", 'ETag: "x"')

    async def chunked_only(call: Call) -> None:
        await call.head("200 OK", "Transfer-Encoding: chunked")

    async def no_content(call: Call) -> None:
        await call.head("204 No Content", "X-A: 1")

    async def not_modified(call: Call) -> None:
        await call.head("304 Not Modified", "Content-Length: 999", 'ETag: "x"')

    async with plant.target() as target, asyncio.timeout(DEADLINE), Visitor(plant.port) as visitor:
        for path, handler in {"/h": length_only, "/c": chunked_only, "/204": no_content, "/304": not_modified}.items():
            target.on(path, handler)
        for _ in range(3):
            answer = await visitor.request("HEAD", visitor.url("/h"))
            assert (answer.status, answer.headers["content-length"], answer.body) == (200, "12345", b"")
            assert (await visitor.request("HEAD", visitor.url("/c"))).status == 200
            answer = await visitor.request("GET", visitor.url("/204"))
            assert (answer.status, answer.headers["x-a"], answer.keeps) == (204, "1", True)
            assert "content-length" not in answer.headers
            assert "transfer-encoding" not in answer.headers
            answer = await visitor.request("GET", visitor.url("/304"))
            assert (answer.status, answer.headers["etag"]) == (304, '"x"')
            answer = await visitor.request("HEAD", visitor.url("/hello"))
            assert (answer.status, answer.headers["content-length"]) == (200, "13")
            assert (await visitor.get("/hello")).body == b"Hello, there\n"


async def test_c1_expect_continue_is_passed_on(ws_plant: Plant) -> None:
    plant = ws_plant

    async def patient(call: Call) -> None:
        assert call.headers["expect"] == "100-continue"
        await call.head("100 Continue")
        await call.answer("200 OK", await call.body())

    async with plant.target() as target, asyncio.timeout(DEADLINE), Visitor(plant.port) as visitor:
        target.on("/patient", patient)
        for _ in range(2):
            visitor.write_head("PUT", visitor.url("/patient"), "Expect: 100-continue", "Content-Length: 4")
            raw = await visitor.reader.readuntil(b"\r\n\r\n")
            assert raw.startswith(b"HTTP/1.1 100 ")
            await visitor.send(b"body")
            answer = await visitor.response()
            assert (answer.status, answer.body, answer.keeps) == (200, b"body", True)


async def test_c2_expect_continue_refused(ws_plant: Plant) -> None:
    plant = ws_plant

    async def refuse(call: Call) -> None:
        await call.answer("417 Expectation Failed", b"no", "Connection: close")
        call.cut()

    async with plant.target() as target, asyncio.timeout(DEADLINE), Visitor(plant.port) as visitor:
        target.on("/refuse", refuse)
        visitor.write_head("PUT", visitor.url("/refuse"), "Expect: 100-continue", "Content-Length: 4000000")
        answer = await visitor.response()
        assert (answer.status, answer.body, answer.keeps) == (417, b"no", False)
        assert await visitor.at_end()


async def test_c5_early_hints_arrive_in_order(ws_plant: Plant) -> None:
    plant = ws_plant

    async def hints(call: Call) -> None:
        await call.head("103 Early Hints", "Link: </a.css>; rel=preload")
        await call.head("102 Processing")
        await call.answer("200 OK", b"page")

    async with plant.target() as target, asyncio.timeout(DEADLINE), Visitor(plant.port) as visitor:
        target.on("/hints", hints)
        answer = await visitor.get("/hints")
        assert (answer.informational, answer.body) == ([103, 102], b"page")
        visitor.write_head("GET", visitor.url("/hints"), minor=0)
        answer = await visitor.response()
        assert (answer.informational, answer.body) == ([], b"page")


@pytest.mark.parametrize("status", ["401 Unauthorized", "413 Content Too Large"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_c17_an_early_answer_during_an_upload(ws_plant: Plant, status: str, framing: str) -> None:
    """The answer arrives although the visitor is still sending, and is not lost to a reset."""
    plant = ws_plant

    async def early(call: Call) -> None:
        await call.answer(status, b"not like this", "Connection: close")
        await call.linger()

    async with plant.target() as target, asyncio.timeout(DEADLINE):
        target.on("/early", early)
        for _ in range(5):
            async with Visitor(plant.port) as visitor:
                field = "Content-Length: 50000000" if framing == "length" else "Transfer-Encoding: chunked"
                visitor.write_head("POST", visitor.url("/early"), field)

                async def pour(visitor: Visitor = visitor) -> None:
                    piece = bytes(65536)
                    try:
                        for _ in range(700):
                            await visitor.send(piece if framing == "length" else b"%x\r\n%b\r\n" % (len(piece), piece))
                    except ConnectionError:
                        pass

                async with asyncio.TaskGroup() as group:
                    pouring = group.create_task(pour())
                    answer = await visitor.response()
                    pouring.cancel()
                assert (answer.status, answer.body) == (int(status[:3]), b"not like this")
                assert not answer.keeps
                visitor.leave()
        assert (await fetch(plant.port, "/hello")).status == 200


async def test_an_early_answer_after_a_small_body_keeps_the_connection(ws_plant: Plant) -> None:
    plant = ws_plant

    async def early(call: Call) -> None:
        await call.answer("401 Unauthorized", b"who are you", "WWW-Authenticate: Basic")

    async with plant.target() as target, asyncio.timeout(DEADLINE), Visitor(plant.port) as visitor:
        target.on("/early", early)
        for _ in range(3):
            answer = await visitor.request("POST", visitor.url("/early"), bytes(100))
            assert (answer.status, answer.body) == (401, b"who are you")
            assert answer.headers["www-authenticate"] == "Basic"
            assert answer.keeps


async def test_close_delimited_responses(ws_plant: Plant) -> None:
    plant = ws_plant

    async def old(call: Call) -> None:
        await call.head("200 OK", "Content-Type: text/plain")
        await call.send(b"x" * 100_000)
        call.cut()

    async with plant.target() as target, asyncio.timeout(DEADLINE), Visitor(plant.port) as visitor:
        target.on("/old", old)
        for _ in range(2):
            answer = await visitor.get("/old")
            assert (answer.body, answer.headers["transfer-encoding"]) == (b"x" * 100_000, "chunked")
        visitor.write_head("GET", visitor.url("/old"), minor=0)
        answer = await visitor.response()
        assert answer.body == b"x" * 100_000
        assert "transfer-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"POST /api/v1/proxy/a/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
        (b"GET /api/v1/proxy/a/" + b"x" * 9000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (b"GET /api/v1/proxy/a/hello HTTP/2.0\r\nHost: h\r\n\r\n", 505),
    ],
    ids=["no-host", "two-framings", "connect", "long-target", "version"],
)  # fmt: skip
async def test_bad_requests_stay_at_the_hub(ws_plant: Plant, raw: bytes, status: int) -> None:
    plant = ws_plant
    async with plant.target() as target, asyncio.timeout(DEADLINE), Visitor(plant.port) as visitor:
        # What follows a refused request is never read as another.
        await visitor.send(raw + b"GET /api/v1/proxy/a/hello HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = await visitor.response()
        assert (answer.status, answer.keeps) == (status, False)
        assert set(answer.json) == {"msg", "code", "request_id"}
        assert await visitor.at_end()
        assert target.calls == []


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        b"HTTP/1.1 000 No\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"",
    ],
    ids=["c8-two-lengths", "c9-coding", "c13-status", "no-http", "c14-unasked-101", "nothing"],
)
async def test_bad_responses_become_502(ws_plant: Plant, raw: bytes) -> None:
    plant = ws_plant

    async def bad(call: Call) -> None:
        await call.send(raw)
        call.cut()

    async with plant.target() as target, asyncio.timeout(DEADLINE), Visitor(plant.port) as visitor:
        target.on("/bad", bad)
        answer = await visitor.request("POST", visitor.url("/bad"), b"x")
        assert answer.status == 502, answer
        assert set(answer.json) == {"msg", "code", "request_id"}
        assert (await fetch(plant.port, "/hello")).status == 200
