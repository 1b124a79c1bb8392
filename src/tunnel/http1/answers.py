"""Final response heads met before, by their bytes.

A service mostly answers alike, apart from the body and once a second the date. To know a head again costs a twentieth of
reading it, and what was made of it comes along in its ``memo``.
"""

from __future__ import annotations

from tunnel.http1.heads import ResponseHead

# Heads remembered, and the largest of them: at most 256 KiB for a daemon.
HEADS = 128
LARGEST = 2048


class Answers:
    """The last few heads of responses to anything but HEAD, whose answers are framed by other rules.

    One for all readers with the same limits, since what a head means depends on nothing else.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, ResponseHead] = {}

    def recall(self, block: bytes) -> ResponseHead | None:
        """What was read from this very head before, if it is remembered."""
        return self._known.get(block)

    def whole(self, data: bytes) -> ResponseHead | None:
        """The head of ``data`` if that is one whole response, body included, whose head is remembered."""
        head = self._known.get(data[: data.find(b"\r\n\r\n", 0, LARGEST) + 4])
        return head if head is not None and head.whole == len(data) else None

    def keep(self, block: bytes, head: ResponseHead) -> None:
        """Remember a final head."""
        if len(block) > LARGEST:
            return
        if len(self._known) >= HEADS:
            del self._known[next(iter(self._known))]
        self._known[block] = head
