"""When the hub's own certificates end, told before it hurts: every visitor and agent is turned away from that moment on.
And when lists of revoked certificates are old."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from cryptography import x509

logger = logging.getLogger("hubd.identity")

WARNING: Final = 30 * 86400.0
"""Seconds before the end from which on it is told: what renews by itself does so earlier, and people have time."""
AGAIN: Final = 86400.0
"""Seconds between warnings."""


class Expiry:
    """Watches the ends of certificates, and of revocation lists.

    Args:
        clock: seconds since the epoch.

    Attributes:
        ends: when the first of the certificates ends, in seconds since the epoch; 0 while there is none.
        due: when the first of the lists was to be followed by a newer one; 0 while there is none.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._certificates: dict[Path, float] = {}
        self._lists: dict[Path, float] = {}
        self._next = 0.0
        self.ends = self.due = 0.0

    def watch(self, paths: Iterable[Path], lists: Mapping[Path, float] | None = None) -> None:
        """Read the certificates that are presented from now on, and tell of what ends soon or is old.

        A file that cannot be read is told by whoever presents it; the end is that of the certificate before it then.

        Args:
            paths: of certificates, PEM.
            lists: revocation lists that count from now on, each with when it is to be followed by a newer one.
        """
        before, self._certificates = self._certificates, {}
        for path in paths:
            try:
                end = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
            except (OSError, ValueError):
                end = before.get(path, 0.0)
            if end:
                self._certificates[path] = end
        self.ends = min(self._certificates.values(), default=0.0)
        self._lists = dict(lists or {})
        self.due = min(self._lists.values(), default=0.0)
        self._next = 0.0
        self.poll()

    def poll(self) -> None:
        """Tell of ends that are near and lists that are old, once a day. Call it about once a second."""
        now = self._clock()
        if now < self._next:
            return
        near = [path for path, end in self._certificates.items() if now >= end - WARNING]
        old = [path for path, due in self._lists.items() if now >= due]
        if not near and not old:
            return
        self._next = now + AGAIN
        for path in near:
            end = self._certificates[path]
            logger.warning(
                "TLS: the certificate %s %s on %s: renew it (hubd renew does so for one of hubd init's), then send SIGHUP",
                path, "ends" if now < end else "has ended", _day(end),
            )  # fmt: skip
        for path in old:
            logger.warning(
                "TLS: the revocation list %s was to be followed by a newer one on %s, and counts still: put the newer one in "
                "its place, then send SIGHUP",
                path, _day(self._lists[path]),
            )  # fmt: skip


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment))
