"""Fuzz target: the frame reader. However the same bytes are cut, the core says and does the same, and raises nothing."""

from __future__ import annotations

import hashlib
from typing import Any

from yamux import Config, Connection
from yamux.events import DataReceived, SessionEnded, StreamOpened
from yamux.frames import HEADER_SIZE

# A backlog for all the opens that fit into an input: in one piece they come before any of them can be accepted.
CONFIG = Config(keepalive_interval=0, accept_backlog=1000)


class Reader:
    """A core that takes what comes, accepts every stream and consumes all at once; ``story`` says what it saw."""

    def __init__(self, *, client: bool) -> None:
        self.core = Connection(client=client, config=CONFIG, clock=lambda: 1.0)
        self.data: dict[int, Any] = {}
        self.other: list[str] = []
        self.ended: str | None = None
        # Streams of its own, so that answers to them mean something.
        self.opened = [self.core.open_stream() for _ in range(3)]

    def feed(self, piece: bytes) -> None:
        """Take one piece."""
        for event in self.core.receive_data(piece):
            assert self.ended is None, "an event after the last"
            if isinstance(event, DataReceived):
                digest = self.data.setdefault(event.stream.id, hashlib.blake2b())
                digest.update(event.data)
                self.core.consume(event.stream, len(event.data))
            elif isinstance(event, StreamOpened):
                self.other.append(f"opened {event.stream.id}")
                self.core.accept(event.stream)
            elif isinstance(event, SessionEnded):
                self.ended = f"{type(event.error).__name__}: {event.error}"
            else:
                self.other.append(f"{type(event).__name__} {getattr(getattr(event, 'stream', None), 'id', '')}")

    def story(self) -> dict[str, object]:
        """What happened, but for how it was cut."""
        return {
            "data": {stream: digest.hexdigest() for stream, digest in self.data.items()},
            "events": self.other,
            "end": self.ended,
            "streams": {stream.id: stream.state.name for stream in self.core.streams.values()},
        }


def test_one(raw: bytes) -> None:
    """Whole and in pieces, whose sizes the first bytes give."""
    if len(raw) < 4:
        return
    client, sizes, body = bool(raw[0] & 1), [size % 29 + 1 for size in raw[1:4]], raw[4:]
    whole, cut = Reader(client=client), Reader(client=client)
    whole.feed(body)
    at = turn = 0
    while at < len(body):
        size = sizes[turn % 3]
        cut.feed(body[at : at + size])
        at, turn = at + size, turn + 1
    assert whole.story() == cut.story(), f"\nwhole: {whole.story()}\n cut:  {cut.story()}"
    assert len(cut.core._partial) < HEADER_SIZE
