"""The chunked decoder: strict, bounded, and indifferent to how the bytes were cut (RFC 9112 section 7.1)."""

from __future__ import annotations

import re
from typing import Literal

from tunnel.http1.errors import BadMessage
from tunnel.http1.limits import Limits
from tunnel.http1.scan import BAD_BYTE, FIELD_LINE
from tunnel.http1.startline import Found

Piece = bytes | memoryview

# Up to here copying a piece is cheaper than a view of it, which would also keep the whole received buffer alive.
SMALL_PIECE = 2048

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PLAIN_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")
_DIGITS = re.compile(rb"[0-9A-Fa-f]{0,17}")
_EXTENSIONS = re.compile(
    rb"(?:;"
    + _TOKEN
    + rb"(?:=(?:"
    + _TOKEN
    + rb'|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"))?)*'
)
_MOST_DIGITS = 16

_Phase = Literal["size", "data", "data_end", "trailer", "done"]


class ChunkedDecoder:
    """Turns a chunked body into its data. Extensions and trailers are checked, counted and dropped.

    Args:
        limits: chunk overhead, line length, and what is left for trailers of the head's budget.
        head_bytes: size of the head before this body.
        head_fields: field lines in that head.
        response: True refuses with 502 and takes the response budgets.
    """

    __slots__ = (
        "_phase", "_left", "_line", "_excess", "_total", "_body", "_overhead", "_longest", "_bytes", "_fields", "_status",
    )  # fmt: skip

    def __init__(self, limits: Limits, head_bytes: int, head_fields: int, *, response: bool = False) -> None:
        self._phase: _Phase = "size"
        self._left = 0
        self._line = bytearray()
        self._excess = 0
        self._total = 0
        self._body = None if response else limits.body
        self._overhead = limits.chunk_overhead
        self._longest = limits.line
        self._bytes = (limits.response_head if response else limits.head) - head_bytes
        self._fields = (limits.response_fields if response else limits.fields) - head_fields
        self._status = 502 if response else 0

    @property
    def done(self) -> bool:
        """True once the line that ends the trailers was taken."""
        return self._phase == "done"

    @property
    def buffered(self) -> int:
        """Bytes of an incomplete line held back."""
        return len(self._line)

    def decode(self, data: bytes, start: int, out: list[Piece]) -> int:
        """Decodes what it can.

        Args:
            data: received bytes.
            start: where this body goes on in them.
            out: receives the decoded pieces, in order.

        Returns:
            Where it stopped: the end of the data, or the first byte behind the body.

        Raises:
            BadMessage: the framing is malformed or over a budget. Pieces already in ``out`` must not be used.
        """
        at, end = start, len(data)
        while at < end and self._phase != "done":
            if self._phase == "size":
                at = self._sizes(data, at, out)
            elif self._phase == "data":
                take = min(self._left, end - at)
                out.append(cut(data, at, at + take))
                at += take
                self._left -= take
                if not self._left:
                    self._phase = "data_end"
            else:
                at = self._take_line(data, at)
        return at

    def _sizes(self, data: bytes, at: int, out: list[Piece]) -> int:
        """Takes whole plain chunks in a tight loop, and leaves everything else to the line reader."""
        if self._line:
            return self._take_line(data, at)
        match = _PLAIN_SIZE.match
        append = out.append
        while (found := match(data, at)) is not None:
            size = int(found[1], 16)
            begin = found.end()
            self._open_chunk(size, begin - at)
            if not size:
                return begin
            stop = begin + size
            if data[stop : stop + 2] != b"\r\n":
                return begin
            append(data[begin:stop] if size <= SMALL_PIECE else cut(data, begin, stop))
            self._phase = "size"
            at = stop + 2
        return self._take_line(data, at) if at < len(data) else at

    def _open_chunk(self, size: int, line: int) -> None:
        """Takes note of a chunk whose size line, CRLF included, has ``line`` bytes."""
        self._excess = max(0, self._excess + line + 2 - 16 - 2 * size)
        if self._excess > self._overhead:
            raise self._bad(400, "chunk_overhead")
        self._total += size
        if self._body is not None and self._total > self._body:
            raise self._bad(413, "body_too_large")
        self._left = size
        self._phase = "data" if size else "trailer"

    def _take_line(self, data: bytes, at: int) -> int:
        """Moves bytes up to the next LF into the line and, once it is whole, acts on it."""
        eol = data.find(b"\n", at)
        # More than any line may have is never copied: the verdict is the same without the rest.
        stop = min(len(data) if eol < 0 else eol + 1, at + self._longest + 3)
        line, seen = self._line, len(self._line)
        line += data[at:stop]
        complete = line.endswith(b"\n")
        text = bytes(line).rstrip(b"\r\n") if complete or seen <= _MOST_DIGITS else b""
        found: list[Found] = []
        bad = BAD_BYTE.search(line, max(seen - 1, 0))
        if bad is not None:
            found.append((bad.end(), self._bad(400, "bad_chunk_line")))
        if self._phase == "size":
            self._judge_size(line, text, complete, found)
        elif self._phase == "trailer":
            self._judge_trailer(line, text, complete, found)
        elif line[0] not in b"\r\n":
            found.append((1, self._bad(400, "bad_chunk_end")))
        if found:
            raise min(found, key=lambda fault: fault[0])[1]
        if complete:
            self._line = bytearray()
            self._finish_line(text, len(line))
        return stop

    def _finish_line(self, text: bytes, length: int) -> None:
        if self._phase == "size":
            digits = _DIGITS.match(text)
            self._open_chunk(int(digits[0], 16) if digits else 0, length)
        elif self._phase == "data_end":
            self._phase = "size"
        elif not text:
            self._phase = "done"
        else:
            self._fields -= 1
            self._bytes -= length

    def _judge_size(self, line: bytearray, text: bytes, complete: bool, found: list[Found]) -> None:
        match = _DIGITS.match(line)
        digits = match.end() if match else 0
        if digits > _MOST_DIGITS or (not digits and line[0] != 0x0A):
            found.append((_MOST_DIGITS + 1 if digits else 1, self._bad(400, "bad_chunk_size")))
            return
        after = line[digits : digits + 1]
        if after and after not in b";\r\n":
            found.append((digits + 1, self._bad(400, "bad_chunk_size")))
        elif after == b";":
            room = self._overhead + 12 + 2 * int(line[:digits], 16) - self._excess
            most = min(self._longest, room)
            if len(line) > most and line[most] not in b"\r\n":
                found.append((most + 1, self._bad(400, "chunk_overhead")))
            if complete and not _EXTENSIONS.fullmatch(text, digits):
                found.append((len(line), self._bad(400, "bad_chunk_extension")))

    def _judge_trailer(self, line: bytearray, text: bytes, complete: bool, found: list[Found]) -> None:
        if len(line) > self._longest and line[self._longest] not in b"\r\n":
            found.append((self._longest + 1, self._bad(431, "field_line_too_long")))
        if len(line) > max(self._bytes, 2):
            found.append((max(self._bytes, 2) + 1, self._bad(431, "head_too_large")))
        if not complete or not text:
            return
        if self._fields < 1:
            found.append((len(line), self._bad(431, "too_many_fields")))
        elif not FIELD_LINE.fullmatch(text):
            found.append((len(line), self._bad(400, "bad_trailer")))
        elif text.partition(b":")[0].lower().replace(b"_", b"-") in (b"content-length", b"transfer-encoding"):
            found.append((len(line), self._bad(400, "framing_in_trailer")))

    def _bad(self, status: int, reason: str) -> BadMessage:
        return BadMessage(self._status or status, reason)


def cut(data: Piece, start: int, stop: int) -> Piece:
    """The bytes from start to stop: the object itself if that is all of it, a copy if short, else a view."""
    if start == 0 and stop == len(data):
        return data
    if stop - start <= SMALL_PIECE:
        return bytes(data[start:stop])
    return memoryview(data)[start:stop]
