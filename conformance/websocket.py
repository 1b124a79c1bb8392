"""WebSocket behaviour by case classes, as raw frames: framing, pings, reserved bits, opcodes, fragments, UTF-8, closing.

The numbers are those of the well-known classes of WebSocket tests; the cases are written anew.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from dataclasses import dataclass

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"


@dataclass(frozen=True, slots=True)
class Case:
    """What a client sends behind the handshake.

    Attributes:
        id: class and number.
        why: what is tried.
        frames: raw bytes, sent in this order.
    """

    id: str
    why: str
    frames: tuple[bytes, ...]


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True, size: int = 0
) -> bytes:
    """One frame.

    Args:
        opcode: any four bits.
        payload: unmasked.
        fin: last of its message.
        rsv: the reserved bits, 0 to 7.
        masked: as a client must.
        size: bytes of the length field: 0 for the shortest, 2 or 8.
    """
    head = bytes((fin << 7 | rsv << 4 | opcode,))
    bit = 0x80 if masked else 0
    if size == 8 or (not size and len(payload) > 65535):
        head += bytes((bit | 127,)) + struct.pack("!Q", len(payload))
    elif size == 2 or (not size and len(payload) > 125):
        head += bytes((bit | 126,)) + struct.pack("!H", len(payload))
    else:
        head += bytes((bit | len(payload),))
    if not masked:
        return head + payload
    key = (MASK * (len(payload) // 4 + 1))[: len(payload)]
    masked_bytes = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")
    return head + MASK + masked_bytes


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    """A close frame."""
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


BYE = close(1000)


def _framing() -> Iterator[tuple[str, tuple[bytes, ...]]]:
    for opcode, name in ((TEXT, "text"), (BINARY, "binary")):
        for size in (0, 1, 125, 126, 127, 128, 65535, 65536):
            yield f"{name} of {size}", (frame(opcode, b"*" * size), BYE)
    yield "length not in its shortest form, 16 bits", (frame(BINARY, b"abc", size=2), BYE)
    yield "length not in its shortest form, 64 bits", (frame(BINARY, b"abc", size=8), BYE)
    yield "top bit of a 64-bit length", (b"\x82\xff\x80" + bytes(7) + MASK, BYE)


def _pings() -> Iterator[tuple[str, tuple[bytes, ...]]]:
    for payload in (b"", b"Hello", bytes(range(125)), b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"x" * 125):
        yield f"ping of {len(payload)}", (frame(PING, payload), BYE)
    yield "ping of 126", (frame(PING, b"x" * 126), BYE)
    yield "pong nobody asked for", (frame(PONG), BYE)
    yield "pong with payload, then ping", (frame(PONG, b"a"), frame(PING, b"b"), BYE)
    yield "ping between fragments", (frame(TEXT, b"ab", fin=False), frame(PING, b"p"), frame(CONT, b"cd"), BYE)
    yield "ping in fragments", (frame(PING, b"a", fin=False), frame(CONT, b"b"), BYE)
    yield "pong of 126", (frame(PONG, b"x" * 126), BYE)


def _reserved() -> Iterator[tuple[str, tuple[bytes, ...]]]:
    for rsv in range(1, 8):
        yield f"reserved bits {rsv} on text", (frame(TEXT, b"a"), frame(TEXT, b"b", rsv=rsv), frame(PING), BYE)
        yield f"reserved bits {rsv} on ping", (frame(PING, b"a", rsv=rsv), BYE)
        yield f"reserved bits {rsv} on close", (frame(CLOSE, b"\x03\xe8", rsv=rsv),)
    yield "reserved bit in the second fragment", (frame(TEXT, b"a", fin=False), frame(CONT, b"b", rsv=4), BYE)


def _opcodes() -> Iterator[tuple[str, tuple[bytes, ...]]]:
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield f"opcode {opcode}", (frame(TEXT, b"a"), frame(opcode, b"b"), BYE)
        yield f"opcode {opcode} without payload", (frame(opcode), BYE)


def _fragments() -> Iterator[tuple[str, tuple[bytes, ...]]]:
    a, b = frame(TEXT, b"ab", fin=False), frame(CONT, b"cd")
    yield "two", (a, b, BYE)
    yield "three with an empty one", (a, frame(CONT, b"", fin=False), b, BYE)
    yield "all empty", (frame(TEXT, b"", fin=False), frame(CONT, b"", fin=False), frame(CONT), BYE)
    yield "of binary", (frame(BINARY, b"\0", fin=False), frame(CONT, b"\1"), BYE)
    yield "continuation of nothing", (b, BYE)
    yield "continuation of nothing, not final", (frame(CONT, b"a", fin=False), frame(CONT, b"b"), BYE)
    yield "new text inside a message", (a, frame(TEXT, b"x"), BYE)
    yield "new binary inside a message", (a, frame(BINARY, b"x"), BYE)
    yield "continuation behind the last", (a, b, b, BYE)
    yield "pings and pongs between", (a, frame(PING, b"1"), frame(CONT, b"", fin=False), frame(PONG, b"2"), b, BYE)
    yield "close in the middle", (a, BYE, b)
    yield "two hundred", (frame(TEXT, b"", fin=False), *[frame(CONT, b"x", fin=False)] * 200, frame(CONT), BYE)
    yield "two messages in one write", (a + b + frame(TEXT, b"more") + BYE,)
    yield "cut inside a header", (a[:1], a[1:] + b[:3], b[3:], BYE)


_VALID = (
    b"Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", b"\x00",
    b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80", b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf", b"\xed\x9f\xbf", b"\xee\x80\x80",
    b"\xef\xbf\xbd", b"\xef\xbf\xbe", b"\xf0\x9f\xbf\xbf", b"\xef\xbb\xbfa",
)  # fmt: skip
_INVALID = (
    b"\x80", b"\xbf", b"\x80\xbf", b"\xc0", b"\xe0", b"\xf0", b"\xf8", b"\xfc", b"\xfe", b"\xff", b"\xc0 ", b"\xe0\x80", b"\xf0\x80\x80", b"\xc0\xaf",
    b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xc0\x80", b"\xed\xa0\x80",
    b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xce",
    b"\xce\xba\xe1", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", b"Hello\xff", b"\xf0\x90\x80", b"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf",
)  # fmt: skip


def _utf8() -> Iterator[tuple[str, tuple[bytes, ...]]]:
    for text in _VALID:
        yield f"valid {text.hex()}", (frame(TEXT, text), BYE)
        pieces = [frame(CONT if n else TEXT, text[n : n + 1], fin=False) for n in range(len(text))]
        yield f"valid {text.hex()} by single bytes", (*pieces, frame(CONT), BYE)
    for text in _INVALID:
        yield f"invalid {text.hex()}", (frame(TEXT, text), BYE)
        yield f"invalid {text.hex()} in two", (frame(TEXT, text[:1], fin=False), frame(CONT, text[1:]), BYE)
        yield f"{text.hex()} as binary", (frame(BINARY, text), BYE)


def _closing() -> Iterator[tuple[str, tuple[bytes, ...]]]:
    yield "without a code", (close(),)
    yield "twice", (BYE, BYE)
    yield "then a ping", (BYE, frame(PING, b"a"))
    yield "then text", (BYE, frame(TEXT, b"a"))
    yield "payload of one byte", (frame(CLOSE, b"\x03"),)
    yield "reason of 123", (close(1000, b"*" * 123),)
    yield "reason of 124", (close(1000, b"*" * 124),)
    yield "reason that is not UTF-8", (close(1000, b"\xce\xba\xed\xa0\x80"),)
    yield "reason in UTF-8", (close(1000, b"\xce\xba\xe1\xbd\xb9"),)
    yield "in fragments", (frame(CLOSE, b"\x03", fin=False), frame(CONT, b"\xe8"))
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        yield f"code {code}", (close(code),)
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield f"code {code}, which is none", (close(code),)
    yield "text, then close", (frame(TEXT, b"last words"), close(1001, b"bye"))
    yield "big text, then close", (frame(TEXT, b"*" * 100_000), BYE)


def _masking() -> Iterator[tuple[str, tuple[bytes, ...]]]:
    for opcode in (TEXT, BINARY, PING, CLOSE):
        yield f"unmasked opcode {opcode}", (frame(opcode, b"", masked=False), BYE)
    yield "unmasked behind masked", (frame(TEXT, b"a"), frame(TEXT, b"b", masked=False), BYE)


def _large() -> Iterator[tuple[str, tuple[bytes, ...]]]:
    for size in (1 << 18, 1 << 20):
        yield f"text of {size}", (frame(TEXT, b"*" * size), BYE)
        part = 1 << 12
        parts = [frame(CONT if n else TEXT, b"*" * part, fin=False) for n in range(size // part)]
        yield f"text of {size} in fragments", (*parts, frame(CONT), BYE)
    yield "a thousand small ones", (*[frame(BINARY, b"%d" % n) for n in range(1000)], BYE)
    yield "written by 1,000 bytes", (*_pieces(frame(BINARY, b"*" * 65536), 1000), BYE)
    yield "longer than the server takes", (frame(BINARY, b"*" * ((1 << 20) + 1)), BYE)


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


_CLASSES = {
    1: _framing,
    2: _pings,
    3: _reserved,
    4: _opcodes,
    5: _fragments,
    6: _utf8,
    7: _closing,
    8: _masking,
    9: _large,
}
"""Class 10, fragments chosen by the sender, is in 9 and 5; 8 is the masking that every client owes."""

CASES = [
    Case(f"{number}.{count}", why, frames)
    for number, cases in _CLASSES.items()
    for count, (why, frames) in enumerate(cases(), 1)
]

HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PATIENCE = 40.0


async def visit(port: int, path: bytes, case: Case) -> tuple[bytes, bytes]:
    """Play a case; returns the status line, and everything behind the handshake until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HANDSHAKE % path)
    async with asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        got = bytearray()
        collecting = asyncio.ensure_future(_collect(reader, got))
        for data in case.frames:
            writer.write(data)
            await asyncio.sleep(0)
        await collecting
    writer.close()
    return head.partition(b"\r\n")[0], bytes(got)


async def _collect(reader: asyncio.StreamReader, into: bytearray) -> None:
    try:
        while data := await reader.read(1 << 18):
            into += data
    except ConnectionError:
        # A server that has failed a connection may close with our frames unread.
        pass


def close_code(raw: bytes) -> int:
    """The code of the close frame that ends these frames of a server; 1005 without a code, 1006 without a close."""
    at, code = 0, 1006
    while at < len(raw):
        opcode, length, at = raw[at] & 15, raw[at + 1], at + 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(raw[at : at + size], "big"), at + size
        if opcode == 8:
            code = int.from_bytes(raw[at : at + 2], "big") if length else 1005
        at += length
    return code
