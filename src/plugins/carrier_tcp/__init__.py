"""Carrier `tcp://host:port`: plain TCP, for loopback and networks that are encrypted below."""

from __future__ import annotations

import asyncio

from carrier_api import RawUpgrade, dial_tcp, hookimpl, listen_tcp, parse_url
from yamux.carrier import CarrierAddress, Listener, ProtocolFactory, TlsOptions

__all__ = ["TcpCarrier", "tunnel_carriers"]


class TcpCarrier:
    """See `yamux.carrier.Carrier`. The port is mandatory."""

    name = "tcp"
    schemes = ("tcp",)
    upgrade = RawUpgrade()

    def parse(self, url: str) -> CarrierAddress:
        """Read `tcp://host:port[/base]`."""
        return parse_url(url, schemes=self.schemes, default_port=None, secure=False)

    async def dial(
        self, address: CarrierAddress, factory: ProtocolFactory, *, tls: TlsOptions, timeout: float
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect; TLS options do not apply."""
        assert address.port is not None
        return await dial_tcp(address.host, address.port, factory, timeout=timeout)

    async def listen(
        self, address: CarrierAddress, factory: ProtocolFactory, *, tls: TlsOptions | None, backlog: int
    ) -> Listener:
        """Accept connections."""
        if tls is not None:
            raise ValueError("tcp:// has no TLS; use tls://")
        return await listen_tcp(address, factory, backlog=backlog)


@hookimpl
def tunnel_carriers() -> list[TcpCarrier]:
    """This plugin's carrier."""
    return [TcpCarrier()]
