"""Fuzz target: the core under commands and frames, legal or not. Only its own errors, and its bounds hold."""

from __future__ import annotations

from yamux import Config, Connection, StreamClosed, YamuxError
from yamux.connection import MAX_CONTROL_FRAMES
from yamux.corestream import CoreStream
from yamux.events import DataReceived, SessionEnded, StreamOpened
from yamux.frames import DATA, pack
from yamux.limits import REMEMBERED_GAPS
from yamux.streamstate import OVER

CONFIG = Config(
    accept_backlog=4, max_unacked=3, max_inbound_streams=6, max_outbound_streams=5, drain_budget=256 * 1024,
    idle_frames_per_second=40, reset_burst=20,
)  # fmt: skip
LENGTHS = (0, 1, 5, 1000, 256 * 1024, 256 * 1024 + 1, 0xFFFF_FFFF)
IDS = (0, 1, 2, 3, 4, 5, 6, 101, 0xFFFF_FFFD, 0xFFFF_FFFF)
FLAGS = (0, 1, 2, 4, 8, 5, 9, 6, 10, 0x10, 0xFFFF)


class Driver:
    """One core and what is known of it."""

    def __init__(self, *, client: bool, fold: bool = False) -> None:
        self.now = 1000.0
        self.core = Connection(client=client, config=CONFIG, clock=lambda: self.now)
        if fold:
            self.core.fold()
        self.known: list[CoreStream] = []
        self.held: dict[int, int] = {}
        self.over = False

    def take(self, events: list[object]) -> None:
        """Note what the core says."""
        for event in events:
            assert not self.over, "an event after the last"
            if isinstance(event, StreamOpened):
                self.known.append(event.stream)
            elif isinstance(event, DataReceived):
                self.held[id(event.stream)] = self.held.get(id(event.stream), 0) + len(event.data)
            elif isinstance(event, SessionEnded):
                self.over = True

    def frame(self, kind: int, argument: int) -> None:
        """A frame of this kind, its fields picked by the argument; a body comes short, whole or not at all."""
        length = LENGTHS[argument % 7]
        stream_id, flags = IDS[argument // 7 % 10], FLAGS[argument // 70 % 11]
        body = bytes(min(length, 1000)) if kind == DATA else b""
        self.take(list(self.core.receive_data(pack(kind, flags, stream_id, length) + body)))

    def command(self, what: int, stream: CoreStream, argument: int) -> None:
        """One command on a stream. Raises YamuxError where the core does."""
        core = self.core
        if what == 0:
            core.accept(stream)
        elif what == 1:
            core.send_data(stream, bytes(argument))
        elif what == 2:
            core.end_stream(stream)
        elif what == 3:
            core.reset_stream(stream)
        elif what == 4:
            core.consume(stream, self.held.pop(id(stream), 0))

    def step(self, operation: int, index: int, argument: int) -> None:
        """Do one thing."""
        core = self.core
        try:
            if operation < 5 and self.known:
                self.command(operation, self.known[index % len(self.known)], argument)
            elif operation == 5:
                self.known.append(core.open_stream())
            elif operation == 6:
                core.ping()
            elif operation == 7:
                self.now += argument / 100
                self.take(list(core.handle_timeout()))
            elif operation == 8:
                core.data_to_send(argument + 1)
            elif operation == 9:
                core.report_answers = True
                core.send_acks()
            elif operation >= 10:
                self.frame(operation % 4, argument)
        except StreamClosed:
            pass
        except YamuxError as error:
            assert operation in (5, 6), error
        self.take(list(core.take_events()))
        self.check()

    def check(self) -> None:
        """The bounds."""
        core = self.core
        assert core.inbound <= CONFIG.max_inbound_streams
        assert len(core.streams) - core.inbound <= CONFIG.max_outbound_streams
        assert 0 <= core.unaccepted <= CONFIG.accept_backlog
        assert 0 <= core.unacked <= CONFIG.max_unacked
        assert len(core.outbox.control) <= MAX_CONTROL_FRAMES + 1000
        assert len(core._ids._gaps) <= REMEMBERED_GAPS
        assert 0 <= core._window_left <= CONFIG.window_budget
        for stream in core.streams.values():
            assert stream.state not in OVER
            assert stream.recv_credit >= 0
            assert stream.recv_credit + stream.unread <= stream.window
            assert 0 <= stream.send_credit <= 0xFFFF_FFFF
            assert stream.pending_bytes == sum(map(len, stream.pending))
        assert (core.error is not None) == self.over


def test_one(raw: bytes) -> None:
    """Four bytes are an operation: what, on which stream, and a number; the last bytes go in as frames."""
    if not raw:
        return
    driver = Driver(client=bool(raw[0] & 1), fold=bool(raw[0] & 2))
    for at in range(1, min(len(raw) - 3, 4 * 200), 4):
        driver.step(raw[at] % 20, raw[at + 1], raw[at + 2] << 8 | raw[at + 3])
    driver.take(list(driver.core.receive_data(raw[-64:])))
    driver.check()
