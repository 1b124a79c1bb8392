"""Counters: plain integers, raised on the data path, read by whoever shows them."""

from __future__ import annotations

from collections import defaultdict


class Stats:
    """What the hub has done since it started. Labels come from small fixed sets, never from a peer."""

    __slots__ = (
        "accept_pauses",
        "agents_attached",
        "agents_refused",
        "buffer_pauses",
        "bytes_from_visitors",
        "bytes_to_visitors",
        "connections",
        "connections_shed",
        "exchanges",
        "handovers",
        "handovers_failed",
        "rejects",
        "reloads",
        "reloads_failed",
        "requests",
        "retries",
        "stream_errors",
        "tunnel_errors",
        "upgrades",
    )

    def __init__(self) -> None:
        self.connections = 0
        self.connections_shed = 0
        self.accept_pauses = 0
        self.requests = 0
        self.exchanges = 0
        self.retries = 0
        self.upgrades = 0
        self.bytes_to_visitors = self.bytes_from_visitors = 0
        self.agents_attached = 0
        self.buffer_pauses = 0
        self.reloads = self.reloads_failed = 0
        self.handovers = self.handovers_failed = 0
        self.agents_refused: defaultdict[str, int] = defaultdict(int)
        self.rejects: defaultdict[str, int] = defaultdict(int)
        self.stream_errors: defaultdict[str, int] = defaultdict(int)
        self.tunnel_errors: defaultdict[str, int] = defaultdict(int)

    def snapshot(self) -> dict[str, int | dict[str, int]]:
        """A copy, for logs and tests."""
        out: dict[str, int | dict[str, int]] = {}
        for name in self.__slots__:
            value = getattr(self, name)
            out[name] = dict(value) if isinstance(value, dict) else value
        return out
