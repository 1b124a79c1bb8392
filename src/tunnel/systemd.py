"""The service manager's side of a daemon: telling it what happens, and taking the sockets it opened. No library needed.

Both protocols are plain: datagrams to the socket in ``NOTIFY_SOCKET`` (sd_notify(3)), and descriptors from number 3 on
with ``LISTEN_FDS`` saying how many (sd_listen_fds(3)). Without those variables nothing happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Mapping, MutableMapping

FIRST_FD = 3


class Notifier:
    """Tells the service manager.

    Args:
        environ: with ``NOTIFY_SOCKET``, a path or an abstract name that begins with ``@``, and ``WATCHDOG_USEC``.

    Attributes:
        watchdog: seconds within which `alive` must be called again, None if nobody watches.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = ("\0" + name[1:] if name.startswith("@") else name) if name[:1] in ("/", "@") else ""
        micros = environ.get("WATCHDOG_USEC", "")
        meant = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog = int(micros) / 1e6 if self._address and meant and micros.isdigit() and int(micros) else None

    def tell(self, *lines: str) -> None:
        """Send lines such as ``READY=1``. A manager that does not listen is no fault of ours."""
        if self._address:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), self._address)

    def ready(self, status: str = "") -> None:
        """Start-up, or a reload, is over."""
        self.tell("READY=1", *([f"STATUS={status}"] if status else []))

    def reloading(self) -> None:
        """A reload begins."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The end begins."""
        self.tell("STOPPING=1")

    def alive(self) -> None:
        """The loop turns."""
        self.tell("WATCHDOG=1")

    async def feed(self) -> None:
        """Say so, twice as often as the watchdog asks for, until cancelled. Returns at once where there is none."""
        while self.watchdog is not None:
            self.alive()
            await asyncio.sleep(self.watchdog / 2)

    def main_pid(self, pid: int) -> None:
        """Another process is the service from now on."""
        self.tell(f"MAINPID={pid}")


def activated(environ: MutableMapping[str, str]) -> list[tuple[str, socket.socket]]:
    """Take the listening sockets the service manager opened, with their names, and forget the variables.

    Sockets that are none, or not for this process, are left alone. The names are those of ``FileDescriptorName=``; a
    socket without one has the name of its unit.
    """
    count, pid = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if not count.isdigit() or pid != str(os.getpid()):
        return []
    found = []
    for index in range(int(count)):
        try:
            sock = socket.socket(fileno=FIRST_FD + index)
        except OSError:
            continue
        os.set_inheritable(sock.fileno(), False)
        sock.setblocking(False)
        found.append((names[index] if index < len(names) else "", sock))
    return found
