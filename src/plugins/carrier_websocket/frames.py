"""WebSocket frames (RFC 6455 section 5) for a byte stream: encode and incremental decode. No I/O.

Masking and the rules for close codes are websockets'. Frames are read here, because a byte stream needs no whole
messages: payload is handed on as it arrives, without being collected, and a bad frame is refused on its first two
bytes instead of after its payload. websockets' own reader copies every payload three times on the way to a complete
message (15 us for each masked 64 KiB out of 256 KiB reads, where this one takes 5). The tests hold the two against
each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from struct import Struct

from websockets.exceptions import ProtocolError
from websockets.frames import Close

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

Piece = bytes | bytearray | memoryview

MAX_INBOUND = 1024 * 1024
"""Bytes in one inbound message. Payload is not collected, so this bounds no memory here; peers built on whole messages
use the same figure, and a peer that sends more is not one of ours."""
MAX_OUTBOUND = 64 * 1024
"""Bytes in one outbound message: what a peer built on whole messages must hold before it can go on."""
MAX_IDLE_FRAMES = 1000
"""Control and empty frames in one read of the socket. They carry nothing and cost a microsecond each."""
SMALL = 4096
"""Pieces below this are joined before writing: a copy costs less than another buffer to the kernel or TLS record."""

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

NORMAL, PROTOCOL_ERROR, UNSUPPORTED, BAD_DATA, POLICY, TOO_BIG = 1000, 1002, 1003, 1007, 1008, 1009
NO_STATUS = 1005

_HEAD16 = Struct("!BBH")
_HEAD64 = Struct("!BBQ")


class Violation(Exception):
    """What the peer did wrong.

    Args:
        code: close code to send.
        reason: for the close frame and the log; our own words only.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class FrameReader:
    """Takes bytes as they come, gives payload and control frames.

    Args:
        masked: True on the server, whose peer must mask; False on the client, whose peer must not.
        max_size: bytes in one message.

    Attributes:
        controls: control frames in order as (opcode, payload); the caller empties it.
        violation: set once the peer broke the protocol; nothing may be fed from then on.
    """

    __slots__ = (
        "_closed",
        "_fragmented",
        "_idle",
        "_left",
        "_mask",
        "_mask_bit",
        "_max_size",
        "_size",
        "_stash",
        "controls",
        "violation",
    )

    def __init__(self, *, masked: bool, max_size: int = MAX_INBOUND) -> None:
        self.controls: list[tuple[int, bytes]] = []
        self.violation: Violation | None = None
        self._mask_bit = 0x80 if masked else 0
        self._max_size = max_size
        self._mask = b""
        # An incomplete header or control frame, at most 6 + 125 bytes.
        self._stash = b""
        # Payload bytes of the current data frame still to come.
        self._left = 0
        # Payload bytes of the current message in finished fragments and the current one.
        self._size = 0
        self._fragmented = False
        self._closed = False
        self._idle = 0

    @property
    def mid_message(self) -> bool:
        """Whether a message has begun that is not complete."""
        return self._left > 0 or self._fragmented

    def feed(self, data: bytes) -> list[Piece]:
        """Take received bytes.

        Returns:
            Payload of data frames in order, unmasked. Views into `data` where nothing had to be unmasked.
            What came before a violation or close frame is included; what follows is dropped.
        """
        pieces: list[Piece] = []
        if self._stash:
            data, self._stash = self._stash + data, b""
        view = memoryview(data)
        pos, end = 0, len(data)
        self._idle = 0
        try:
            while pos < end and not self._closed:
                if self._left == 0:
                    start = self._begin(data, pos, end)
                    if start < 0:
                        self._stash = data[pos:]
                        break
                    pos = start
                    continue
                stop = min(pos + self._left, end)
                pieces.append(self._payload(view[pos:stop]))
                pos = stop
        except Violation as exc:
            self.violation = exc
        return pieces

    def _payload(self, piece: memoryview) -> Piece:
        size = len(piece)
        self._left -= size
        if not self._mask_bit:
            return piece
        mask = self._mask
        if self._left and size & 3:
            turn = size & 3
            self._mask = mask[turn:] + mask[:turn]
        return apply_mask(piece, mask)

    def _begin(self, data: bytes, pos: int, end: int) -> int:
        """Read the frame that starts at `pos`; give where to go on, or -1 if it is not all there."""
        if end - pos < 2:
            return -1
        first, second = data[pos], data[pos + 1]
        length = second & 0x7F
        # The usual frame, a complete or opening binary one, needs no further look at its first byte.
        if first & 0x7F != BINARY or second & 0x80 != self._mask_bit or self._fragmented:
            self._check(first, second)
        pos += 2
        if length >= 126:
            size = 2 if length == 126 else 8
            if end - pos < size:
                return -1
            length = int.from_bytes(data[pos : pos + size], "big")
            pos += size
            if length < (126 if size == 2 else 65536):
                raise Violation(PROTOCOL_ERROR, "length not in its shortest form")
        if length + self._size > self._max_size and not first & 0x08:
            raise Violation(TOO_BIG, f"message of more than {self._max_size} bytes")
        if self._mask_bit:
            if end - pos < 4:
                return -1
            mask = data[pos : pos + 4]
            pos += 4
        else:
            mask = b""
        if first & 0x08:
            if end - pos < length:
                return -1
            self._control(first & 0x0F, data[pos : pos + length], mask)
            return pos + length
        self._mask = mask
        self._left = length
        self._fragmented = first & 0x80 == 0
        self._size = self._size + length if self._fragmented else 0
        if length == 0:
            self._count_idle()
        return pos

    def _check(self, first: int, second: int) -> None:
        """Raise for a bad header; needs its first two bytes only."""
        opcode = first & 0x0F
        if first & 0x70:
            raise Violation(PROTOCOL_ERROR, "reserved bit set")
        if second & 0x80 != self._mask_bit:
            raise Violation(PROTOCOL_ERROR, "frame not masked" if self._mask_bit else "frame masked")
        if opcode & 0x08:
            if opcode > PONG:
                raise Violation(PROTOCOL_ERROR, "reserved opcode")
            if not first & 0x80:
                raise Violation(PROTOCOL_ERROR, "control frame in fragments")
            if second & 0x7F > 125:
                raise Violation(PROTOCOL_ERROR, "control frame too long")
        elif opcode == TEXT:
            raise Violation(UNSUPPORTED, "text is not understood here")
        elif opcode > BINARY:
            raise Violation(PROTOCOL_ERROR, "reserved opcode")
        elif opcode == CONT and not self._fragmented:
            raise Violation(PROTOCOL_ERROR, "continuation of nothing")
        elif opcode == BINARY and self._fragmented:
            raise Violation(PROTOCOL_ERROR, "new message inside a fragmented one")

    def _control(self, opcode: int, payload: bytes, mask: bytes) -> None:
        self._count_idle()
        if mask:
            payload = apply_mask(payload, mask)
        if opcode == CLOSE:
            self._closed = True
            parse_close(payload)
            if self._fragmented:
                raise Violation(PROTOCOL_ERROR, "closed inside a fragmented message")
        self.controls.append((opcode, payload))

    def _count_idle(self) -> None:
        self._idle += 1
        if self._idle > MAX_IDLE_FRAMES:
            raise Violation(POLICY, "too many frames without payload")


