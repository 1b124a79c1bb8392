"""Everything that can go wrong in yamux, by whose fault it is.

YamuxError
+-- ProtocolError            the peer broke the protocol; the session ends with GoAway(code)
|   +-- WindowExceeded       the peer sent more than the credit it held
|   +-- FloodDetected          the peer sent too many frames that carry nothing
+-- SessionClosed            the session is over (also ConnectionError)
|   +-- RemoteGoAway         the peer said GoAway: code 0 refuses new streams, any other ends the session
|   +-- KeepaliveTimeout     the peer stopped answering (also TimeoutError)
+-- StreamReset              one stream was reset, by either side (also ConnectionResetError)
+-- StreamClosed             the caller used a stream it had closed itself
+-- StreamLimit              no further stream may be opened now; closing or acknowledging one frees a place
"""

from __future__ import annotations


class YamuxError(Exception):
    """Base of all errors of this package.

    ``code`` is the GoAway code that belongs on the wire and ``reason`` a short stable name for counters and logs.
    """

    code = 0
    reason = "yamux_error"


class ProtocolError(YamuxError):
    """The peer broke the protocol. The session sends GoAway(1) and ends."""

    code = 1
    reason = "protocol_error"


class WindowExceeded(ProtocolError):
    """The peer sent more bytes on a stream than the credit it held."""

    reason = "window_exceeded"


class FloodDetected(ProtocolError):
    """The peer sent too many frames that carry nothing, or opened and dropped streams too fast."""

    reason = "flood_detected"


class SessionClosed(YamuxError, ConnectionError):
    """The session is over: closed here, cut, or ended by the peer. ``code`` is the GoAway code, if there was one."""

    reason = "session_closed"

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class RemoteGoAway(SessionClosed):
    """The peer sent GoAway. Code 0 only refuses new streams; any other code ended the session."""

    reason = "remote_go_away"


class KeepaliveTimeout(SessionClosed, TimeoutError):
    """Nothing was heard from the peer for the keepalive timeout."""

    reason = "keepalive_timeout"


class StreamReset(YamuxError, ConnectionResetError):
    """One stream was reset; what was not read yet is gone.

    ``remote`` tells who did it. ``code`` is what the peer put into the Length of its RST (0 where it has no meaning).
    ``refused``: the peer had never acknowledged the stream. One that acknowledges when it accepts, as the reference and
    this package do, has then shown it to nobody.
    """

    reason = "stream_reset"

    def __init__(self, message: str, code: int = 0, *, remote: bool = True, refused: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.remote = remote
        self.refused = refused


class StreamClosed(YamuxError):
    """The caller wrote to a stream after ending it."""

    reason = "stream_closed"


class StreamLimit(YamuxError):
    """Too many streams are open or wait for their acknowledgement; none was opened."""

    reason = "stream_limit"
