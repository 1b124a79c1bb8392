"""The event loop both daemons run on."""

from __future__ import annotations

import asyncio


def loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop's loop for ``asyncio.Runner``; None, the built-in one, where there is no wheel of it."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop
