"""All that targets and visitors do, well behaved or not, at once and at random: each answer is whole and its own, or visibly cut.

What only happens when two things come in the same turn of a loop is not found by cases made one by one.
MIXTURE_REQUESTS=20000 makes a soak of it. MIXTURE_SEED repeats what is drawn, not what the machine makes of it.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import grpc.aio
import pytest
from tests.system.conftest import address
from tests.system.harness import DEADLINE, System, free_port
from tests.system.targets import Call, Target, body_of
from tests.system.visitors import Cut, Response, Visitor

from tunnelpb.hub.v1 import route_pb2 as pb
from tunnelpb.hub.v1 import session_pb2 as session_pb
from tunnelpb.hub.v1.route_pb2_grpc import RouteServiceStub
from tunnelpb.hub.v1.session_pb2_grpc import SessionServiceStub

REQUESTS = int(os.environ.get("MIXTURE_REQUESTS", "1000"))
SEED = int(os.environ.get("MIXTURE_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
VISITORS = 24
SIZES = (0, 1, 13, 1000, 16_000, 66_000, 300_000)
# How the target answers: as one should, before or halfway through the upload, in chunks, until it closes, or not to the end.
MODES = ("plain", "plain", "early", "early", "half", "chunked", "hinted", "until_close", "cut", "reset", "silent")


def content(number: int, size: int) -> bytes:
    """The body that belongs to a request: no two are alike from the first byte on."""
    tag = b"%08d" % number
    return (tag + body_of(size))[:size]


async def mix(call: Call) -> None:
    """The target: does what the query says."""
    number, size, mode = int(call.argument("n")), int(call.argument("size")), call.argument("mode")
    up = int(call.argument("up"))
    upload = call.pieces()
    got = b""
    if mode == "silent":
        call.cut()
        return
    if mode == "half":
        while len(got) < up // 2:
            got += await anext(upload)
    elif mode != "early":
        # To the last byte, or what is left would make an RST of a FIN.
        got = b"".join([piece async for piece in upload])
    await answer(call, number, size, mode)
    if not call.close:
        got += b"".join([piece async for piece in upload])
        assert got == content(number, up), f"request {number} has another's body"


async def answer(call: Call, number: int, size: int, mode: str) -> None:
    """The response of a request, in the mode's way."""
    body, mine = content(number, size), f"X-Number: {number}"
    if mode == "hinted":
        await call.head("103 Early Hints", "Link: </s>")
    if mode in ("cut", "reset"):
        await call.head("200 OK", mine, f"Content-Length: {size + 10}")
        await call.send(body)
        call.cut(reset=mode == "reset")
    elif mode == "until_close":
        await call.head("200 OK", mine, "Connection: close")
        await call.send(body)
        call.cut()
    elif mode == "chunked":
        await call.head("200 OK", mine, "Transfer-Encoding: chunked")
        for begin in range(0, size, 30_000):
            await call.chunk(body[begin : begin + 30_000])
        await call.chunk(b"")
    else:
        await call.answer("200 OK", body, mine)


