"""Other people's WebSocket programs at either end of the tunnel: Node's ws, wsproto and websockets, as servers and visitors.

A server sends each message back as it came; a text ``close CODE`` has it close with that code. A visitor plays one round
and tells what it saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from wsproto import ConnectionType, WSConnection, events
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import RemoteProtocolError

from conformance.children import Child

PATIENCE = 40.0
LARGEST = 1 << 22
BIG = 1 << 20
CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
"""Codes that may stand in a close frame and that all three programs send."""

Seen = dict[str, Any]
"""``packed``: permessage-deflate was agreed; ``same``: all messages came back; ``pong``: so did a ping; ``code``: of the end."""
Play = Callable[[str, int, bool, str], Awaitable[Seen]]
"""One round, from a URL, the code to close with, whether to offer compression, and who closes: ``us`` or ``them``."""

_NODE = """
const {WebSocket, WebSocketServer} = require('ws');
const BIG = 1 << 20;

if (process.argv[1] === 'serve') {
  const server = new WebSocketServer({host: '127.0.0.1', port: 0, perMessageDeflate: {threshold: 0}, maxPayload: 1 << 22});
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    socket.on('message', (data, binary) => {
      const asked = !binary && /^close ([0-9]+)$/.exec(data.toString());
      if (asked) socket.close(Number(asked[1]), 'asked to');
      else socket.send(data, {binary});
    });
  });
  server.on('listening', () => console.log('serving ' + server.address().port));
} else {
  require('node:readline').createInterface({input: process.stdin}).on('line', (line) => {
    const {url, code, pack, who} = JSON.parse(line);
    const seen = {packed: false, same: true, pong: '', code: 0};
    const socket = new WebSocket(url, {perMessageDeflate: pack && {threshold: 0}});
    const sent = ['hello', Buffer.from([0, 255, 128]), 'x'.repeat(BIG), Buffer.alloc(BIG, 7), 'in fragments, three of them'];
    let place = 0;
    socket.on('open', () => {
      seen.packed = socket.extensions.includes('permessage-deflate');
      for (const each of sent.slice(0, 4)) socket.send(each);
      socket.send('in fragments, ', {fin: false});
      socket.send('three ', {fin: false});
      socket.ping('are you there');
      socket.send('of them', {fin: true});
    });
    socket.on('pong', (data) => { seen.pong = data.toString(); });
    socket.on('message', (data, binary) => {
      const meant = sent[place++];
      if (binary !== (typeof meant !== 'string') || !Buffer.from(meant).equals(data)) seen.same = false;
      if (place < sent.length) return;
      if (who === 'us') socket.close(code, 'goodbye'); else socket.send('close ' + code);
    });
    socket.on('error', (error) => { seen.error = String(error); });
    socket.on('close', (code) => {
      seen.code = code;
      seen.same = seen.same && place === sent.length;
      console.log('seen ' + JSON.stringify(seen));
    });
  });
  console.log('ready');
}
"""
_MESSAGES: tuple[str | bytes, ...] = ("hello", b"\x00\xff\x80", "x" * BIG, b"\x07" * BIG)
_FRAGMENTS = ("in fragments, ", "three ", "of them")
# Where Debian puts modules.
_MODULES = {"NODE_PATH": os.pathsep.join(filter(None, ("/usr/share/nodejs", os.environ.get("NODE_PATH"))))}


def _node(role: str) -> list[str]:
    program = shutil.which("node")
    assert program is not None, "node is missing"
    return [program, "-e", _NODE, role]


# -- servers -----------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _ws_server() -> AsyncIterator[int]:
    async with await Child.start("ws", _node("serve"), _MODULES) as child:
        yield int((await child.wait_line(r"^serving (\d+)$"))[1])


@contextlib.asynccontextmanager
async def _websockets_server() -> AsyncIterator[int]:
    async def talk(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                if isinstance(message, str) and message.startswith("close "):
                    await connection.close(int(message[6:]), "asked to")
                else:
                    await connection.send(message)

    async with serve(talk, "127.0.0.1", 0, max_size=LARGEST) as server:
        yield next(iter(server.sockets)).getsockname()[1]


class _Wsproto:
    """One connection of wsproto over a reader and writer.

    Args:
        kind: which end it is.
        reader: from the other end.
        writer: to the other end.
    """

    def __init__(self, kind: ConnectionType, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.protocol = WSConnection(kind)
        self._reader, self._writer = reader, writer
        self._parts: list[Any] = []

    def send(self, *made: events.Event) -> None:
        """Write events, all in one piece."""
        self._writer.write(b"".join(self.protocol.send(event) for event in made))

    async def events(self) -> AsyncIterator[events.Event]:
        """What comes, with whole messages; ends with the connection."""
        while True:
            data = await self._reader.read(65536)
            try:
                self.protocol.receive_data(data or None)
            except RemoteProtocolError as fault:
                if fault.event_hint is not None:
                    self.send(fault.event_hint)
                return
            for event in self.protocol.events():
                if not isinstance(event, events.Message):
                    yield event
                    continue
                self._parts.append(event.data)
                if event.message_finished:
                    kind, empty = type(event), event.data[:0]
                    whole = empty.join(self._parts)
                    self._parts.clear()
                    yield kind(data=whole)
            await self._writer.drain()
            if not data:
                return


async def _wsproto_talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    peer = _Wsproto(ConnectionType.SERVER, reader, writer)
    with contextlib.suppress(ConnectionError):
        async for event in peer.events():
            if isinstance(event, events.Request):
                peer.send(events.AcceptConnection(extensions=[PerMessageDeflate()]))
            elif isinstance(event, events.TextMessage) and event.data.startswith("close "):
                peer.send(events.CloseConnection(int(event.data[6:]), "asked to"))
            elif isinstance(event, events.Message):
                peer.send(event)
            elif isinstance(event, events.Ping):
                peer.send(event.response())
            elif isinstance(event, events.CloseConnection):
                if peer.protocol.state.name == "REMOTE_CLOSING":
                    peer.send(event.response())
                break
    writer.close()


@contextlib.asynccontextmanager
async def _wsproto_server() -> AsyncIterator[int]:
    server = await asyncio.start_server(_wsproto_talk, "127.0.0.1", 0, limit=LARGEST)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


SERVERS = {"ws": _ws_server, "websockets": _websockets_server, "wsproto": _wsproto_server}


# -- visitors ----------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _ws_visitor() -> AsyncIterator[Play]:
    async with await Child.start("ws", _node("visit"), _MODULES) as child:
        await child.wait_line("^ready$")

        async def play(url: str, code: int, pack: bool, who: str) -> Seen:
            assert child.process.stdin is not None
            child.lines.clear()
            asked = json.dumps({"url": url, "code": code, "pack": pack, "who": who})
            child.process.stdin.write(asked.encode() + b"\n")
            seen: Seen = json.loads((await child.wait_line("^seen (.*)$", timeout=PATIENCE))[1])
            return seen

        yield play


async def _websockets_play(url: str, code: int, pack: bool, who: str) -> Seen:
    async with connect(url, compression="deflate" if pack else None, max_size=LARGEST) as connection:
        assert connection.response is not None
        seen: Seen = {"packed": "permessage-deflate" in connection.response.headers.get("Sec-WebSocket-Extensions", "")}
        for message in (*_MESSAGES, list(_FRAGMENTS)):
            await connection.send(message)
        pong = await connection.ping("are you there")
        back = [await connection.recv() for _ in range(len(_MESSAGES) + 1)]
        await pong
        seen |= {"same": back == [*_MESSAGES, "".join(_FRAGMENTS)], "pong": "are you there"}
        if who == "us":
            await connection.close(code, "goodbye")
        else:
            await connection.send(f"close {code}")
            with contextlib.suppress(ConnectionClosed):
                await connection.recv()
        return seen | {"code": connection.close_code}


async def _wsproto_play(url: str, code: int, pack: bool, who: str) -> Seen:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    peer = _Wsproto(ConnectionType.CLIENT, reader, writer)
    offered = [PerMessageDeflate()] if pack else []
    peer.send(events.Request(host=parts.netloc, target=parts.path, extensions=list(offered)))
    seen: Seen = {"packed": False, "pong": "", "code": 1006}
    back: list[str | bytes] = []
    async for event in peer.events():
        if isinstance(event, events.AcceptConnection):
            seen["packed"] = bool(event.extensions)
            peer.send(*map(_message, _MESSAGES))
            peer.send(*_fragments(_FRAGMENTS), events.Ping(b"are you there"))
        elif isinstance(event, events.Pong):
            seen["pong"] = bytes(event.payload).decode()
        elif isinstance(event, events.Message):
            back.append(event.data if isinstance(event.data, str) else bytes(event.data))
            if len(back) > len(_MESSAGES):
                closing: events.Event = events.TextMessage(f"close {code}")
                peer.send(events.CloseConnection(code, "goodbye") if who == "us" else closing)
        elif isinstance(event, events.CloseConnection):
            seen["code"] = event.code
            if who == "them":
                peer.send(event.response())
            break
    writer.close()
    return seen | {"same": back == [*_MESSAGES, "".join(_FRAGMENTS)]}


def _message(data: str | bytes) -> events.Event:
    return events.TextMessage(data) if isinstance(data, str) else events.BytesMessage(data)


def _fragments(texts: Sequence[str]) -> list[events.Event]:
    last = len(texts) - 1
    return [events.TextMessage(text, message_finished=number == last) for number, text in enumerate(texts)]


def _here(play: Play) -> Callable[[], contextlib.AbstractAsyncContextManager[Play]]:
    return lambda: contextlib.nullcontext(play)


VISITORS: dict[str, Callable[[], contextlib.AbstractAsyncContextManager[Play]]] = {
    "ws": _ws_visitor,
    "websockets": _here(_websockets_play),
    "wsproto": _here(_wsproto_play),
}
