"""Which streams have waited too long for their peer, or for somebody here.

Time is counted in sweeps, looks at all streams at a fixed distance: a stream notes the number of the sweep under way
when its wait begins, and nobody has to ask the clock.
"""

from __future__ import annotations

from .config import Config
from .corestream import CoreStream
from .streamstate import LOCAL_ENDED, SYN_SENT_ENDED, UNACCEPTED, UNANSWERED


def overdue(stream: CoreStream, config: Config, sweep: int, seconds: float, *, early_fin: bool = False) -> str | None:
    """Why the stream is to be reset now; None if it may wait on. ``seconds`` lie between two sweeps.
    ``early_fin``: our FIN goes out with the last of our data, long before the peer's is due; whoever still listens then
    has deadlines of his own, while the ACK is always prompt.

    Called once a sweep for every stream: it also notes whether the stream has moved.
    """
    state = stream.state
    listened = early_fin and not stream.deaf
    if state in UNACCEPTED:
        limit, message = config.accept_timeout, "nobody accepted it in time"
    elif state in UNANSWERED and (config.open_timeout_ends_session or listened or not stream.bytes_out):
        limit, message = config.stream_open_timeout, "the peer did not answer its SYN in time"
    elif listened and state is LOCAL_ENDED:
        return None
    elif state is LOCAL_ENDED or state is SYN_SENT_ENDED or stream.ending:
        limit, message = config.stream_close_timeout, "the peer did not end it in time"
    else:
        return None
    if _has_moved(stream) and state not in UNACCEPTED:
        stream.since = sweep
        return None
    # The sweep under way when the wait began does not count: never early, at most one sweep late.
    return message if (sweep - stream.since - 1) * seconds >= limit else None


def _has_moved(stream: CoreStream) -> bool:
    """Whether data that somebody takes, or credit, has come since the last look."""
    before = stream.moved
    stream.moved = stream.bytes_out + stream.send_credit + (0 if stream.deaf else stream.bytes_in)
    return stream.moved != before
