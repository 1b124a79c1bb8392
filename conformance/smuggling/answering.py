"""Targets that answer with a payload, and visitors that read what becomes of it as h11 and aiohttp do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import aiohttp
import h11

from agentd.terms import session_config
from carrier_api import Registry
from conformance.smuggling.cases import PREFIX
from conformance.smuggling.reading import H11Reader
from conformance.smuggling.responses import Response
from conformance.smuggling.rig import PATIENCE, Splitting, cut, running_agent, running_hub, until_attached
from hubd.app import App as Hub
from tunnel.attach import attach
from yamux import Session
from yamux.carrier import TlsOptions

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain"
_ROOM = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """One response as a visitor reads it.

    Attributes:
        status: 0 if there was none.
        interim: statuses before it.
        body: decoded, as far as it came.
        whole: whether it ended as its framing says.
        names: of its fields, in lower case.
    """

    status: int
    interim: tuple[int, ...]
    body: bytes
    whole: bool
    names: frozenset[bytes]


class Script:
    """What the target answers to ``/r``; to everything else it answers plainly.

    Attributes:
        case: the payload.
        splitting: how it is cut.
        one_each: every connection is a stream, which ends with its response.
    """

    case: Response
    splitting: Splitting

    def __init__(self, *, one_each: bool) -> None:
        self.one_each = one_each
        self.tasks: set[asyncio.Task[None]] = set()

    def __call__(self) -> Scripted:
        return Scripted(self)


class Scripted(asyncio.Protocol):
    """One connection or stream of a target."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._reader = H11Reader()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for read in self._reader.feed(bytes(data)):
            if read.target.endswith(b"/r"):
                task = asyncio.ensure_future(self._answer(self._script.case))
                self._script.tasks.add(task)
                task.add_done_callback(self._script.tasks.discard)
            else:
                self._transport.write(PLAIN)
                if self._script.one_each:
                    self._transport.write_eof()

    def eof_received(self) -> bool:
        return self._script.one_each

    async def _answer(self, case: Response) -> None:
        pieces = cut(case.raw, self._script.splitting, case.id) if case.raw else []
        for piece in pieces:
            if self._transport.is_closing():
                return
            self._transport.write(piece)
            if len(pieces) > 1:
                await asyncio.sleep(0)
        if self._transport.is_closing():
            return
        if self._script.one_each:
            self._transport.write_eof()
        elif case.ends:
            self._transport.close()


class Rig:
    """A hub whose agent's target follows a script."""

    session: aiohttp.ClientSession

    def __init__(self, hub: Hub, script: Script) -> None:
        self.hub = hub
        self.script = script

    @property
    def port(self) -> int:
        """The hub's port."""
        return int(self.hub.urls[0].rpartition(":")[2])

    async def judge(self, case: Response, splitting: Splitting, *, second: bool) -> list[str]:
        """Ask for a payload; returns everything that is not as it must be."""
        self.script.case, self.script.splitting = case, splitting
        wrong = []
        methods = [b"GET"] * second + [case.method]
        asked = b"".join(_ask(method, b"/r" if n == second else b"/before") for n, method in enumerate(methods))
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(asked + _ask(b"GET", b"/after", b"Connection: close"))
        async with asyncio.timeout(PATIENCE):
            got = await _all(reader)
        writer.close()
        methods.append(b"GET")
        answers = read_by_h11(got, methods)
        if second:
            wrong += _plain(answers.pop(0))
        answer, *rest = answers
        wrong += differences(case, answer)
        if splitting == "whole":
            url = f"http://127.0.0.1:{self.port}{PREFIX.decode()}/r"
            other = await read_by_aiohttp(self.session, url, case.method)
            wrong += [f"aiohttp: {line}" for line in differences(case, other, interim=False)]
        if rest:
            wrong += _plain(rest[0])
        elif answer.whole and answer.status != 502 and case.status:
            wrong.append("a good answer ended the connection")
        # Whatever came: the next one who asks gets an answer of his own.
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(_ask(b"GET", b"/next", b"Connection: close"))
        async with asyncio.timeout(PATIENCE):
            wrong += _plain(read_by_h11(await _all(reader), [b"GET"])[0])
        writer.close()
        return wrong


def _ask(method: bytes, path: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join((b"%b %b%b HTTP/1.1" % (method, PREFIX, path), b"Host: hub", *lines, b"", b""))


async def _all(reader: asyncio.StreamReader) -> bytes:
    got = bytearray()
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 18):
            got += data
    return bytes(got)


def _plain(answer: Answer) -> list[str]:
    good = (answer.status, answer.body, answer.whole) == (200, b"plain", True)
    return [] if good else [f"somebody else's answer: {answer}"]


def differences(case: Response, answer: Answer, *, interim: bool = True) -> list[str]:
    """Everything in which an answer is not what a payload must become.

    Args:
        case: the payload.
        answer: as somebody read it.
        interim: who read it tells of interim answers.
    """
    wrong = []
    if case.status:
        if answer.status != case.status or not answer.whole:
            wrong.append(f"{answer}, not {case.status}")
        elif interim and case.status != 502 and answer.interim != case.interim:
            wrong.append(f"interim answers {answer.interim}, not {case.interim}")
        elif case.status != 502 and answer.body != case.body:
            wrong.append(f"body {answer.body[:200]!r}, not {case.body[:200]!r}")
    elif answer.whole and answer.status != 502:
        wrong.append(f"looks complete: {answer}")
    inner = {b"keep-alive", b"te", b"trailer", b"x-inner", b"proxy-authenticate", b"upgrade"} & answer.names
    if inner:
        wrong.append(f"fields passed on: {inner}")
    return wrong


def read_by_h11(raw: bytes, methods: Iterable[bytes]) -> list[Answer]:
    """The answers in these bytes, the last one perhaps cut or missing; their end is the end of the connection."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_ROOM)
    connection.receive_data(raw)
    connection.receive_data(b"")
    answers: list[Answer] = []
    for method in methods:
        connection.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"hub")]))
        connection.send(h11.EndOfMessage())
        answer = _one_by_h11(connection)
        answers.append(answer)
        if not answer.whole or connection.their_state is not h11.DONE or connection.our_state is not h11.DONE:
            break
        connection.start_next_cycle()
    return answers


def _one_by_h11(connection: h11.Connection) -> Answer:
    status, body, names = 0, bytearray(), frozenset[bytes]()
    interim: list[int] = []
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return Answer(status, tuple(interim), bytes(body), whole=False, names=names)
        if isinstance(event, h11.InformationalResponse):
            interim.append(event.status_code)
        elif isinstance(event, h11.Response):
            status = event.status_code
            names = frozenset(name for name, _ in event.headers)
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            whole = isinstance(event, h11.EndOfMessage)
            return Answer(status, tuple(interim), bytes(body), whole, names)


async def read_by_aiohttp(session: aiohttp.ClientSession, url: str, method: bytes) -> Answer:
    """What aiohttp's client makes of the answer to a request of its own."""
    status, body, names, whole = 0, b"", frozenset[bytes](), False
    with contextlib.suppress(aiohttp.ClientError):
        async with session.request(method.decode(), url, allow_redirects=False) as answer:
            status = answer.status
            names = frozenset(name.lower() for name, _ in answer.raw_headers)
            body = await answer.read()
            whole = True
    return Answer(status, (), body, whole, names)


@contextlib.asynccontextmanager
async def raw_rig() -> AsyncIterator[Rig]:
    """The target's bytes come from the agent's end of the streams: the hub reads them."""
    async with running_hub() as hub:
        rig = Rig(hub, Script(one_each=True))
        session = Session(client=True, config=session_config(1000), stream_factory=rig.script)
        carrier = Registry.load().for_url("tcp://")
        address = carrier.parse(f"tcp://127.0.0.1:{rig.port}")
        headers = [("X-Agent-Instance", "raw")]
        await attach(carrier, address, "a", session, tls=TlsOptions(), token=None, headers=headers, timeout=PATIENCE)
        async with aiohttp.ClientSession(auto_decompress=False, max_field_size=_ROOM) as rig.session:
            yield rig
        session.abort()


@contextlib.asynccontextmanager
async def agent_rig() -> AsyncIterator[Rig]:
    """The target's bytes come from a target: the agent reads them, and the hub what the agent makes of them."""
    script = Script(one_each=False)
    server = await asyncio.get_running_loop().create_server(script, "127.0.0.1", 0)
    target = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with running_hub() as hub:
        rig = Rig(hub, script)
        async with running_agent(rig.port, target):
            await until_attached(hub)
            async with aiohttp.ClientSession(auto_decompress=False, max_field_size=_ROOM) as rig.session:
                yield rig
    server.close()


RIGS = {"hub": raw_rig, "hub and agent": agent_rig}


async def judge_all(through: str, cases: Iterable[Response], splitting: Splitting, *, second: bool) -> list[str]:
    """Have targets answer with payloads; returns what was not as it must be.

    Args:
        through: whose reader gets the target's bytes, one of `RIGS`.
        cases: the payloads.
        splitting: how they are cut.
        second: each comes behind a plain response on the same connections.
    """
    wrong = []
    async with RIGS[through]() as rig:
        for case in cases:
            wrong += [f"{case.id}: {line[:2000]}" for line in await rig.judge(case, splitting, second=second)]
    return wrong
