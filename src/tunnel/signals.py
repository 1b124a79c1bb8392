"""Signals around the end of a daemon."""

from __future__ import annotations

import asyncio
import signal


def ignore_stops(loop: asyncio.AbstractEventLoop) -> None:
    """Have SIGTERM and SIGINT do nothing from now on.

    For a daemon that has stopped: its loop gives the signals their default action back when it is closed, and a second
    SIGTERM from an impatient supervisor would then turn exit code 0 into a death by signal.

    Args:
        loop: whose handlers are removed; not running, not closed.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
