"""yamux, the stream multiplexer of hashicorp/yamux, in pure Python.

``Session`` and ``Stream`` are the asyncio surface, ``StreamTransport`` runs any asyncio protocol on a stream, and
``Connection`` is the protocol alone, without I/O.
"""

from .config import Config
from .connection import Connection
from .errors import (
    FloodDetected,
    KeepaliveTimeout,
    ProtocolError,
    RemoteGoAway,
    SessionClosed,
    StreamClosed,
    StreamLimit,
    StreamReset,
    WindowExceeded,
    YamuxError,
)
from .session import Session
from .stats import SessionStats
from .stream import Stream
from .transport import StreamTransport

__all__ = [
    "Config",
    "Connection",
    "FloodDetected",
    "KeepaliveTimeout",
    "ProtocolError",
    "RemoteGoAway",
    "Session",
    "SessionClosed",
    "SessionStats",
    "Stream",
    "StreamClosed",
    "StreamLimit",
    "StreamReset",
    "StreamTransport",
    "WindowExceeded",
    "YamuxError",
]
