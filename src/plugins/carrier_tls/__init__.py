"""Carrier `tls://host[:port]`: TLS from the first byte, certificate and host name checked."""

from __future__ import annotations

import asyncio

from carrier_api import (
    RawUpgrade,
    client_context,
    dial_tcp,
    hookimpl,
    listen_tcp,
    parse_url,
    server_context,
)
from yamux.carrier import CarrierAddress, Listener, ProtocolFactory, TlsOptions

__all__ = ["TlsCarrier", "tunnel_carriers"]


class TlsCarrier:
    """See `yamux.carrier.Carrier`. The default port is 443."""

    name = "tls"
    schemes = ("tls",)
    upgrade = RawUpgrade()

    def parse(self, url: str) -> CarrierAddress:
        """Read `tls://host[:port][/base]`."""
        return parse_url(url, schemes=self.schemes, default_port=443, secure=True)

    async def dial(
        self, address: CarrierAddress, factory: ProtocolFactory, *, tls: TlsOptions, timeout: float
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect and shake hands."""
        assert address.port is not None
        return await dial_tcp(
            address.host,
            address.port,
            factory,
            timeout=timeout,
            context=client_context(tls),
            server_name=tls.server_name,
        )

    async def listen(
        self, address: CarrierAddress, factory: ProtocolFactory, *, tls: TlsOptions | None, backlog: int
    ) -> Listener:
        """Accept connections; `tls` must name a certificate."""
        return await listen_tcp(address, factory, backlog=backlog, context=server_context(tls or TlsOptions()))


@hookimpl
def tunnel_carriers() -> list[TlsCarrier]:
    """This plugin's carrier."""
    return [TlsCarrier()]
