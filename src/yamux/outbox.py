"""What leaves next, and in which order.

Control frames go first and in the order in which they were asked for: a pong or a window update never waits behind
data. Data follows, one frame a stream in turn. A stream's FIN follows its last byte in a frame of its own, because the
reference wakes a reader on the flag before it stores the body; it rides on the last byte's frame, as SYN and ACK ride on
the first one's, where the peer is known to take that (``fold``).
"""

from __future__ import annotations

from collections import deque

from .corestream import NO_PIECES, Buffer, CoreStream
from .frames import DATA, FIN, SYN, WINDOW_UPDATE, pack


class Outbox:
    """The queue of control frames and the ring of streams that have something to send and may."""

    __slots__ = (
        "_max_frame", "_shared_frame", "control", "drained", "ended", "fold", "frames_out", "opened", "ready", "taken",
    )  # fmt: skip

    def __init__(self, max_frame: int, shared_frame: int) -> None:
        self.control: list[Buffer] = []
        self.drained: list[CoreStream] = []
        self.ended: list[CoreStream] = []
        self.opened: list[CoreStream] = []
        self.fold = False
        self.frames_out = 0
        self.taken = 0
        self.ready: deque[CoreStream] = deque()
        self._max_frame = max_frame
        self._shared_frame = shared_frame

    def __bool__(self) -> bool:
        return bool(self.control) or bool(self.ready) or bool(self.opened)

    def enqueue(self, stream: CoreStream) -> None:
        """Give the stream a place in the ring, unless it has one or cannot send a thing."""
        if not stream.queued and (stream.send_credit > 0 or not stream.pending_bytes):
            stream.queued = True
            self.ready.append(stream)

    def clear_data(self) -> None:
        """Forget all data: the session has failed."""
        self.ready.clear()
        self.opened.clear()

    def take(self, limit: int) -> list[Buffer]:
        """Buffers to write now: all control frames, then frames of data until ``limit`` bytes of it are reached.

        Streams whose FIN is among them are left in ``ended``, those that fell to their low mark in ``drained``;
        ``taken`` is the number of data bytes.
        """
        out = self.control
        self.control = []
        if self.opened:
            self._open(out)
        self.frames_out += len(out)
        self.taken = 0
        if self.ready:
            self._take_data(out, limit)
        return out

    def _take_data(self, out: list[Buffer], limit: int) -> None:
        ready, fold, shared = self.ready, self.fold, self._shared_frame
        size = 0
        while ready and size < limit:
            stream = ready.popleft()
            count = 0
            left = stream.pending_bytes
            if 0 < left <= shared and left <= stream.send_credit:
                # The common case, all of it here: everything the stream has is one frame.
                flags, stream.owed = stream.owed, 0
                out.append(pack(DATA, flags | FIN if stream.ending and fold else flags, stream.id, left))
                out += stream.pending
                stream.pending = NO_PIECES
                stream.pending_bytes = 0
                stream.send_credit -= left
                stream.bytes_out += left
                self.frames_out += 1
                size += left
                count = left
                if stream.low_mark >= 0:
                    self.drained.append(stream)
            elif left:
                count = min(left, stream.send_credit, self._shared_frame if ready else self._max_frame)
                if count <= 0:
                    stream.queued = False
                    continue
                self._frame(out, stream, count)
                size += count
                left -= count
                if left <= stream.low_mark:
                    self.drained.append(stream)
                if left:
                    if stream.send_credit > 0:
                        ready.append(stream)
                    else:
                        stream.queued = False
                    continue
            stream.queued = False
            if stream.ending:
                if not (count and fold):
                    out.append(pack(WINDOW_UPDATE, FIN | stream.owed, stream.id, 0))
                    stream.owed = 0
                    self.frames_out += 1
                self.ended.append(stream)
        self.taken = size

    def _open(self, out: list[Buffer]) -> None:
        """Say SYN for the streams opened since the last time that have no data to say it with."""
        for stream in self.opened:
            if stream.owed & SYN and not stream.queued:
                out.append(pack(WINDOW_UPDATE, SYN, stream.id, 0))
                stream.owed = 0
        self.opened.clear()

    def _frame(self, out: list[Buffer], stream: CoreStream, count: int) -> None:
        flags = stream.owed
        if flags:
            stream.owed = 0
        pending = stream.pending
        self.frames_out += 1
        if count == stream.pending_bytes:
            if stream.ending and self.fold:
                flags |= FIN
            out.append(pack(DATA, flags, stream.id, count))
            out.extend(pending)
            stream.pending = NO_PIECES
        else:
            out.append(pack(DATA, flags, stream.id, count))
            if type(pending) is not deque:
                stream.pending = pending = deque(pending)
            left = count
            while left:
                piece = pending[0]
                size = len(piece)
                if size <= left:
                    out.append(pending.popleft())
                    left -= size
                else:
                    view = memoryview(piece)
                    out.append(view[:left])
                    pending[0] = view[left:]
                    left = 0
        stream.pending_bytes -= count
        stream.send_credit -= count
        stream.bytes_out += count
