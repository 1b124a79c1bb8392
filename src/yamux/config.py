"""Settings of a session, each with the reason for its default."""

from __future__ import annotations

from dataclasses import dataclass

# What the protocol grants every stream before any window update (spec, "Flow Control").
INITIAL_WINDOW = 256 * 1024
MAX_U32 = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Config:
    """How a session behaves. Names follow hashicorp/yamux where it has the same knob; times are in seconds.

    Raises ValueError for a combination that cannot work.
    """

    stream_window: int = INITIAL_WINDOW
    """Receive window a stream starts with, in bytes. The protocol's own 256 KiB: any peer may fill it before our first
    update, so a smaller value cannot be promised."""

    max_stream_window: int = 16 * 1024 * 1024
    """Largest window one stream grows to. 16 MiB fills 1.2 Gbit/s at 100 ms, and is where go-yamux stops too."""

    window_budget: int = 32 * 1024 * 1024
    """How much all streams of the session together may hold above ``stream_window`` each. Two streams at the maximum:
    a session that stops reading then costs its owner at most this much more."""

    accept_backlog: int = 256
    """Streams the peer may open before this side accepts them; one more is reset. The reference's figure."""

    max_unacked: int = 256
    """Streams this side opens before the peer has acknowledged any. The reference resets what exceeds its backlog."""

    max_inbound_streams: int = 1000
    """Streams the peer may hold open at a time. go-yamux's figure; each is owed 256 KiB from its SYN on."""

    max_outbound_streams: int = MAX_U32
    """Streams this side holds open at a time. No limit by default: the reference has none, go-yamux resets what exceeds
    its 1000. 512 is what keeps rust-yamux from ending the session."""

    max_frame: int = 64 * 1024
    """Largest body sent in one frame. Beyond 64 KiB throughput gains nothing; rust-yamux refuses more than 1 MiB."""

    shared_frame: int = 16 * 1024
    """Largest body sent while other streams wait for their turn: bounds how long a small message waits."""

    keepalive_interval: float = 30.0
    """Seconds between keepalive pings; 0 switches them, and the measuring of round trips, off."""

    keepalive_timeout: float = 10.0
    """Seconds without a single byte from the peer after a ping before the session counts as dead."""

    stream_open_timeout: float = 75.0
    """Seconds until an opened stream that the peer neither acknowledged nor sent anything on is reset. The reference's
    figure. One that has carried data of ours is left alone: rust-yamux and js acknowledge with their first answer, which
    a request may have to wait for; once we have ended it, ``stream_close_timeout`` counts."""

    open_timeout_ends_session: bool = False
    """End the whole session then, as the reference does, instead of that one stream; data sent makes no difference."""

    accept_timeout: float = 60.0
    """Seconds until an inbound stream nobody accepted is reset: under the 75 s after which a reference opener would end
    the session."""

    stream_close_timeout: float = 300.0
    """Seconds a stream may wait for the peer's FIN after ours, or for credit to send ours, without any sign that the
    peer is at it, before it is reset. The reference's figure; there it runs whatever the peer does."""

    idle_frames_per_second: float = 1000.0
    """Frames that carry nothing (pings, empty data, needless updates, refused opens) before the session ends, as a rate
    with a burst of one second's worth. No peer that works comes near."""

    reset_burst: int = 1000
    """Streams the peer may open and reset again at once (the HTTP/2 rapid reset pattern; nghttp2's figure)."""

    resets_per_second: float = 33.0
    """Rate at which that allowance comes back; nghttp2's figure."""

    drain_budget: int = 4 * 1024 * 1024
    """Bytes taken and thrown away on streams that do not exist, over the session's life. What the peer could still send
    on a stream we dropped is added to it."""

    reuse_ids: bool = False
    """Accept a stream id a second time after its stream has ended, as the reference does."""

    def __post_init__(self) -> None:
        if not INITIAL_WINDOW <= self.stream_window <= MAX_U32:
            raise ValueError(f"stream_window must be between {INITIAL_WINDOW} and {MAX_U32}, got {self.stream_window}")
        if not self.stream_window <= self.max_stream_window <= MAX_U32:
            raise ValueError(f"max_stream_window must be between stream_window and {MAX_U32}")
        for name in ("accept_backlog", "max_unacked", "max_inbound_streams", "max_outbound_streams", "shared_frame"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.max_frame < self.shared_frame:
            raise ValueError("max_frame must not be smaller than shared_frame")
        if self.keepalive_interval < 0:
            raise ValueError(f"keepalive_interval must not be negative, got {self.keepalive_interval}")
        for name in ("keepalive_timeout", "stream_open_timeout", "accept_timeout", "stream_close_timeout"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


DEFAULT = Config()
