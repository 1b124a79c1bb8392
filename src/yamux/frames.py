"""The 12-byte header that starts every frame (spec, "Framing").

    0       1       2               4                               8                               12
    | Vers  | Type  | Flags         | StreamID                      | Length                        |

Version and type are read as one 16-bit number: the version is 0, so that number is the type, and anything above
``GO_AWAY`` is a bad version or a bad type.
"""

from __future__ import annotations

import struct
from typing import Final

HEADER: Final = struct.Struct(">HHII")
HEADER_SIZE: Final = HEADER.size

DATA: Final = 0
WINDOW_UPDATE: Final = 1
PING: Final = 2
GO_AWAY: Final = 3

SYN: Final = 1
ACK: Final = 2
FIN: Final = 4
RST: Final = 8

GO_AWAY_NORMAL: Final = 0
GO_AWAY_PROTOCOL_ERROR: Final = 1
GO_AWAY_INTERNAL_ERROR: Final = 2

_TYPES = {DATA: "DATA", WINDOW_UPDATE: "WINDOW_UPDATE", PING: "PING", GO_AWAY: "GO_AWAY"}
_FLAGS = ((SYN, "SYN"), (ACK, "ACK"), (FIN, "FIN"), (RST, "RST"))

pack = HEADER.pack
"""``pack(type, flags, stream_id, length)`` gives the 12 bytes of a version 0 header."""

unpack_from = HEADER.unpack_from
"""``unpack_from(buffer, offset)`` gives (version and type, flags, stream_id, length)."""


def describe(header: bytes) -> str:
    """Name the fields of a header for messages and traces, for example ``DATA FIN stream=3 length=120``."""
    kind, flags, stream_id, length = unpack_from(header)
    names = [name for bit, name in _FLAGS if flags & bit]
    if flags & ~0xF:
        names.append(f"flags={flags & ~0xF:#x}")
    return " ".join([_TYPES.get(kind, f"type={kind:#x}"), *names, f"stream={stream_id}", f"length={length}"])
