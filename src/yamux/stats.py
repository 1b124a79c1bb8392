"""Counters of a session."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionStats:
    """Counters of one session since it began."""

    bytes_in: int
    bytes_out: int
    frames_in: int
    frames_out: int
    streams_opened: int
    streams_accepted: int
    streams_open: int