class Someone:
    """A visitor who asks one thing after another.

    Args:
        port: the hub's.
        dice: decides what.
        seen: outcomes are counted here, by mode.
        evicted: sessions are, so that any answer may fail or be cut.
    """

    def __init__(
        self, port: int, dice: random.Random, seen: Counter[tuple[str, str]], *, evicted: bool = False
    ) -> None:
        self._port = port
        self._dice = dice
        self._seen = seen
        self._evicted = evicted

    async def run(self, numbers: range) -> None:
        """Ask; on the same connection as long as it lasts."""
        left = list(numbers)
        while left:
            async with Visitor(self._port) as visitor:
                keeps = True
                while left and keeps:
                    if self._dice.random() < 0.1 and not self._evicted:
                        keeps = await self._pipeline(visitor, [left.pop() for _ in range(min(4, len(left)))])
                    else:
                        keeps = await self._ask(visitor, left.pop())

    async def _pipeline(self, visitor: Visitor, numbers: list[int]) -> bool:
        """Several at once, with bodies that are there at once."""
        asked = [(number, self._dice.choice(SIZES), self._dice.choice((0, 13, 16_000))) for number in numbers]
        for number, size, up in asked:
            target = visitor.url(f"/mix?n={number}&size={size}&up={up}&mode=plain")
            visitor.write_head("PUT", target, f"Content-Length: {up}", body=content(number, up))
        for number, size, _ in asked:
            self._seen["plain", self._judge(await visitor.response(), number, size, "plain")] += 1
        return True

    async def _ask(self, visitor: Visitor, number: int) -> bool:
        dice = self._dice
        mode, size, up = dice.choice(MODES), dice.choice(SIZES), dice.choice(SIZES)
        target = visitor.url(f"/mix?n={number}&size={size}&up={up}&mode={mode}")
        # An old visitor, whose answers may end with the connection; or one that asks nothing more.
        old, last = dice.random() < 0.1, dice.random() < 0.1
        sending = asyncio.ensure_future(self._send(visitor, target, number, up, old=old, last=last))
        if dice.random() < 0.05:
            await asyncio.sleep(dice.random() / 100)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            visitor.leave(reset=dice.random() < 0.5)
            self._seen[mode, "left"] += 1
            return False
        try:
            response = await visitor.response()
            outcome = self._judge(response, number, size, mode)
        except Cut as cut:
            assert self._evicted or mode in ("cut", "reset"), (number, mode, cut)
            assert cut.response.headers["x-number"] == str(number)
            assert content(number, size).startswith(cut.response.body[:size]), (number, "has another's answer")
            response, outcome = cut.response, "cut"
        self._seen[mode, outcome] += 1
        sent = sending.done()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return sent and not last and outcome != "cut" and response.keeps

    async def _send(self, visitor: Visitor, target: str, number: int, up: int, *, old: bool, last: bool) -> None:
        """A request with its body in pieces of any size."""
        dice, body = self._dice, content(number, up)
        chunked = up > 0 and not old and dice.random() < 0.3
        first = dice.choice((0, 100, up))
        method = dice.choice(("POST", "PUT")) if up else "GET"
        framing = [] if not up else ["Transfer-Encoding: chunked"] if chunked else [f"Content-Length: {up}"]
        with suppress(ConnectionError):
            visitor.write_head(method, target, *framing, minor=int(not old), body=b"" if chunked else body[:first])
            begin = 0 if chunked else first
            while begin < up:
                piece = (
                    body[begin : begin + dice.choice((10, 4_000, 70_000))]
                    if up < 1000
                    else body[begin : begin + 50_000]
                )
                begin += len(piece)
                await visitor.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                if dice.random() < 0.3:
                    await asyncio.sleep(0)
            if chunked:
                await visitor.send(b"0\r\n\r\n")
            if last:
                visitor.writer.write_eof()

    def _judge(self, response: Response, number: int, size: int, mode: str) -> str:
        if response.status == 200:
            assert mode not in ("cut", "reset", "silent"), (number, mode, "a cut answer looks whole")
            assert response.headers["x-number"] == str(number), "another's answer"
            assert response.body == content(number, size), (number, mode, "another's body")
            return "whole"
        assert response.status == 502 or (self._evicted and response.status == 503), (number, mode, response)
        assert self._evicted or mode in ("cut", "reset", "silent"), (number, mode, response.json)
        return "502"


async def ask_all(port: int, seen: Counter[tuple[str, str]], *, evicted: bool = False) -> int:
    """Have all visitors ask at once; returns how often."""
    each = -(-REQUESTS // VISITORS)
    async with asyncio.TaskGroup() as group:
        for index in range(VISITORS):
            someone = Someone(port, random.Random(SEED + index), seen, evicted=evicted)
            group.create_task(someone.run(range(index * each, (index + 1) * each)))
    return each * VISITORS


@pytest.mark.parametrize(
    ("carrier", "limits"),
    [
        ("ws", ""),
        # Requests and bytes are counted, and bytes waited for.
        ("tcp", 'request_rate = 1e6\nvisitor_request_rate = 1e6\nbandwidth = "64MiB"\nvisitor_bandwidth = "64MiB"\n'),
    ],
    ids=["plain", "limited"],
)
async def test_every_answer_is_whole_and_its_own_or_visibly_cut(
    system: System, sockets: list[socket.socket], tmp_path: Path, carrier: str, limits: str
) -> None:
    settings = tmp_path / "hub.toml"
    settings.write_text(f"[limits]\n{limits}")
    system.start_hub("--config", str(settings))
    system.start_agent("a", f"http://{address(sockets[0])}", url=f"{carrier}://127.0.0.1:{system.port}")
    seen: Counter[tuple[str, str]] = Counter()
    print(f"MIXTURE_SEED={SEED}")
    async with Target(sockets[0]) as target, asyncio.timeout(DEADLINE + REQUESTS / 10):
        target.on("/mix", mix)
        asked = await ask_all(system.port, seen)
    assert seen.total() == asked
    assert {mode for mode, outcome in seen if outcome == "whole"} == set(MODES) - {"cut", "reset", "silent"}


@pytest.mark.parametrize("how", ["drain", "evict"])
async def test_sessions_that_go_take_nothing_along(system: System, sockets: list[socket.socket], how: str) -> None:
    """All of that while one session after the other is drained, which nobody notices, or evicted; and no POST comes twice."""
    seen: Counter[tuple[str, str]] = Counter()
    print(f"MIXTURE_SEED={SEED}")
    with tempfile.TemporaryDirectory(prefix="adm") as folder:
        system.start_hub("--admin", f"unix:{folder}/a.sock")
        for _ in range(2):
            system.start_agent("a", f"http://{address(sockets[0])}")
        async with (
            Target(sockets[0]) as target,
            asyncio.timeout(DEADLINE + REQUESTS / 10),
            grpc.aio.insecure_channel(f"unix:{folder}/a.sock") as channel,
        ):
            target.on("/mix", mix)
            sessions = SessionServiceStub(channel)
            names: list[str] = []
            going = asyncio.ensure_future(_send_away(sessions, how, names))
            asked = await ask_all(system.port, seen, evicted=how == "evict")
            going.cancel()
            (gone,) = await asyncio.gather(going, return_exceptions=True)
            assert isinstance(gone, asyncio.CancelledError), gone
            posted = Counter(call.argument("n") for call in target.calls if call.method == "POST")
    assert seen.total() == asked and len(names) > 2
    assert [number for number, times in posted.items() if times > 1] == []


async def _send_away(sessions: SessionServiceStub, how: str, names: list[str]) -> None:
    """Drain or evict the older of two sessions, again and again; their names are left in a list."""
    wanted = session_pb.SessionFilter(states=[session_pb.Session.STATE_ACTIVE])
    while True:
        rows = (await sessions.ListSessions(session_pb.ListSessionsRequest(filter=wanted))).sessions
        if len(rows) < 2:
            await asyncio.sleep(0.02)
            continue
        name = min(rows, key=lambda row: (row.connect_time.seconds, row.connect_time.nanos)).name
        if how == "drain":
            await sessions.DrainSession(session_pb.DrainSessionRequest(name=name))
        else:
            await sessions.EvictSession(session_pb.EvictSessionRequest(name=name))
        names.append(name)
        await asyncio.sleep(0.2)


async def tunnel(call: Call) -> None:
    """The target of an upgrade: says its part, hears the other's, and ends as the query says."""
    number, size, end = int(call.argument("n")), int(call.argument("size")), call.argument("end")
    body = content(number, size)
    early, up = int(call.argument("early")), int(call.argument("up"))
    call.close = True
    await call.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + body[:early]
    )
    hearing = asyncio.ensure_future(call.reader.read(-1))
    await call.send(body[early:])
    if end == "reset":
        hearing.cancel()
        call.cut(reset=True)
        return
    call.writer.write_eof()
    try:
        heard = await hearing
    except OSError:
        assert end != "whole", f"tunnel {number} was cut"
        return
    assert content(number + 1, up).startswith(heard), f"tunnel {number} has another's bytes"
    assert end == "whole", f"tunnel {number} was cut {len(heard)} bytes in and looks whole"
    assert len(heard) == up, f"tunnel {number} ended {len(heard)} bytes in"


