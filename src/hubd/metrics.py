"""The hub's figures for Prometheus, made from plain integers when somebody asks.

Labels come from fixed sets, and agents' names from the list of those attached, up to a number: never from what a peer
sent, and never one for each session.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from hubd import reasons
from hubd.pulse import BUCKETS
from tunnel import logs
from tunnel.version import VERSION

if TYPE_CHECKING:
    from hubd.state import Hub

# A scrape of 1,500 lines takes some 20 ms; agents beyond this number are told together.
MAX_AGENTS = 200
OTHERS = "_others"
"""No agent's name: ids begin with a letter or digit where they are given out, and this stands for many."""

_COUNTERS = {
    "connections": "Connections that came, visitors' and agents'.",
    "connections_shed": "Connections of visitors that came when their share of descriptors was used up; answered 503.",
    "accept_pauses": "Times accepting stopped because descriptors ran out.",
    "buffer_pauses": "Times reading stopped because buffers were nearly full.",
    "requests": "Requests read.",
    "exchanges": "Requests for agents.",
    "retries": "Requests sent again on another session.",
    "upgrades": "Connections upgraded.",
    "agents_attached": "Sessions that began.",
}
_BY_REASON = {
    "rejects": ("hub_reject", "Requests and connections refused.", "reason"),
    "stream_errors": ("hub_stream_error", "Exchanges that failed at the agent's side.", "reason"),
    "agents_refused": ("hub_agents_refused", "Attach requests refused.", "reason"),
    "tunnel_errors": ("hub_tunnel_error", "Errors agents told of.", "code"),
}
_KNOWN = {
    "rejects": sorted(reason.code for reason in reasons.TABLE.values() if reason.status != 502),
    "stream_errors": sorted(reason.code for reason in reasons.TABLE.values() if reason.status in (499, 502, 504)),
    "agents_refused": ["attach_busy", "attach_timeout", "hub_draining", "too_many_sessions"],
    "tunnel_errors": [],
}
"""Reasons told from the start, so that the first one counts as a change."""


class HubCollector(Collector):
    """Reads one hub. Counters are integers, so this may run beside the loop, in a thread.

    Args:
        hub: to read.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """All families."""
        hub = self._hub
        stats = hub.stats
        info = InfoMetricFamily("hub", "The program.")
        info.add_metric([], {"version": VERSION, "python": sys.version.split()[0]})
        yield info
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"hub_{name}", text, getattr(stats, name))
        for name, (family, text, label) in _BY_REASON.items():
            counts = dict.fromkeys(_KNOWN[name], 0) | dict(getattr(stats, name))
            yield _labelled(CounterMetricFamily(family, text, labels=[label]), counts)
        moved = {"to_visitors": stats.bytes_to_visitors, "from_visitors": stats.bytes_from_visitors}
        yield _labelled(CounterMetricFamily("hub_body_bytes", "Bytes of exchanges.", labels=["direction"]), moved)
        outcomes = (("reloads", "Settings read again."), ("handovers", "Hand-overs to another process."))
        for name, text in outcomes:
            done = {"ok": getattr(stats, name), "failed": getattr(stats, f"{name}_failed")}
            yield _labelled(CounterMetricFamily(f"hub_{name}", text, labels=["result"]), done)
        lost = {"daemon": logs.dropped(), "access": hub.access_log.dropped if hub.access_log is not None else 0}
        yield _labelled(CounterMetricFamily("hub_log_lines_dropped", "Log lines lost.", labels=["log"]), lost)
        yield from self._gauges()
        yield from self._agents()
        yield self._lag()

    def _gauges(self) -> Iterable[Metric]:
        hub = self._hub
        budget, pressure = hub.budget, hub.pressure
        values = {
            "draining": (hub.draining, "1 from the first signal on."),
            "visitors": (budget.visitors, "Visitors' connections."),
            "visitors_max": (budget.visitors_max, "Visitors' connections there is room for."),
            "sessions": (budget.agents, "Agents' sessions."),
            "agents_online": (len(hub.pools.pools), "Agents with a session."),
            "exchanges_active": (hub.active, "Requests in progress, upgraded connections among them."),
            "tunnels_active": (len(hub.tunnels), "Upgraded connections."),
            "open_fds": (budget.open, "Open descriptors at the last count, twice a second."),
            "fds_max": (budget.limit, "Descriptors this process may have."),
            "buffered_bytes": (pressure.buffered, "Bytes held for others at the last count, twice a second."),
            "buffered_bytes_max": (hub.limits.buffered, "Bytes that may be held."),
            "buffers_holding": (pressure.holding, "1 while nothing is read because buffers are nearly full."),
            "certificate_end_seconds": (
                hub.expiry.ends,
                "When the first of the hub's certificates ends, as Unix time; 0 without TLS.",
            ),
            "revocation_list_due_seconds": (
                hub.expiry.due,
                "When the first of the revocation lists was to be followed by a newer one, as Unix time; 0 without any.",
            ),
            "loop_lag_worst_seconds": (hub.pulse.take_worst(), "The latest the loop ran since the last scrape."),
        }
        for name, (value, text) in values.items():
            yield GaugeMetricFamily(f"hub_{name}", text, float(value))

    def _agents(self) -> Iterable[Metric]:
        sessions = GaugeMetricFamily("hub_agent_sessions", "Sessions in service of an agent.", labels=["agent"])
        active = GaugeMetricFamily("hub_agent_exchanges_active", "Requests in progress of an agent.", labels=["agent"])
        others, others_active = 0, 0
        for number, pool in enumerate(list(self._hub.pools.pools.values())):
            entries = list(pool.entries)
            running = sum(entry.active for entry in entries)
            if number < MAX_AGENTS:
                sessions.add_metric([pool.agent_id], len(entries))
                active.add_metric([pool.agent_id], running)
            else:
                others += len(entries)
                others_active += running
        if others:
            sessions.add_metric([OTHERS], others)
            active.add_metric([OTHERS], others_active)
        return sessions, active

    def _lag(self) -> Metric:
        pulse = self._hub.pulse
        buckets, total = [], 0
        for bound, count in zip([*map(str, BUCKETS), "+Inf"], list(pulse.counts), strict=True):
            total += count
            buckets.append((bound, total))
        text = "How late the loop ran, looked at ten times a second."
        return HistogramMetricFamily("hub_loop_lag_seconds", text, buckets=buckets, sum_value=pulse.total)


def _labelled(family: CounterMetricFamily, counts: dict[str, int]) -> CounterMetricFamily:
    for label, count in sorted(counts.items()):
        family.add_metric([label], count)
    return family


class Metrics:
    """The page of one hub.

    Args:
        hub: whose figures.
    """

    def __init__(self, hub: Hub) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(HubCollector(hub))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """The page, in Prometheus' text format. Takes milliseconds: not for the loop."""
        return generate_latest(self._registry)
