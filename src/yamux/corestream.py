"""What the core keeps of one stream."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from .config import INITIAL_WINDOW
from .streamstate import SYN_RECEIVED, SYN_SENT
from .window import Credit

Buffer = bytes | memoryview

# Stands for a queue of pieces as long as there are none, which is most of a stream's life: an empty deque takes 760
# bytes. It drops what is put in; whoever adds a piece makes a deque first.
NO_PIECES: Final[deque[Buffer]] = deque(maxlen=0)


class CoreStream(Credit):
    """One stream: its credit, its state, and what waits to be sent.

    ``owner`` belongs to whoever drives the core: the core never looks at it. ``low_mark`` asks for a word, by way of
    ``Connection.take_drained``, once no more than that many bytes are pending; -1 asks for none. ``deaf`` says that
    what still comes is thrown away, so that it does not keep the stream alive. ``owed`` is a SYN or ACK that the
    stream's next frame is to carry.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "deaf",
        "ending",
        "id",
        "local",
        "low_mark",
        "moved",
        "owed",
        "owner",
        "pending",
        "pending_bytes",
        "queued",
        "readable",
        "since",
        "state",
    )

    def __init__(self, stream_id: int, window: int, since: int, *, local: bool) -> None:
        # Spelled out instead of calling Credit.__init__: one stream is made for every request.
        self.send_credit = INITIAL_WINDOW
        self.window = window
        self.unread = 0
        self.granted_at = 0.0
        self.id = stream_id
        self.local = local
        if local:
            self.recv_credit = window
            self.state = SYN_SENT
        else:
            self.recv_credit = INITIAL_WINDOW
            self.state = SYN_RECEIVED
        self.readable = True
        # A list until a piece has to be taken from its front: mostly all of it leaves at once.
        self.pending: deque[Buffer] | list[Buffer] = NO_PIECES
        self.pending_bytes = 0
        self.ending = self.deaf = False
        self.queued = False
        self.owed = 0
        self.low_mark = -1
        self.since = since
        self.bytes_in = 0
        self.bytes_out = 0
        self.moved = INITIAL_WINDOW
        self.owner: Any = None

    def __repr__(self) -> str:
        return (
            f"<CoreStream {self.id} {self.state.name} send_credit={self.send_credit} recv_credit={self.recv_credit}"
            f" unread={self.unread} pending={self.pending_bytes}>"
        )