async def through(visitor: Visitor, dice: random.Random, number: int, prefix: str) -> str:
    """One tunnel, asked for by an upgrade; returns how it ended."""
    size, up = dice.choice(SIZES), dice.choice(SIZES)
    end = dice.choice(("whole", "whole", "whole", "reset", "left"))
    body = content(number + 1, up)
    early = dice.choice((0, min(13, up), up))
    target = f"{prefix}/up?n={number}&size={size}&up={up}&end={end}&early={dice.choice((0, 13))}"
    upgrade = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    )
    visitor.write_head("GET", target, *upgrade, body=body[:early])
    assert (await visitor.head()).status == 101
    hearing = asyncio.ensure_future(visitor.reader.read(-1))
    with suppress(*(() if end == "whole" else (OSError,))):
        await visitor.send(body[early:])
        if end == "left":
            hearing.cancel()
            visitor.leave()
            return end
        visitor.writer.write_eof()
    try:
        heard = await hearing
    except OSError:
        assert end == "reset", number
        return end
    assert content(number, size).startswith(heard), f"visitor {number} has another's bytes"
    assert end == "whole", (number, end, "a cut tunnel looks whole")
    assert len(heard) == size, (number, len(heard), size)
    return end


@pytest.mark.parametrize("kind", ["upgrade", "port"])
async def test_every_tunnel_is_whole_or_visibly_cut(system: System, sockets: list[socket.socket], kind: str) -> None:
    """By an upgrade that the hub sees, and the same over a TCP route, where it is bytes to the hub."""
    with tempfile.TemporaryDirectory(prefix="adm") as folder:
        system.start_hub("--admin", f"unix:{folder}/a.sock")
        scheme, port, prefix = "http", system.port, "/api/v1/proxy/a"
        if kind == "port":
            scheme, port, prefix = "tcp", free_port(), ""
            async with grpc.aio.insecure_channel(f"unix:{folder}/a.sock") as channel:
                route = pb.Route(tcp_port=port, agent="agents/a")
                await RouteServiceStub(channel).CreateRoute(pb.CreateRouteRequest(route=route))
        system.start_agent("a", f"{scheme}://{address(sockets[0])}")
        print(f"MIXTURE_SEED={SEED}")
        ends: Counter[str] = Counter()
        dice = random.Random(SEED)

        async def several(numbers: range) -> None:
            for number in numbers:
                async with Visitor(port) as visitor:
                    ends[await through(visitor, dice, number, prefix)] += 1

        each = REQUESTS // 4 // VISITORS
        async with Target(sockets[0]) as target, asyncio.timeout(DEADLINE + REQUESTS / 10):
            target.on("/up", tunnel)
            async with asyncio.TaskGroup() as group:
                for index in range(VISITORS):
                    group.create_task(several(range(2 * index * each, 2 * (index + 1) * each, 2)))
        assert ends.total() == each * VISITORS and len(ends) == 3
