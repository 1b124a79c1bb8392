"""Signals around the start and the end of a program. Imports next to nothing: it is what programs import first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


@contextmanager
def quick_end() -> Iterator[None]:
    """Have Ctrl-C end the process at once and without a word in this block.

    For the imports, which take most of a start: there is nothing to clear away yet, and a traceback would tell which
    module was being read, which is nobody's concern. Does nothing where the shell has SIGINT ignored.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
