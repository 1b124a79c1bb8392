"""Many streams, long pipes, small messages beside bulk: what the benchmarks time, without a clock of the machine's."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections import deque

import pytest
from tests.yamux.wire import Clock, Lone, frames, output, sessions, update

from yamux import Config, Connection, Session, Stream
from yamux.core import TURN_BYTES
from yamux.events import DataReceived, StreamOpened
from yamux.frames import DATA

MANY = 10_000
# Bytes an idle stream with its reader and writer may cost each end.
IDLE_BYTES = 2048


async def test_ten_thousand_streams_at_once_are_small_and_all_work() -> None:
    config = Config(keepalive_interval=0, max_inbound_streams=MANY)
    async with sessions(config) as both:
        gc.collect()
        tracemalloc.start()
        try:
            accepting = asyncio.ensure_future(_accept(both.server, MANY))
            opened = [await both.client.open() for _ in range(MANY)]
            accepted = await accepting
            gc.collect()
            cost = tracemalloc.get_traced_memory()[0] / (2 * MANY)
        finally:
            tracemalloc.stop()
        assert both.client.num_streams == both.server.num_streams == MANY
        assert cost < IDLE_BYTES
        for stream in opened[::100]:
            stream.write(b"%d" % stream.id)
            stream.write_eof()
        for stream in accepted[::100]:
            assert await stream.read() == b"%d" % stream.id


async def _accept(session: Session, count: int) -> list[Stream]:
    return [await session.accept() for _ in range(count)]


class LongPipe:
    """Two cores and a pipe of a delay and a rate between them, in a time of its own."""

    STEP = 0.001

    def __init__(self, config: Config, delay: float, rate: float) -> None:
        self.clock = Clock()
        self.sender = Connection(client=True, config=config, clock=self.clock)
        self.receiver = Connection(client=False, config=config, clock=self.clock)
        self.delay = delay
        self.room = int(rate * self.STEP)
        self.ways: dict[Connection, deque[tuple[float, bytes]]] = {self.sender: deque(), self.receiver: deque()}
        self.backlog = {self.sender: bytearray(), self.receiver: bytearray()}
        self.stream = self.sender.open_stream()
        self.received = 0

    def step(self) -> None:
        """One millisecond: what is due arrives and is consumed at once, and the pipe takes what it can."""
        self.clock.advance(self.STEP)
        for core in (self.sender, self.receiver):
            core.handle_timeout()
            way = self.ways[core]
            while way and way[0][0] <= self.clock.now:
                self.take(core, way.popleft()[1])
        if self.stream.pending_bytes < 1 << 20:
            self.sender.send_data(self.stream, bytes(1 << 20))
        for core, other in ((self.sender, self.receiver), (self.receiver, self.sender)):
            backlog = self.backlog[core]
            if len(backlog) < 4 * self.room:
                backlog += output(core, TURN_BYTES)
            piece = bytes(backlog[: self.room])
            del backlog[: self.room]
            if piece:
                self.ways[other].append((self.clock.now + self.delay, piece))

    def take(self, core: Connection, piece: bytes) -> None:
        for event in core.receive_data(piece):
            if isinstance(event, StreamOpened):
                core.accept(event.stream)
            elif isinstance(event, DataReceived):
                self.received += len(event.data)
                core.consume(event.stream, len(event.data))

    def share(self, seconds: float) -> float:
        """How much of what the pipe allows gets through in so many seconds."""
        before = self.received
        for _ in range(round(seconds / self.STEP)):
            self.step()
        return (self.received - before) / (seconds / self.STEP * self.room)


@pytest.mark.parametrize("megabytes", [5, 50, 100])
def test_a_stream_fills_a_pipe_of_100_ms_once_its_window_has_grown(megabytes: int) -> None:
    pipe = LongPipe(Config(), delay=0.05, rate=megabytes * 1e6)
    pipe.share(3)
    assert pipe.share(2) >= 0.8


def test_a_window_that_does_not_grow_sets_the_pace_of_a_long_pipe() -> None:
    """The simulation is not kind to everybody: without growth the same pipe stays nearly empty, as the reference's."""
    pipe = LongPipe(Config(max_stream_window=256 * 1024), delay=0.05, rate=50e6)
    pipe.share(3)
    assert pipe.share(2) < 0.1


@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
def test_small_messages_wait_for_a_few_frames_of_bulk_at_most(client: bool) -> None:
    lone = Lone(client=client)
    bulk, *small = [lone.outbound() for _ in range(101)]
    lone.feed(update(bulk.id, 1 << 30))
    lone.core.send_data(bulk, bytes(64 << 20))
    frames(output(lone.core, TURN_BYTES))
    for turn in range(20):
        for stream in small:
            lone.core.send_data(stream, b"ping")
        sent = [frame.stream_id for frame in frames(output(lone.core, TURN_BYTES)) if frame.kind == DATA]
        assert set(sent) == {bulk.id, *(stream.id for stream in small)}, f"turn {turn}"
        last = max(sent.index(stream.id) for stream in small)
        assert sent[:last].count(bulk.id) <= 2
