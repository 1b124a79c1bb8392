"""When the hub's own certificate ends, told before it hurts: every visitor and agent is turned away from that moment on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography import x509

logger = logging.getLogger("hubd.identity")

WARNING: Final = 30 * 86400.0
"""Seconds before the end from which on it is told: what renews by itself does so earlier, and people have time."""
AGAIN: Final = 86400.0
"""Seconds between warnings."""


class Expiry:
    """Watches the end of one certificate.

    Args:
        clock: seconds since the epoch.

    Attributes:
        ends: seconds since the epoch; 0 while there is no certificate.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._path: Path | None = None
        self._next = 0.0
        self.ends = 0.0

    def watch(self, path: Path | None) -> None:
        """Read the certificate that is presented from now on, and tell if it ends soon.

        A file that cannot be read is told by whoever presents it; the end is that of the certificate before it then.
        """
        if path is None:
            self.ends = 0.0
        else:
            try:
                self.ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
            except (OSError, ValueError):
                return
        self._path = path
        self._next = 0.0
        self.poll()

    def poll(self) -> None:
        """Tell of an end that is near, once a day. Call it about once a second."""
        now = self._clock()
        if now < self._next or not self.ends or now < self.ends - WARNING:
            return
        self._next = now + AGAIN
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.ends))
        logger.warning(
            "TLS: the certificate %s %s on %s: renew it (hubd renew does so for one of hubd init's), then send SIGHUP",
            self._path, "ends" if now < self.ends else "has ended", when,
        )  # fmt: skip
