"""Shows a yamux session frame by frame: ``python -m yamux.trace --help``.

It reads a capture it made before, or relays one TCP port to another and shows what passes. A capture is text, one record
a line: seconds since the start, ``>`` (from the client) or ``<``, and the bytes in hexadecimal, so that it can be read,
cut and kept beside a test.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Final

from .config import INITIAL_WINDOW, MAX_U32
from .frames import ACK, DATA, FIN, GO_AWAY, HEADER_SIZE, PING, RST, SYN, WINDOW_UPDATE, describe, unpack_from

CLIENT: Final = ">"
SERVER: Final = "<"

_OTHER = {CLIENT: SERVER, SERVER: CLIENT}
_KNOWN_FLAGS = SYN | ACK | FIN | RST


@dataclass(slots=True)
class Frame:
    """One frame as it passed. ``window`` is the sender's credit left on that stream after it, None where there is none."""

    at: float
    direction: str
    kind: int
    flags: int
    stream: int
    length: int
    window: int | None = None
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        header = describe(_pack(self))
        window = "" if self.window is None else f" window={self.window}"
        faults = "".join(f"  !! {fault}" for fault in self.faults)
        return f"{self.at:10.6f} {self.direction} {header}{window}{faults}"


def _pack(frame: Frame) -> bytes:
    fields = (frame.kind, 2), (frame.flags, 2), (frame.stream, 4), (frame.length, 4)
    return b"".join(value.to_bytes(size, "big") for value, size in fields)


class Tracer:
    """Takes the bytes of both directions, in pieces of any size, and gives the frames in them.

    It keeps the credit of each stream for as long as it sees the stream, and marks what breaks the protocol without
    ever stopping: a bad version ends only the reading of that direction, because nothing behind it can be told apart.
    """

    def __init__(self) -> None:
        self._partial = {CLIENT: b"", SERVER: b""}
        self._skip = {CLIENT: 0, SERVER: 0}
        self._lost = {CLIENT: False, SERVER: False}
        self._credit: dict[tuple[str, int], int] = {}
        self._ended: set[tuple[str, int]] = set()
        self._used: set[int] = set()

    def feed(self, at: float, direction: str, data: bytes) -> Iterator[Frame]:
        """The frames whose headers are complete with ``data``. A body is passed over as it comes."""
        if self._lost[direction]:
            return
        data = self._partial[direction] + data
        pos = 0
        while True:
            step = min(self._skip[direction], len(data) - pos)
            self._skip[direction] -= step
            pos += step
            if self._skip[direction] or len(data) - pos < HEADER_SIZE:
                break
            frame = Frame(at, direction, *unpack_from(data, pos))
            pos += HEADER_SIZE
            if frame.kind == DATA:
                self._skip[direction] = frame.length
            self._judge(frame)
            yield frame
            if frame.kind > GO_AWAY:
                self._lost[direction] = True
                return
        self._partial[direction] = data[pos:]

    def end(self, at: float, direction: str) -> str | None:
        """What was cut off when this direction ended; None if it ended between frames."""
        if self._skip[direction]:
            return f"{at:10.6f} {direction} !! cut: {self._skip[direction]} bytes of a body are missing"
        if self._partial[direction]:
            return f"{at:10.6f} {direction} !! cut: {len(self._partial[direction])} bytes of a header came"
        return None

    def _judge(self, frame: Frame) -> None:
        faults = frame.faults
        if frame.kind > GO_AWAY:
            faults.append("bad version" if frame.kind >> 8 else "bad type")
            return
        if frame.flags & ~_KNOWN_FLAGS:
            faults.append("unknown flags")
        if frame.kind in (PING, GO_AWAY):
            if frame.stream:
                faults.append("a stream id on a frame of the session")
            return
        self._judge_stream(frame)

    def _judge_stream(self, frame: Frame) -> None:
        faults, stream = frame.faults, frame.stream
        mine, theirs = (frame.direction, stream), (_OTHER[frame.direction], stream)
        if frame.flags & SYN:
            if stream == 0 or stream % 2 != (frame.direction == CLIENT):
                faults.append("not the sender's id to open")
            if stream in self._used:
                faults.append("id used before")
            self._used.add(stream)
            self._credit[mine] = self._credit[theirs] = INITIAL_WINDOW
        elif stream not in self._used:
            faults.append("stream was never opened")
        if mine in self._ended and (frame.flags & FIN or frame.kind == DATA):
            faults.append("after the sender's FIN")
        if frame.kind == DATA:
            left = self._credit.get(mine, INITIAL_WINDOW) - frame.length
            if left < 0:
                faults.append(f"{-left} bytes over the window")
            self._credit[mine] = frame.window = max(left, 0)
        elif frame.kind == WINDOW_UPDATE and not frame.flags & RST:
            total = self._credit.get(theirs, INITIAL_WINDOW) + frame.length
            if total > MAX_U32:
                faults.append("window over 2^32-1")
            self._credit[theirs] = total
            frame.window = self._credit.get(mine, INITIAL_WINDOW)
        if frame.flags & FIN:
            self._ended.add(mine)
        if frame.flags & RST or (mine in self._ended and theirs in self._ended):
            for key in (mine, theirs):
                self._credit.pop(key, None)
                self._ended.discard(key)


