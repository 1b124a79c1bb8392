"""Requests as others read them: h11 and aiohttp, neither of which shares a line with the code under test."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import h11
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParserPy
from aiohttp.streams import EMPTY_PAYLOAD

# More than anything the hub lets through.
_LARGEST_EVENT = 1 << 20
_FIELDS = 1000


@dataclass(frozen=True, slots=True)
class Read:
    """One whole request.

    Attributes:
        method: as received.
        target: as received.
        fields: names in lower case.
        body: decoded.
    """

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @property
    def framing(self) -> tuple[tuple[bytes, bytes], ...]:
        """The fields that say where the body ends."""
        return tuple(pair for pair in self.fields if pair[0] in (b"content-length", b"transfer-encoding"))


class H11Reader:
    """Reads the requests of one connection as they come.

    Attributes:
        raw: all bytes fed.
        reads: whole requests.
        fault: what h11 could not take.
    """

    def __init__(self) -> None:
        self.raw = bytearray()
        self.reads: list[Read] = []
        self.fault = ""
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_EVENT)
        self._request: h11.Request | None = None
        self._body = bytearray()

    @property
    def inside(self) -> bool:
        """Whether a request has begun that is not whole."""
        return self._request is not None or bool(self._connection.trailing_data[0])

    def feed(self, data: bytes) -> list[Read]:
        """Take bytes; returns the requests that became whole. Each is taken as answered."""
        self.raw += data
        before = len(self.reads)
        try:
            self._connection.receive_data(data)
            self._advance()
        except h11.RemoteProtocolError as exc:
            self.fault = str(exc)
        return self.reads[before:]

    def _advance(self) -> None:
        while True:
            event = self._connection.next_event()
            if isinstance(event, h11.Request):
                self._request = event
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert self._request is not None
                asked = self._request
                fields = tuple((name.lower(), value) for name, value in asked.headers.raw_items())
                self.reads.append(Read(asked.method, asked.target, fields, bytes(self._body)))
                self._request = None
                self._body.clear()
                self._answer()
            else:
                return

    def _answer(self) -> None:
        connection = self._connection
        connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        connection.send(h11.EndOfMessage())
        if connection.our_state is h11.DONE and connection.their_state is h11.DONE:
            connection.start_next_cycle()


def read_by_aiohttp(raw: bytes) -> list[Read]:
    """The whole requests in these bytes, by aiohttp's parser in Python."""
    loop = asyncio.get_running_loop()
    reads = []
    while raw:
        parser = HttpRequestParserPy(
            BaseProtocol(loop), loop, _LARGEST_EVENT, max_line_size=_LARGEST_EVENT, max_field_size=_LARGEST_EVENT,
            max_headers=_FIELDS, auto_decompress=False,
        )  # fmt: skip
        messages, upgraded, rest = parser.feed_data(raw)
        for message, payload in messages:
            if not payload.is_eof():
                continue
            body = b"" if payload is EMPTY_PAYLOAD else b"".join(payload._buffer)
            fields = tuple((name.lower(), value) for name, value in message.raw_headers)
            target = message.path.encode("utf-8", "surrogateescape")
            reads.append(Read(message.method.encode(), target, fields, body))
        # Nobody here grants an upgrade: what follows one is HTTP again.
        raw = rest if upgraded else b""
    return reads


def split(raw: bytes, marks: Sequence[int]) -> list[bytes]:
    """Cut bytes at these places."""
    places = [0, *sorted(marks), len(raw)]
    return [raw[a:b] for a, b in zip(places, places[1:], strict=False) if a < b]
