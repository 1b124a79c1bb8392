from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from carrier_api import kit
from carrier_websocket import WebSocketCarrier, tunnel_carriers

if TYPE_CHECKING:
    from tests.plugins.conftest import Certificates

CARRIER = WebSocketCarrier()


@pytest.mark.parametrize("check", kit.CHECKS, ids=kit.name_of)
async def test_ws(check: kit.Check, full_port: int) -> None:
    bench = kit.Bench(CARRIER, "ws://127.0.0.1:0", marks_end=True, silent_url=f"ws://127.0.0.1:{full_port}")
    await kit.run(bench, [check])


@pytest.mark.parametrize("check", kit.CHECKS, ids=kit.name_of)
async def test_wss(check: kit.Check, certificates: Certificates, silent_port: int) -> None:
    bench = kit.Bench(
        CARRIER,
        "wss://127.0.0.1:0",
        client_tls=certificates.client,
        server_tls=certificates.server,
        marks_end=True,
        silent_url=f"wss://127.0.0.1:{silent_port}",
    )
    await kit.run(bench, [check])


def test_urls() -> None:
    (carrier,) = tunnel_carriers()
    plain, secure = carrier.parse("ws://hub.example/base/"), carrier.parse("WSS://hub.example:8443")
    assert (plain.port, plain.path, plain.secure, plain.authority) == (80, "/base", False, "hub.example")
    assert (secure.port, secure.path, secure.secure, secure.authority) == (8443, "", True, "hub.example:8443")
    with pytest.raises(ValueError, match="starting with ws:// or wss://"):
        carrier.parse("http://hub.example")


async def test_tls_options_go_with_wss_only(certificates: Certificates) -> None:
    with pytest.raises(ValueError, match="wss://"):
        await CARRIER.listen(CARRIER.parse("ws://127.0.0.1:0"), _never, tls=certificates.server, backlog=1)
    with pytest.raises(ValueError, match="certificate"):
        await CARRIER.listen(CARRIER.parse("wss://127.0.0.1:0"), _never, tls=None, backlog=1)


def _never() -> None:
    raise AssertionError("no connection was to be accepted")
