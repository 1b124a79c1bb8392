"""The one hook a carrier plugin implements, and its markers."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from yamux.carrier import Carrier

PROJECT = "tunnel"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class CarrierHooks:
    """Hook specifications. A plugin implements them as plain functions of the same name."""

    @hookspec
    def tunnel_carriers(self) -> Iterable[Carrier]:
        """Return the carriers this plugin brings.

        Called once, right after the plugin was imported, with no event loop running perhaps: make objects here, open
        nothing. What it returns is checked against `yamux.carrier.Carrier`.
        """
        return ()