def read_capture(lines: Iterable[str]) -> Iterator[tuple[float, str, bytes]]:
    """The records of a capture. Raises ValueError that names the line."""
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            at, direction, data = line.split(maxsplit=2)
            if direction not in _OTHER:
                raise ValueError(direction)
            yield float(at), direction, bytes.fromhex(data)
        except ValueError:
            raise ValueError(f"line {number}: expected 'SECONDS > HEX' or 'SECONDS < HEX'") from None


def show_capture(lines: Iterable[str], show: Callable[[str], object]) -> int:
    """Print the frames of a capture; returns how many of them have a fault."""
    tracer = Tracer()
    faulty = 0
    at = 0.0
    for at, direction, data in read_capture(lines):
        for frame in tracer.feed(at, direction, data):
            faulty += bool(frame.faults)
            show(str(frame))
    for direction in (CLIENT, SERVER):
        cut = tracer.end(at, direction)
        if cut is not None:
            show(cut)
            faulty += 1
    return faulty


class Relay:
    """Passes bytes between a port here and an address elsewhere, and shows them."""

    def __init__(self, target: tuple[str, int], record: IO[str] | None, show: Callable[[str], object]) -> None:
        self._target = target
        self._record = record
        self._show = show

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Listen; every connection gets a trace of its own."""
        return await asyncio.start_server(self._connection, host, port)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        started = time.monotonic()
        try:
            onward, back = await asyncio.open_connection(*self._target)
        except OSError as error:
            self._show(f"cannot connect to {self._target[0]}:{self._target[1]}: {error}")
            writer.close()
            return
        tracer = Tracer()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(tracer, started, CLIENT, reader, back))
                group.create_task(self._pump(tracer, started, SERVER, onward, writer))
        finally:
            for end in (writer, back):
                end.close()

    async def _pump(
        self,
        tracer: Tracer,
        started: float,
        direction: str,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
    ) -> None:
        try:
            while data := await source.read(64 * 1024):
                at = time.monotonic() - started
                if self._record is not None:
                    self._record.write(f"{at:.6f} {direction} {data.hex()}\n")
                for frame in tracer.feed(at, direction, data):
                    self._show(str(frame))
                sink.write(data)
                await sink.drain()
            if sink.can_write_eof():
                sink.write_eof()
        except OSError as error:
            self._show(f"{time.monotonic() - started:10.6f} {direction} !! the connection was lost: {error}")
        cut = tracer.end(time.monotonic() - started, direction)
        if cut is not None:
            self._show(cut)


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 0xFFFF:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, got {text!r}")
    return host.strip("[]"), int(port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m yamux.trace", description="Show a yamux session frame by frame.")
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="show a capture; exit code 1 if a frame in it has a fault")
    show.add_argument("file", type=argparse.FileType("r"), help="the capture, - for standard input")
    relay = commands.add_parser("relay", help="relay a port and show what passes")
    relay.add_argument("--listen", type=_address, required=True, metavar="HOST:PORT", help="where the client connects")
    relay.add_argument("--to", type=_address, required=True, metavar="HOST:PORT", help="where the server listens")
    relay.add_argument("--record", type=argparse.FileType("w"), metavar="FILE", help="keep a capture as well")
    return parser


async def _relay(arguments: argparse.Namespace) -> None:
    relay = Relay(arguments.to, arguments.record, print)
    try:
        server = await relay.serve(*arguments.listen)
    except OSError as error:
        raise SystemExit(f"cannot listen on {arguments.listen[0]}:{arguments.listen[1]}: {error.strerror}") from None
    host, port = server.sockets[0].getsockname()[:2]
    print(f"relaying {host}:{port} to {arguments.to[0]}:{arguments.to[1]}", file=sys.stderr)
    await server.serve_forever()


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "show":
            return 1 if show_capture(arguments.file, print) else 0
        asyncio.run(_relay(arguments))
    except ValueError as error:
        print(f"{arguments.file.name}: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
