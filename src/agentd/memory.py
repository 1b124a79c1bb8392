"""Requests that repeat one seen before but for their id, so that their head need not be read and written again.

Visitors that keep a connection mostly repeat themselves, and of what the hub puts on the stream then only the request
id differs, which it writes last. Recognizing the rest costs a tenth of reading it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agentd.pool import TargetPool
    from tunnel.http1 import RequestHead

# Heads remembered, and the largest of them: at most 128 KiB for an agent.
HEADS = 64
LARGEST = 2048

_LAST_FIELD = re.compile(rb"X-Request-Id: ([0-9a-f]{16})\r\n\r\n")
_TAIL = len(b"X-Request-Id: ") + 16 + len(b"\r\n\r\n")


class Known(NamedTuple):
    """What was made of a head.

    Attributes:
        head: as read; the id in it is that of the first request.
        pool: where it goes.
        before: what the target is sent up to the id's value.
        after: and behind it.
    """

    head: RequestHead
    pool: TargetPool
    before: bytes
    after: bytes

    def request(self, request_id: bytes) -> bytes:
        """The whole head for the target."""
        return self.before + request_id + self.after


class Memory:
    """The last few heads, by their bytes up to the request id. Only heads without a body are kept."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}

    def recall(self, data: bytes) -> tuple[Known, bytes] | None:
        """What is known of the one whole head that ``data`` is, and its request id; None if it must be read."""
        known = self._known.get(data[:-_TAIL])
        if known is None:
            return None
        last = _LAST_FIELD.fullmatch(data, len(data) - _TAIL)
        return None if last is None else (known, last[1])

    def keep(self, data: bytes, head: RequestHead, pool: TargetPool, request: bytes) -> None:
        """Remember what was made of ``data`` if that is one whole head with the hub's id last.

        Args:
            data: all that came on the stream so far.
            head: as read from it; it has no body and asks for no upgrade.
            pool: where it goes.
            request: the head for the target.
        """
        size = len(data)
        if size > LARGEST or data.find(b"\r\n\r\n") != size - 4:
            return
        last = _LAST_FIELD.fullmatch(data, max(0, size - _TAIL))
        if last is None:
            return
        before, found, after = request.partition(b"\r\nX-Request-Id: " + last[1])
        if found and last[1] not in before and last[1] not in after:
            if len(self._known) >= HEADS:
                del self._known[next(iter(self._known))]
            self._known[data[:-_TAIL]] = Known(head, pool, before + b"\r\nX-Request-Id: ", after)
