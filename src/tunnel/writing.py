"""Writing several pieces at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tunnel.http1 import Piece

# Below this one copy is cheaper than a write of several buffers.
JOIN_BYTES = 16 * 1024


def put(transport: asyncio.WriteTransport, pieces: Sequence[Piece]) -> int:
    """Write all pieces in one go; returns how many bytes they are."""
    if len(pieces) == 1:
        transport.write(pieces[0])
        return len(pieces[0])
    size = sum(map(len, pieces))
    if size > JOIN_BYTES:
        transport.writelines(pieces)
    elif size:
        transport.write(b"".join(pieces))
    return size
