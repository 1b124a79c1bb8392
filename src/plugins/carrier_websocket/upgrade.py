"""The WebSocket opening handshake (RFC 6455 section 4) without its HTTP: fields in, fields out."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os

from carrier_api import RAW_FRAMING
from carrier_websocket.transport import WebSocketTransport
from yamux.carrier import Fields, Framing, UpgradeRefused

SUBPROTOCOL = b"yamux.v1"
"""Agreed: the session's bytes travel in binary messages. Not agreed: raw after the 101."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocketFraming:
    """Puts a `WebSocketTransport` between connection and session."""

    __slots__ = ("_client",)

    def __init__(self, *, client: bool) -> None:
        self._client = client

    def start(self, transport: asyncio.Transport, session: asyncio.Protocol, leftover: bytes) -> None:
        """See `yamux.carrier.Framing.start`."""
        adapter = WebSocketTransport(transport, session, client=self._client)
        transport.set_protocol(adapter)
        session.connection_made(adapter)
        if leftover:
            adapter.data_received(leftover)


class WebSocketOffer:
    """One client handshake with a key of its own."""

    __slots__ = ("_key",)

    def __init__(self) -> None:
        self._key = base64.b64encode(os.urandom(16))

    @property
    def headers(self) -> Fields:
        """No extension is ever offered: compressing other people's secrets next to attacker-chosen bytes leaks them."""
        return [
            (b"Sec-WebSocket-Key", self._key),
            (b"Sec-WebSocket-Version", b"13"),
            (b"Sec-WebSocket-Protocol", SUBPROTOCOL),
        ]

    def confirm(self, headers: Fields) -> Framing:
        """Binary messages if the server agreed on the subprotocol, raw bytes if it named none."""
        accept = _values(headers, b"sec-websocket-accept")
        if len(accept) != 1 or not hmac.compare_digest(accept[0], accept_key(self._key)):
            raise UpgradeRefused(502, "bad_accept", "the server's Sec-WebSocket-Accept does not answer our key")
        if _values(headers, b"sec-websocket-extensions"):
            raise UpgradeRefused(502, "bad_extension", "the server chose a WebSocket extension that was not offered")
        chosen = _values(headers, b"sec-websocket-protocol")
        if not chosen:
            return RAW_FRAMING
        if chosen != [SUBPROTOCOL]:
            raise UpgradeRefused(
                502, "bad_subprotocol", "the server chose a WebSocket subprotocol that was not offered"
            )
        return WebSocketFraming(client=True)


class WebSocketUpgrade:
    """Token `websocket`."""

    __slots__ = ()

    token = b"websocket"

    def offer(self) -> WebSocketOffer:
        """See `yamux.carrier.Upgrade.offer`."""
        return WebSocketOffer()

    def accept(self, headers: Fields) -> tuple[Fields, Framing]:
        """See `yamux.carrier.Upgrade.accept`. Extensions offered are declined by not naming them."""
        if _values(headers, b"sec-websocket-version") != [b"13"]:
            version = [(b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", b"13")]
            raise UpgradeRefused(426, "websocket_version", "WebSocket version 13 is needed", version)
        keys = _values(headers, b"sec-websocket-key")
        if len(keys) != 1 or not _is_key(keys[0]):
            raise UpgradeRefused(400, "websocket_key", "Sec-WebSocket-Key is missing or not 16 bytes in base64")
        answer: Fields = [(b"Sec-WebSocket-Accept", accept_key(keys[0]))]
        offered = b",".join(_values(headers, b"sec-websocket-protocol")).split(b",")
        if SUBPROTOCOL not in (name.strip() for name in offered):
            return answer, RAW_FRAMING
        answer.append((b"Sec-WebSocket-Protocol", SUBPROTOCOL))
        return answer, WebSocketFraming(client=False)


def accept_key(key: bytes) -> bytes:
    """The server's proof that it read the key (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False


def _values(headers: Fields, name: bytes) -> list[bytes]:
    return [value.strip(b" \t") for field, value in headers if field.lower() == name]