def parse_close(payload: bytes) -> int:
    """The code of a close frame's payload; 1005 if it has none.

    Raises:
        Violation: 1002 for a truncated or forbidden code, 1007 for a reason that is not UTF-8.
    """
    try:
        return int(Close.parse(payload).code)
    except ProtocolError as exc:
        raise Violation(PROTOCOL_ERROR, "bad close frame") from exc
    except UnicodeDecodeError as exc:
        raise Violation(BAD_DATA, "close reason is not UTF-8") from exc


class FrameWriter:
    """Turns bytes into frames.

    Args:
        masked: True on the client.
    """

    __slots__ = ("_mask_bit", "_pool", "_used")

    def __init__(self, *, masked: bool) -> None:
        self._mask_bit = 0x80 if masked else 0
        # Masking keys must be unpredictable (RFC 6455 section 10.3). Drawn in bulk: one system call per key would cost
        # more than masking a small frame.
        self._pool = b""
        self._used = 0

    def binary(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Buffers to write for these payload bytes: as few binary messages as `MAX_OUTBOUND` allows.

        Args:
            pieces: bytes-like, of single bytes; not kept. Empty ones are allowed.
        """
        total = sum(map(len, pieces))
        if total <= MAX_OUTBOUND:
            return self._message(pieces, total) if total else []
        out: list[Piece] = []
        for size, part in _cut(pieces):
            out += self._message(part, size)
        return out

    def control(self, opcode: int, payload: bytes) -> bytes:
        """One control frame; `payload` has at most 125 bytes."""
        head = bytes((0x80 | opcode, self._mask_bit | len(payload)))
        if not self._mask_bit:
            return head + payload
        mask = self._next_mask()
        return head + mask + apply_mask(payload, mask)

    def close(self, code: int, reason: str = "") -> bytes:
        """A close frame; the reason is cut to fit."""
        return self.control(CLOSE, code.to_bytes(2, "big") + reason.encode()[:123])

    def _message(self, pieces: Sequence[Piece], size: int) -> list[Piece]:
        head = _head(size, self._mask_bit)
        if self._mask_bit:
            mask = self._next_mask()
            if size < SMALL:
                return [head + mask + apply_mask(b"".join(pieces), mask)]
            out: list[Piece] = [head + mask]
            for piece in _join_small(pieces):
                out.append(apply_mask(piece, mask))
                turn = len(piece) & 3
                mask = mask[turn:] + mask[:turn]
            return out
        if size < SMALL:
            return [b"".join((head, *pieces))]
        return _join_small((head, *pieces))

    def _next_mask(self) -> bytes:
        used = self._used
        if used == len(self._pool):
            self._pool, used = os.urandom(1024), 0
        self._used = used + 4
        return self._pool[used : used + 4]


def _head(size: int, mask_bit: int) -> bytes:
    if size < 126:
        return bytes((0x80 | BINARY, mask_bit | size))
    if size < 65536:
        return _HEAD16.pack(0x80 | BINARY, mask_bit | 126, size)
    return _HEAD64.pack(0x80 | BINARY, mask_bit | 127, size)


def _join_small(pieces: Iterable[Piece]) -> list[Piece]:
    out: list[Piece] = []
    small: list[Piece] = []
    for piece in pieces:
        if len(piece) < SMALL:
            small.append(piece)
            continue
        if small:
            out.append(b"".join(small))
            small = []
        out.append(piece)
    if small:
        out.append(b"".join(small))
    return out


def _cut(pieces: Iterable[Piece]) -> Iterator[tuple[int, list[Piece]]]:
    """Regroup into runs of `MAX_OUTBOUND` bytes, without copying."""
    part: list[Piece] = []
    size = 0
    for piece in pieces:
        view = memoryview(piece)
        while len(view) > MAX_OUTBOUND - size:
            room = MAX_OUTBOUND - size
            part.append(view[:room])
            yield MAX_OUTBOUND, part
            view, part, size = view[room:], [], 0
        if len(view):
            part.append(view)
            size += len(view)
    if size:
        yield size, part
