"""Requests like one seen before, so that their head need not be read and written again.

Of what our hub puts on a stream, mostly only the target in the request line, the path behind the other fields and the
request id at the very end differ from the request before. Recognizing the rest costs a tenth of reading it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agentd.paths import join_target
from tunnel.http1.startline import PLAIN_TARGET_BYTES

if TYPE_CHECKING:
    from agentd.pool import TargetPool
    from tunnel.http1 import RequestHead

# Heads remembered, and the largest of them: at most 128 KiB for an agent.
HEADS = 64
LARGEST = 2048

_VERSION = b" HTTP/1.1"
_PATH = b"\r\nX-Proxy-Path: "
_ID = b"\r\nX-Request-Id: "
_END = re.compile(rb"\r\nX-Proxy-Path: (/[!$%&'()*+,\-./0-9:;=@A-Z_a-z~]*)\r\nX-Request-Id: ([0-9a-f]{16})\r\n\r\n")


class Known(NamedTuple):
    """What was made of a head.

    Attributes:
        head: as read; the target and the id in it are those of the first request.
        pool: where it goes.
        start: the request line up to the target.
        line: the whole request line of the first request,
        path: its path,
        target: and what its target became.
        before: what the private service is sent between the target and the id's value,
        after: and behind it.
    """

    head: RequestHead
    pool: TargetPool
    start: bytes
    line: bytes
    path: bytes
    target: bytes
    before: bytes
    after: bytes


class Memory:
    """The last few heads, by their fields up to the path. Only heads without a body are kept."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}

    def recall(self, data: bytes) -> tuple[Known, bytes, bytes] | None:
        """What is known of the one whole head that ``data`` is.

        Returns:
            What was made of a head like it, its request id, and the head for the private service; None if it must be
            read.
        """
        end = data.find(b"\r\n")
        path_at = data.rfind(_PATH)
        known = self._known.get(data[end:path_at])
        if known is None:
            return None
        last = _END.fullmatch(data, path_at)
        if last is None:
            return None
        path, request_id = last.groups()
        line = data[:end]
        if line == known.line and path == known.path:
            target = known.target
        else:
            found = _target(line, path, known)
            if found is None:
                return None
            target = found
        return known, request_id, known.start + target + known.before + request_id + known.after

    def keep(self, data: bytes, head: RequestHead, pool: TargetPool, request: bytes) -> None:
        """Remember what was made of ``data`` if that is one whole head with the hub's path and id last.

        Args:
            data: all that came on the stream so far.
            head: as read from it; it has no body and asks for no upgrade.
            pool: where it goes.
            request: the head for the private service.
        """
        size = len(data)
        if size > LARGEST or data.find(b"\r\n\r\n") != size - 4:
            return
        path_at = data.rfind(_PATH)
        last = _END.fullmatch(data, max(0, path_at))
        line = data[: data.find(b"\r\n")]
        if last is None or not line.endswith(_VERSION) or len(head.special.get(b"x-proxy-path", ())) != 1:
            return
        start = head.method + b" "
        made, _, fields = request.partition(_VERSION)
        before, found, after = fields.partition(_ID + last[2])
        if found and last[2] not in before and last[2] not in after:
            if len(self._known) >= HEADS:
                del self._known[next(iter(self._known))]
            self._known[data[len(line) : path_at]] = Known(
                head, pool, start, line, last[1], made[len(start) :], _VERSION + before + _ID, after
            )


def _target(line: bytes, path: bytes, known: Known) -> bytes | None:
    """The target for the private service of a request with another target; None if it needs more thought."""
    start = known.start
    asked = line[len(start) : -len(_VERSION)]
    if (
        not line.startswith(start)
        or not line.endswith(_VERSION)
        or asked[:1] != b"/"
        or asked.translate(None, PLAIN_TARGET_BYTES)
    ):
        return None
    full, _, query = asked.partition(b"?")
    if not full.endswith(path):
        return None
    return join_target(known.pool.target.base, full, query, path, bare=asked.endswith(b"?"))
