"""The state of one side of a session, the commands on it, and its time limits. ``connection`` adds what comes in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from .config import DEFAULT, INITIAL_WINDOW, MAX_U32, Config
from .corestream import NO_PIECES, Buffer, CoreStream
from .errors import (
    ProtocolError,
    RemoteGoAway,
    SessionClosed,
    StreamClosed,
    StreamLimit,
    StreamReset,
    YamuxError,
)
from .events import Event, SessionEnded, StreamAnswered, StreamDropped
from .frames import ACK, FIN, GO_AWAY, RST, SYN, WINDOW_UPDATE, pack
from .keepalive import Keepalive
from .limits import IdHistory, TokenBucket
from .outbox import Outbox
from .streamstate import (
    ACCEPTS,
    ANSWERS,
    ENDS,
    MOVES,
    OVER,
    RESET,
    SEND_ACK,
    SEND_FIN,
    SEND_RST,
    UNACCEPTED,
    UNANSWERED,
    WRITABLE,
    Outcome,
)
from .sweep import overdue

LAST_ID: Final = 0xFFFF_FFFD

# Data taken per call of data_to_send: keeps a fast pipe busy for a turn of the loop, and no pong waits long behind it.
TURN_BYTES: Final = 256 * 1024

# Late frames that are expected on a stream after it has ended: an update, a FIN, an RST, and one to spare.
LATE_FRAMES_PER_STREAM: Final = 4


class Core:
    """Streams, credit and limits of one side of a session; see ``Connection`` for the whole."""

    # Slots, for speed: an instance with more than 30 attributes and no slots loses CPython's fast look-up.
    __slots__ = (
        "_churn", "_clock", "_counts_open", "_drain_left", "_events", "_idle", "_ids", "_late_left", "_least_window",
        "_next_id", "_next_sweep", "_peer_parity", "_sweep", "_sweep_every", "_window_left", "client", "closing", "config",
        "error", "inbound", "keepalive", "local_go_away", "outbox", "remote_go_away", "report_answers", "streams",
        "streams_accepted", "streams_opened", "owed_acks", "unaccepted", "unacked",
    )  # fmt: skip

    def __init__(self, *, client: bool, config: Config = DEFAULT, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self.client = client
        self.streams: dict[int, CoreStream] = {}
        self.error: YamuxError | None = None
        self.report_answers = False
        self.remote_go_away = False
        self.local_go_away = False
        self.closing = False
        self.owed_acks: list[CoreStream] = []
        self.unacked = 0
        self.unaccepted = 0
        self.inbound = 0
        self.streams_opened = 0
        self.streams_accepted = 0
        self.outbox = Outbox(config.max_frame, config.shared_frame)
        self.keepalive = Keepalive(config, clock)
        self._clock = clock
        self._events: list[Event] = []
        self._next_id = 1 if client else 2
        self._peer_parity = 0 if client else 1
        self._ids = IdHistory(2 if client else 1, reuse=config.reuse_ids)
        self._idle = TokenBucket(
            "frames that carry nothing", config.idle_frames_per_second, config.idle_frames_per_second, clock
        )
        self._churn = TokenBucket("streams opened and reset", config.resets_per_second, config.reset_burst, clock)
        self._window_left = config.window_budget
        self._least_window = config.stream_window
        self._counts_open = config.max_outbound_streams < MAX_U32
        self._drain_left = config.drain_budget
        self._late_left = LATE_FRAMES_PER_STREAM
        self._sweep = 0
        shortest = min(config.stream_open_timeout, config.stream_close_timeout, config.accept_timeout)
        self._sweep_every = max(0.05, min(5.0, shortest / 4))
        self._next_sweep = clock() + self._sweep_every

    # -- commands ----------------------------------------------------------------------------------------------------

    @property
    def _takes_opens(self) -> bool:
        return self.error is None and not self.remote_go_away and not self.closing and self._next_id <= LAST_ID

    @property
    def can_open(self) -> bool:
        """Whether ``open_stream`` would succeed now."""
        return not self._no_place and self._takes_opens

    @property
    def is_full(self) -> bool:
        """Whether an open only has to wait until another was answered or has ended."""
        return self._no_place and self._takes_opens

    @property
    def _no_place(self) -> bool:
        config = self.config
        return self.unacked >= config.max_unacked or len(self.streams) - self.inbound >= config.max_outbound_streams

    def open_stream(self, data: Buffer = b"", *, end: bool = False) -> CoreStream:
        """Open a stream; its SYN leaves with the next ``data_to_send`` and data may follow at once.

        ``data`` is the first of it, and with ``end`` all there will be, as by ``send_data`` and ``end_stream``.

        Raises SessionClosed, RemoteGoAway, or StreamLimit when too many opens are unanswered or the ids are used up.
        """
        if self.error is not None:
            raise SessionClosed(f"session closed: {self.error}")
        if self.closing:
            raise SessionClosed("the session is being closed here")
        if self.remote_go_away:
            raise RemoteGoAway("the peer takes no new streams")
        config = self.config
        if self.unacked >= config.max_unacked:
            raise StreamLimit(f"{self.unacked} opened streams wait for the peer's answer")
        if len(self.streams) - self.inbound >= config.max_outbound_streams:
            raise StreamLimit(f"{config.max_outbound_streams} streams opened here are open")
        stream_id = self._next_id
        if stream_id > LAST_ID:
            raise StreamLimit("all stream ids of this session are used up")
        self._next_id = stream_id + 2
        stream = CoreStream(stream_id, config.stream_window, self._sweep, local=True)
        self.streams[stream_id] = stream
        self.unacked += 1
        self.streams_opened += 1
        outbox = self.outbox
        if outbox.fold and config.stream_window == INITIAL_WINDOW:
            stream.owed = SYN
            if not data:
                outbox.opened.append(stream)
        else:
            outbox.control.append(pack(WINDOW_UPDATE, SYN, stream_id, config.stream_window - INITIAL_WINDOW))
        if data:
            stream.pending = [data]
            stream.pending_bytes = len(data)
            stream.ending = end
            stream.queued = True
            outbox.ready.append(stream)
        elif end:
            self.end_stream(stream)
        return stream

    def accept(self, stream: CoreStream) -> None:
        """Acknowledge an inbound stream, once. Nothing happens when it has been reset meanwhile.

        The ACK goes out even if the peer's FIN came first (go-yamux does so): it frees the opener's slot at once.
        """
        if stream.state in UNACCEPTED:
            self._move(stream, SEND_ACK)
            self.streams_accepted += 1
            if self.outbox.fold and stream.window == INITIAL_WINDOW:
                stream.owed = ACK
                self.owed_acks.append(stream)
                return
            # What was consumed before the accept may have brought credit already.
            delta = min(stream.window - INITIAL_WINDOW, stream.window - stream.unread - stream.recv_credit)
            stream.recv_credit += delta
            self.outbox.control.append(pack(WINDOW_UPDATE, ACK, stream.id, delta))

    def fold(self) -> None:
        """Let SYN and ACK ride on a stream's first data frame and FIN on its last from now on.

        Only where the peer is known to take that: the reference takes a FIN on data for the end before the data. ACKs
        that no data is there to carry leave with ``send_acks``, which must be called soon after ``owed_acks`` fills.
        """
        self.outbox.fold = True

    def send_acks(self) -> None:
        """Acknowledge the accepted streams that have sent nothing yet."""
        for stream in self.owed_acks:
            self._send_ack(stream)
        self.owed_acks.clear()

    def _send_ack(self, stream: CoreStream) -> None:
        if stream.owed & ACK:
            stream.owed = 0
            self.outbox.control.append(pack(WINDOW_UPDATE, ACK, stream.id, 0))

    def send_data(self, stream: CoreStream, data: Buffer) -> None:
        """Queue data; it must not change until it was written. Nothing limits the queue here: watch ``pending_bytes``.

        Raises StreamClosed after ``end_stream`` or once the stream is over.
        """
        if stream.ending or stream.state not in WRITABLE:
            raise StreamClosed(f"stream {stream.id} is {stream.state.name.lower()}: nothing can be written to it")
        size = len(data)
        if size:
            if stream.pending is NO_PIECES:
                stream.pending = [data]
            else:
                stream.pending.append(data)
            stream.pending_bytes += size
            if not stream.queued:
                self.outbox.enqueue(stream)

    def send_last(self, stream: CoreStream, data: Buffer) -> None:
        """``send_data`` and ``end_stream`` in one."""
        if stream.pending_bytes or stream.ending or stream.state not in WRITABLE or not data:
            self.send_data(stream, data)
            self.end_stream(stream)
            return
        stream.pending = [data]
        stream.pending_bytes = len(data)
        stream.ending = True
        stream.since = self._sweep
        if not stream.queued:
            self.outbox.enqueue(stream)

    def end_stream(self, stream: CoreStream) -> None:
        """Send FIN after all queued data. Reading goes on. Idempotent. Raises StreamClosed before the accept."""
        if not stream.ending and stream.state in WRITABLE and self.error is None:
            stream.ending = True
            stream.since = self._sweep
            if stream.pending_bytes or stream.queued:
                self.outbox.enqueue(stream)
            else:
                self.outbox.control.append(pack(WINDOW_UPDATE, FIN | stream.owed, stream.id, 0))
                stream.owed = 0
                self._move(stream, SEND_FIN)
        elif stream.state in UNACCEPTED:
            raise StreamClosed(f"stream {stream.id} has to be accepted before it is ended")

    def reset_stream(self, stream: CoreStream) -> None:
        """Drop the stream in both directions: queued data is thrown away and RST is sent. Idempotent.

        ``take_events`` has what it causes: an unanswered open gives its place back.
        """
        if stream.state in OVER or self.error is not None:
            return
        self._discard(stream)
        self._move(stream, SEND_RST)
        if stream.owed & SYN:
            # The peer has not heard of it.
            stream.owed = 0
            return
        # A stream reset without an ACK counts as one that nobody has touched.
        self._send_ack(stream)
        # The Length of an RST is an error code to some peers and nothing to the reference, so it stays 0.
        self.outbox.control.append(pack(WINDOW_UPDATE, RST, stream.id, 0))

    def consume(self, stream: CoreStream, count: int) -> None:
        """Say that ``count`` received bytes were used up; gives the peer credit when half a window is free."""
        stream.unread -= count
        if stream.readable:
            delta = stream.window - stream.unread - stream.recv_credit
            if delta * 2 >= stream.window:
                self._grant(stream, delta)

    def ping(self) -> int:
        """Send a ping; the answer comes as PingAnswered with the returned id. Raises SessionClosed."""
        if self.error is not None:
            raise SessionClosed(f"session closed: {self.error}")
        return self.keepalive.ping(self.outbox.control)

    def go_away(self, code: int = 0) -> None:
        """Send owed ACKs, then tell the peer to open no more: streams it opens all the same are reset, open ones go on."""
        if self.error is None:
            self.local_go_away = True
            self.send_acks()
            self.outbox.control.append(pack(GO_AWAY, 0, 0, code))

    def close(self, error: YamuxError) -> list[Event]:
        """End the session here, for the given reason. Returns the events this causes; idempotent."""
        self._fail(error)
        return self.take_events()

    def take_events(self) -> list[Event]:
        """Events that commands have caused since the last call."""
        events, self._events = self._events, []
        return events

    # -- output and time ---------------------------------------------------------------------------------------------

    @property
    def has_output(self) -> bool:
        """Whether ``data_to_send`` has something."""
        return bool(self.outbox)

    def data_to_send(self, limit: int = TURN_BYTES) -> list[Buffer]:
        """What must be written now, in this order: all control frames, then up to about ``limit`` bytes of data."""
        outbox = self.outbox
        out = outbox.take(limit)
        self.keepalive.owed = 0
        if outbox.ended:
            sweep = self._sweep
            for stream in outbox.ended:
                stream.since = sweep
                self._move(stream, SEND_FIN)
            outbox.ended.clear()
        return out

    def take_drained(self) -> list[CoreStream]:
        """Streams that have fallen to their ``low_mark`` since the last call."""
        drained, self.outbox.drained = self.outbox.drained, []
        return drained

    def next_timeout(self) -> float | None:
        """When ``handle_timeout`` must be called next, by the clock; None once the session has ended."""
        if self.error is not None:
            return None
        deadline = self.keepalive.deadline
        return self._next_sweep if deadline is None else min(self._next_sweep, deadline)

    def handle_timeout(self) -> list[Event]:
        """Do what is due: keepalive, and streams that waited too long for an answer, an accept or a FIN."""
        if self.error is None:
            now = self._clock()
            try:
                self.keepalive.handle(now, self.outbox.control)
            except SessionClosed as error:
                self._fail(error)
            if self.error is None and now >= self._next_sweep:
                self._sweep += 1
                self._next_sweep = now + self._sweep_every
                self._sweep_streams()
        return self.take_events()

    # -- what the receiving half calls -------------------------------------------------------------------------------

    def _move(self, stream: CoreStream, what: int) -> Outcome:
        """The one gate of all state changes."""
        move = MOVES[stream.state][what]
        if move is None:
            raise AssertionError(f"no transition from {stream.state.name} by input {what}")
        stream.state, outcome, stream.readable, effects = move
        if effects:
            if effects & ANSWERS:
                self.unacked -= 1
            elif effects & ACCEPTS:
                self.unaccepted -= 1
            if effects & ENDS:
                del self.streams[stream.id]
                if not stream.local:
                    self.inbound -= 1
                if stream.window > self._least_window:
                    self._window_left += stream.window - self._least_window
                if stream.state is RESET:
                    self._drain_left += stream.recv_credit
                self._late_left += LATE_FRAMES_PER_STREAM
            if self.report_answers and stream.local and (effects & ANSWERS or self._counts_open):
                self._events.append(StreamAnswered(stream))
        return outcome

    def _discard(self, stream: CoreStream) -> None:
        stream.pending = NO_PIECES
        stream.pending_bytes = 0
        stream.ending = False

    def _grant(self, stream: CoreStream, delta: int) -> None:
        now = self._clock()
        growth = min(stream.growth(now, self.keepalive.rtt, self.config.max_stream_window), self._window_left)
        if growth:
            self._window_left -= growth
            stream.window += growth
            delta += growth
        stream.recv_credit += delta
        self.outbox.control.append(pack(WINDOW_UPDATE, stream.owed, stream.id, delta))
        stream.owed = 0

    def _reset_here(self, stream: CoreStream, message: str) -> None:
        self.reset_stream(stream)
        self._events.append(StreamDropped(stream, StreamReset(message, remote=False)))

    def _sweep_streams(self) -> None:
        for stream in list(self.streams.values()):
            message = overdue(stream, self.config, self._sweep, self._sweep_every, early_fin=self.outbox.fold)
            if message is not None:
                if stream.state in UNANSWERED and self.config.open_timeout_ends_session:
                    self._fail(SessionClosed(f"stream {stream.id}: {message}"))
                    return
                self._reset_here(stream, f"stream {stream.id} was reset: {message}")

    def _fail(self, error: YamuxError) -> None:
        if self.error is None:
            self.error = error
            self.outbox.clear_data()
            if isinstance(error, ProtocolError):
                self.outbox.control.append(pack(GO_AWAY, 0, 0, error.code))
            self._events.append(SessionEnded(error, list(self.streams.values())))
            self.streams.clear()
