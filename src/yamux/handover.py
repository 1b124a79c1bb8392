"""How data passes between streams and the protocols on them: copies, views, small pieces."""

from __future__ import annotations

import asyncio
from collections import deque

from .corestream import Buffer

# Pieces below this are joined to the one before while that stays below the next figure. Kept one by one, two-byte
# frames would cost twenty times the window they fill.
SMALL_PIECE = 512
JOINED_PIECE = 4096

# Protocol classes whose traits are remembered: far more than a program has, unless it makes classes as it runs.
REMEMBERED_CLASSES = 256

TRAITS: dict[type, tuple[bool, bool, bool]] = {}


def frozen(data: bytes | bytearray | memoryview) -> Buffer:
    """The data itself where it cannot change under us, a copy where it can. Raises TypeError for anything else."""
    if isinstance(data, memoryview):
        return data.cast("B") if data.readonly and data.c_contiguous else bytes(data)
    if not isinstance(data, bytes | bytearray):
        raise TypeError(f"data must be bytes, bytearray or memoryview, not {type(data).__name__}")
    return bytes(data)


def hold(pieces: deque[Buffer], data: Buffer) -> None:
    """Append ``data`` to what waits, joining small pieces. Views are copied: one keeps the whole buffer that was received,
    and what waits may wait for long."""
    if len(data) < SMALL_PIECE and pieces and len(pieces[-1]) < JOINED_PIECE:
        pieces[-1] = b"".join((pieces[-1], data))
    else:
        pieces.append(bytes(data) if type(data) is memoryview else data)


def fill(protocol: asyncio.BufferedProtocol, data: Buffer) -> None:
    """Copy ``data`` into the buffers of a BufferedProtocol. Raises RuntimeError if it gives an empty one."""
    rest = memoryview(data)
    while rest:
        buffer = memoryview(protocol.get_buffer(len(rest)))
        count = min(len(buffer), len(rest))
        if not count:
            raise RuntimeError("get_buffer() returned an empty buffer")
        buffer[:count] = rest[:count]
        protocol.buffer_updated(count)
        rest = rest[count:]


def traits(kind: type) -> tuple[bool, bool, bool]:
    """What a protocol's class says of itself: (accepts views, gives credit, is buffered). Looked up once a class."""
    found = TRAITS.get(kind)
    if found is None:
        buffered = issubclass(kind, asyncio.BufferedProtocol)
        found = (
            buffered or bool(getattr(kind, "accepts_views", False)),
            bool(getattr(kind, "gives_credit", False)),
            buffered,
        )
        if len(TRAITS) >= REMEMBERED_CLASSES:
            TRAITS.clear()
        TRAITS[kind] = found
    return found
