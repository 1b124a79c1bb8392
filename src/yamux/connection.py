"""The yamux protocol without I/O: bytes in, events out; commands in, bytes out.

It owns no socket, no task and no clock but the one it is given. A shell feeds it with ``receive_data``, acts on the
events, calls commands, writes what ``data_to_send`` returns, and calls ``handle_timeout`` when ``next_timeout`` is up.

A frame's body is handed over piece by piece as it arrives: a peer may send one frame as large as all the credit it
holds. A frame is checked against every rule before it touches any table.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from .config import DEFAULT, INITIAL_WINDOW, Config
from .core import LATE_FRAMES_PER_STREAM, Core
from .corestream import CoreStream
from .errors import FloodDetected, ProtocolError, RemoteGoAway, SessionClosed, StreamReset, WindowExceeded
from .events import DataReceived, Event, GoAwayReceived, PingAnswered, StreamDropped, StreamEnded, StreamOpened
from .frames import ACK, DATA, FIN, GO_AWAY, HEADER_SIZE, PING, RST, SYN, WINDOW_UPDATE, pack, unpack_from
from .streamstate import (
    ANSWERED_ENDED,
    ENDED,
    NOTHING,
    RECV_ACK,
    RECV_ACK_FIN,
    RECV_DATA,
    RECV_FIN,
    RECV_RST,
    REFUSED,
    UNANSWERED,
)

# A window update below this on a stream that has all its initial credit does nothing for anybody.
SMALL_UPDATE = 1024

# A piece of a body is cut out of the received buffer as a view, which keeps the whole buffer alive, only if it is at
# least this fraction of it: who keeps pieces pins at most four times their size. A stream that is not read keeps copies.
VIEW_FRACTION = 4

# Refusals that may wait unsent before the peer, which is not reading them, is taken for an attacker.
MAX_OWED_REPLIES: Final = 1024

# Control frames that may wait unsent before a peer that goes on sending is taken for one that does not read: under 1 MB.
MAX_CONTROL_FRAMES: Final = 16 * 1024

# Data whose frame carries no other flags than these is taken on the short way.
FOLDED: Final = SYN | ACK | FIN

_ENDINGS: Final = (ENDED, ANSWERED_ENDED)


class Connection(Core):
    """One side of a yamux session.

    ``client`` picks the parity of the ids opened here (odd for the client). ``clock`` returns seconds and never goes
    back. A command on a session that has ended raises SessionClosed; a fault of the peer never raises: it comes as the
    event SessionEnded.

    Source: the specification, and hashicorp/yamux v0.1.2 where that leaves a choice.
    """

    __slots__ = ("_body_fin", "_body_left", "_body_stream", "_partial", "frames_in")

    def __init__(self, *, client: bool, config: Config = DEFAULT, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(client=client, config=config, clock=clock)
        self.frames_in = 0
        self._partial = b""  # the start of a header
        self._body_left = 0  # bytes of the current frame's body still to come
        self._body_stream: CoreStream | None = None  # where they go; None throws them away
        self._body_fin = False  # the frame carries FIN, which takes effect after its last byte

    @property
    def bytes_in(self) -> int:
        """Bytes received in all."""
        return self.keepalive.bytes_in

    def receive_data(self, data: bytes | memoryview) -> list[Event]:
        """Take what the carrier delivered, in pieces of any size. ``data`` must not change afterwards.

        Returns the events it caused; nothing is returned, and nothing read, once the session has ended.
        """
        if self.error is not None:
            return []
        self.keepalive.bytes_in += len(data)
        try:
            self._parse(data)
            if len(self.outbox.control) > MAX_CONTROL_FRAMES:
                raise FloodDetected("the peer sends and does not read")
        except (ProtocolError, RemoteGoAway) as error:
            self._fail(error)
        events = self._events
        if events:
            self._events = []
            return events
        return []

    def receive_eof(self) -> list[Event]:
        """The carrier ended. Streams that have not seen a FIN were cut, and the error says where."""
        if self._body_left:
            place = "in the middle of a frame's body"
        elif self._partial:
            place = "in the middle of a frame's header"
        else:
            place = "between frames"
        return self.close(SessionClosed(f"the carrier ended {place}"))

    # -- parsing -----------------------------------------------------------------------------------------------------

    def _parse(self, data: bytes | memoryview) -> None:
        end = len(data)
        pos = self._resume(data, end) if self._partial or self._body_left else 0
        streams = self.streams
        events = self._events
        while end - pos >= HEADER_SIZE:
            kind, flags, stream_id, length = unpack_from(data, pos)
            pos += HEADER_SIZE
            if kind == DATA and length and flags <= FOLDED:
                stop = pos + length
                if stop > end:
                    stream = None
                elif flags & SYN:
                    stream = self._open_inbound(stream_id, length)
                    if stream is None:
                        self.frames_in += 1
                        self._drain(length)
                        pos = stop
                        continue
                else:
                    stream = streams.get(stream_id)
                if stream is not None and stream.readable and length <= stream.recv_credit:
                    # The common case, all of it here: a whole frame of data for a stream that may receive it.
                    self.frames_in += 1
                    last = False
                    if flags & FIN:
                        last = self._move(stream, RECV_ACK_FIN if flags & ACK else RECV_FIN) in _ENDINGS
                    elif flags & ACK:
                        self._move(stream, RECV_ACK)
                    stream.recv_credit -= length
                    stream.unread += length
                    stream.bytes_in += length
                    piece = bytes(data[pos:stop]) if length * VIEW_FRACTION < end else memoryview(data)[pos:stop]
                    events.append(DataReceived(stream, piece, last))
                    pos = stop
                    continue
            elif kind == WINDOW_UPDATE:
                self.frames_in += 1
                self._window_update(flags, stream_id, length)
                continue
            elif kind == PING:
                self.frames_in += 1
                self._ping(flags, length)
                continue
            self._frame(kind, flags, stream_id, length)
            if self._body_left:
                pos = self._body(data, pos, end)
        if pos < end:
            self._partial = bytes(data[pos:])

    def _resume(self, data: bytes | memoryview, end: int) -> int:
        """Go on with the frame that was cut by the end of the data before; returns the position after it."""
        pos = 0
        if self._partial:
            pos = min(HEADER_SIZE - len(self._partial), end)
            self._partial += data[:pos]
            if len(self._partial) < HEADER_SIZE:
                return end
            header, self._partial = self._partial, b""
            self._frame(*unpack_from(header))
        return self._body(data, pos, end) if self._body_left else pos

    def _body(self, data: bytes | memoryview, pos: int, end: int) -> int:
        """Hand over what there is of the current body; returns the position after it."""
        count = min(self._body_left, end - pos)
        if not count:
            return pos
        self._body_left -= count
        stream = self._body_stream
        if stream is not None:
            if stream.readable:
                stream.bytes_in += count
                piece = data if count == end else memoryview(data)[pos : pos + count]
                if count * VIEW_FRACTION < end:
                    piece = bytes(piece)
                event = DataReceived(stream, piece)
                self._events.append(event)
                if self._body_fin and not self._body_left:
                    event.last = self._move(stream, RECV_FIN) in _ENDINGS
            if not self._body_left:
                self._body_stream = None
        return pos + count

    def _frame(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        self.frames_in += 1
        if kind == WINDOW_UPDATE:
            self._window_update(flags, stream_id, length)
        elif kind == DATA:
            self._data(flags, stream_id, length)
        elif kind == PING:
            self._ping(flags, length)
        elif kind == GO_AWAY:
            self._go_away_received(length)
        elif kind >> 8:
            raise ProtocolError(f"frame of version {kind >> 8}; this side speaks version 0")
        else:
            raise ProtocolError(f"frame of unknown type {kind}")

    def _data(self, flags: int, stream_id: int, length: int) -> None:
        self._body_left = length
        self._body_stream = None
        stream = self.streams.get(stream_id)
        if flags & SYN:
            stream = self._open_inbound(stream_id, length)
        elif stream is None:
            self._late()
        if stream is None:
            self._drain(length)
            return
        if flags & RST:
            self._reset_by_peer(stream, 0)
            self._drain(length)
            return
        if length and self._move(stream, RECV_DATA) is REFUSED:
            self._drain(length)
            self._reset_here(stream, f"the peer sent data on stream {stream_id} after ending it")
            self._churn.take()
            return
        if length > stream.recv_credit:
            raise WindowExceeded(f"{length} bytes on stream {stream_id}, whose credit is {stream.recv_credit}")
        if not length:
            if not self._flags(stream, ack=bool(flags & ACK), fin=bool(flags & FIN)) and not flags & SYN:
                self._idle.take()
            return
        if flags & ACK:
            self._flags(stream, ack=True, fin=False)
        stream.recv_credit -= length
        stream.unread += length
        self._body_stream = stream
        self._body_fin = bool(flags & FIN)

    def _window_update(self, flags: int, stream_id: int, length: int) -> None:
        if flags == SYN and not length:
            self._open_inbound(stream_id, 0)
            return
        stream = self.streams.get(stream_id)
        if flags & SYN:
            stream = self._open_inbound(stream_id, 0)
        elif stream is None:
            self._late()
        if stream is None:
            return
        if not length:
            # A bare FIN and a bare ACK: once each for every stream.
            if flags == FIN:
                if self._move(stream, RECV_FIN) in _ENDINGS:
                    self._events.append(StreamEnded(stream))
                else:
                    self._idle.take()
                return
            if flags == ACK:
                if self._move(stream, RECV_ACK) is NOTHING:
                    self._idle.take()
                return
        if flags & RST:
            self._reset_by_peer(stream, length)
            return
        useful = length >= SMALL_UPDATE or (length and stream.send_credit < INITIAL_WINDOW)
        stream.add_send_credit(length)
        if stream.pending_bytes:
            self.outbox.enqueue(stream)
        if flags and self._flags(stream, ack=bool(flags & ACK), fin=bool(flags & FIN)):
            return
        if not useful and not flags & SYN:
            self._idle.take()

    def _late(self) -> None:
        """A frame of a stream that is over is late and harmless; only too many of them are not."""
        self._late_left -= 1
        if self._late_left < 0:
            self._idle.take()

    def _drain(self, length: int) -> None:
        self._drain_left -= length
        if self._drain_left < 0:
            raise ProtocolError("too much data on streams that do not exist")

    def _ping(self, flags: int, value: int) -> None:
        if flags & SYN:
            keepalive = self.keepalive
            if keepalive.owed:
                # Whoever waits for each pong is held back by that; only pings beside unanswered ones can be a flood.
                self._idle.take()
                self._owe()
            # The one pong it is owed. It always names stream 0 and repeats the value.
            keepalive.owed += 1
            self.outbox.control.append(pack(PING, ACK, 0, value))
            return
        rtt = self.keepalive.answered(value)
        if rtt is None:
            self._idle.take()
        else:
            self._events.append(PingAnswered(value, rtt))

    def _go_away_received(self, code: int) -> None:
        if code:
            raise RemoteGoAway(f"the peer ended the session with code {code}", code)
        if self.remote_go_away:
            self._idle.take()
            return
        self.remote_go_away = True
        self._events.append(GoAwayReceived())

    # -- what frames bring about -------------------------------------------------------------------------------------

    def _open_inbound(self, stream_id: int, body: int) -> CoreStream | None:
        """Take a SYN that carries ``body`` bytes; None when it is refused. Raises ProtocolError (CVE-2026-32314's kin)."""
        if body > INITIAL_WINDOW:
            raise WindowExceeded(f"{body} bytes with the SYN of stream {stream_id}, whose credit is {INITIAL_WINDOW}")
        if stream_id == 0 or stream_id & 1 != self._peer_parity:
            raise ProtocolError(f"SYN on stream {stream_id}, which is not the peer's to open")
        if stream_id in self.streams:
            raise ProtocolError(f"SYN on stream {stream_id}, which is open")
        if not self._ids.use(stream_id):
            raise ProtocolError(f"SYN on stream {stream_id}, which was used before")
        config = self.config
        if self.local_go_away or self.unaccepted >= config.accept_backlog or self.inbound >= config.max_inbound_streams:
            self._refuse(stream_id)
            return None
        stream = CoreStream(stream_id, config.stream_window, self._sweep, local=False)
        self.streams[stream_id] = stream
        self.unaccepted += 1
        self.inbound += 1
        self._events.append(StreamOpened(stream))
        return stream

    def _refuse(self, stream_id: int) -> None:
        self._idle.take()
        self.keepalive.owed += 1
        self._owe()
        self._drain_left += INITIAL_WINDOW
        self._late_left += LATE_FRAMES_PER_STREAM
        self.outbox.control.append(pack(WINDOW_UPDATE, RST, stream_id, 0))

    def _owe(self) -> None:
        if self.keepalive.owed > MAX_OWED_REPLIES:
            raise FloodDetected("the peer does not read the replies it asks for")

    def _reset_by_peer(self, stream: CoreStream, code: int) -> None:
        error = StreamReset(f"stream {stream.id} was reset by the peer", code, refused=stream.state in UNANSWERED)
        self._discard(stream)
        self._move(stream, RECV_RST)
        self._events.append(StreamDropped(stream, error))
        if not stream.local:
            self._churn.take()

    def _flags(self, stream: CoreStream, ack: bool, fin: bool) -> bool:
        """Take ACK and FIN; whether they changed anything."""
        changed = ack and self._move(stream, RECV_ACK) is not NOTHING
        if fin and self._move(stream, RECV_FIN) in (ENDED, ANSWERED_ENDED):
            self._events.append(StreamEnded(stream))
            return True
        return changed
