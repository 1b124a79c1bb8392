"""What the core tells its shell. Events come in the order in which things happened on the wire.

Plain slotted dataclasses: one is made for every data frame, and a frozen one costs three times as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .corestream import CoreStream
    from .errors import StreamReset, YamuxError


@dataclass(slots=True)
class DataReceived:
    """A piece of a stream's data. Call ``consume`` when it has been used up: that is what gives credit.

    With ``last`` the peer's FIN came on the same frame, and no StreamEnded follows.
    """

    stream: CoreStream
    data: bytes | memoryview
    last: bool = False


@dataclass(slots=True)
class StreamOpened:
    """The peer opened a stream. ``accept`` answers it; until then it takes a place in the backlog."""

    stream: CoreStream


@dataclass(slots=True)
class StreamAnswered:
    """A stream opened here was answered, dropped or has ended: a place for another open may be free.

    Told only while the core's ``report_answers`` is set, by somebody who waits for a place.
    """

    stream: CoreStream


@dataclass(slots=True)
class StreamEnded:
    """The peer's FIN: all its data has been handed over. See also ``DataReceived.last``."""

    stream: CoreStream


@dataclass(slots=True)
class StreamDropped:
    """The stream was reset; what was not read is gone."""

    stream: CoreStream
    error: StreamReset


@dataclass(slots=True)
class PingAnswered:
    """A pong for one of our pings. ``rtt`` in seconds."""

    ping_id: int
    rtt: float


@dataclass(slots=True)
class GoAwayReceived:
    """The peer refuses new streams (code 0); open ones go on."""


@dataclass(slots=True)
class SessionEnded:
    """The session is over, and nothing comes after this event. ``lost`` are the streams that were still open."""

    error: YamuxError
    lost: list[CoreStream]


Event = (
    DataReceived
    | StreamOpened
    | StreamAnswered
    | StreamEnded
    | StreamDropped
    | PingAnswered
    | GoAwayReceived
    | SessionEnded
)
