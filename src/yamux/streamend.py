"""What a stream's transport is made of, and what it can tell of itself."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from .corestream import Buffer, CoreStream
from .errors import YamuxError
from .handover import TRAITS, fill, traits
from .streamstate import UNANSWERED

if TYPE_CHECKING:
    from .shell import SessionShell

# Bytes waiting in a stream before its writer is asked to pause, and to resume. asyncio's own figure for sockets, and
# a quarter of it: the next frame is there before the last one has left.
HIGH_MARK = 64 * 1024
LOW_MARK = 16 * 1024


class StreamEnd(asyncio.Transport):
    """This side's end of one stream; see ``StreamTransport``, which reads and writes."""

    __slots__ = (
        "__weakref__",
        "_closing",
        "_core",
        "_eof_told",
        "_eof_waiting",
        "_failure",
        "_held",
        "_high",
        "_inbox",
        "_low",
        "_manual",
        "_over",
        "_paused",
        "_protocol",
        "_push",
        "_stream",
        "_views",
        "_write_paused",
        "session",
    )

    def __init__(self, session: SessionShell, stream: CoreStream, protocol: asyncio.BaseProtocol) -> None:
        self.session = session
        self._core = session.core
        self._stream = stream
        stream.owner = self
        self._inbox: deque[Buffer] | None = None
        self._held = 0
        self._paused = self._write_paused = False
        self._closing = self._over = False
        self._eof_told = self._eof_waiting = False
        self._failure: YamuxError | None = None
        self._high, self._low = HIGH_MARK, LOW_MARK
        # set_protocol, spelled out: one is made for every request.
        self._protocol: Any = protocol
        self._views, self._manual, buffered = TRAITS.get(type(protocol)) or traits(type(protocol))
        self._push: Callable[[Any], None] | None = partial(fill, protocol) if buffered else None  # type: ignore[arg-type]

    @property
    def id(self) -> int:
        """The stream's id on the wire."""
        return self._stream.id

    @property
    def bytes_in(self) -> int:
        """Data bytes received."""
        return self._stream.bytes_in

    @property
    def bytes_out(self) -> int:
        """Data bytes handed to the carrier."""
        return self._stream.bytes_out

    @property
    def answered(self) -> bool:
        """Whether the peer has answered the SYN, by ACK, FIN or RST."""
        return self._stream.state not in UNANSWERED

    @property
    def unread(self) -> int:
        """Bytes that have come and wait for reading to resume."""
        return sum(map(len, self._inbox)) if self._inbox else 0

    @property
    def is_full(self) -> bool:
        """Whether the protocol has been asked to write no more for now."""
        return self._write_paused

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``stream_id`` and ``session``; everything else is asked of the carrier."""
        if name == "stream_id":
            return self._stream.id
        if name == "session":
            return self.session
        transport = self.session.transport
        return default if transport is None else transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what comes from now on to another protocol."""
        self._protocol = protocol
        self._views, self._manual, buffered = TRAITS.get(type(protocol)) or traits(type(protocol))
        self._push = partial(fill, protocol) if buffered else None  # type: ignore[arg-type]

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The current protocol."""
        return cast(asyncio.BaseProtocol, self._protocol)
