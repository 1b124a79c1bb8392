"""The door for carrier plugins: hook, registry, and what most carriers need.

A plugin is an entry point of the group `tunnel.carriers` naming an object with one hook:

    from carrier_api import hookimpl

    @hookimpl
    def tunnel_carriers():
        return [MyCarrier()]

Nothing is imported before `Registry.load`. The compliance kit is in `carrier_api.kit`.
"""

from __future__ import annotations

from carrier_api.hooks import PROJECT, CarrierHooks, hookimpl, hookspec
from carrier_api.raw import RAW_FRAMING, RawFraming, RawOffer, RawUpgrade
from carrier_api.registry import GROUP, PluginRow, Registry
from carrier_api.sockets import SocketListener, dial_tcp, is_loopback, listen_tcp, parse_url, tune, tuned
from carrier_api.tls import client_context, renew_server_contexts, server_context

__all__ = [
    "GROUP",
    "PROJECT",
    "RAW_FRAMING",
    "CarrierHooks",
    "PluginRow",
    "RawFraming",
    "RawOffer",
    "RawUpgrade",
    "Registry",
    "SocketListener",
    "client_context",
    "dial_tcp",
    "hookimpl",
    "hookspec",
    "is_loopback",
    "listen_tcp",
    "parse_url",
    "renew_server_contexts",
    "server_context",
    "tune",
    "tuned",
]
