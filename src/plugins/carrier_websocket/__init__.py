"""Carriers `ws://` and `wss://`: TCP or TLS, and an upgrade with token `websocket`.

Both sides agreeing on subprotocol `yamux.v1` means binary messages, so that proxies which look into WebSocket
connections see nothing odd. Without the agreement the upgraded connection carries the session's bytes raw, which is
what Go programs built on gorilla's connection under the WebSocket do.
"""

from __future__ import annotations

import asyncio

from carrier_api import client_context, dial_tcp, hookimpl, listen_tcp, parse_url, server_context
from carrier_websocket.transport import WebSocketError, WebSocketTransport
from carrier_websocket.upgrade import SUBPROTOCOL, WebSocketFraming, WebSocketOffer, WebSocketUpgrade
from yamux.carrier import CarrierAddress, Listener, ProtocolFactory, TlsOptions

__all__ = [
    "SUBPROTOCOL",
    "WebSocketCarrier",
    "WebSocketError",
    "WebSocketFraming",
    "WebSocketOffer",
    "WebSocketTransport",
    "WebSocketUpgrade",
    "tunnel_carriers",
]


class WebSocketCarrier:
    """See `yamux.carrier.Carrier`. Default ports are 80 and 443."""

    name = "websocket"
    schemes = ("ws", "wss")
    upgrade = WebSocketUpgrade()

    def parse(self, url: str) -> CarrierAddress:
        """Read `ws://host[:port][/base]` or `wss://…`."""
        if url[:6].lower() == "wss://":
            return parse_url(url, schemes=("wss",), default_port=443, secure=True)
        return parse_url(url, schemes=self.schemes, default_port=80, secure=False)

    async def dial(
        self, address: CarrierAddress, factory: ProtocolFactory, *, tls: TlsOptions, timeout: float
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect, with TLS for `wss`. The upgrade is the caller's."""
        assert address.port is not None
        context = client_context(tls) if address.scheme == "wss" else None
        return await dial_tcp(
            address.host,
            address.port,
            factory,
            timeout=timeout,
            context=context,
            server_name=tls.server_name,
        )

    async def listen(
        self, address: CarrierAddress, factory: ProtocolFactory, *, tls: TlsOptions | None, backlog: int
    ) -> Listener:
        """Accept connections; `tls` goes with `wss` and only with it."""
        if address.scheme == "wss":
            return await listen_tcp(address, factory, backlog=backlog, context=server_context(tls or TlsOptions()))
        if tls is not None:
            raise ValueError("ws:// has no TLS; use wss://")
        return await listen_tcp(address, factory, backlog=backlog)


@hookimpl
def tunnel_carriers() -> list[WebSocketCarrier]:
    """This plugin's carrier."""
    return [WebSocketCarrier()]
