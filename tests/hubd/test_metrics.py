"""What Prometheus gets: right, parsable, and of bounded size."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from hubd.metrics import MAX_AGENTS, OTHERS, Metrics
from hubd.sessions import AgentSession
from yamux import Session


def read(page: bytes) -> dict[str, float]:
    """Samples by name and labels."""
    found = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_figures(start):
    bench = await start()
    await bench.agent()
    visitor = await bench.visitor()
    body = b"x" * 100
    head = b"POST /api/v1/proxy/demo/a HTTP/1.1\r\nHost: hub\r\nContent-Length: 100\r\n\r\n"
    assert (await visitor.ask(head + body, "POST")).status == 200
    await visitor.get("/api/v1/proxy/nobody/x")
    bench.hub.pulse.beat(0.02)
    bench.hub.budget.looked(77)
    page = Metrics(bench.hub).render()
    seen = read(page)
    assert seen["hub_requests_total"] == 3 and seen["hub_exchanges_total"] == 2
    assert seen["hub_visitors"] == 1 and seen["hub_sessions"] == 1 and seen["hub_agents_online"] == 1
    assert seen["hub_reject_total{reason=agent_unknown}"] == 1
    assert seen["hub_reject_total{reason=rate_limited}"] == 0
    assert seen["hub_body_bytes_total{direction=from_visitors}"] == 100
    assert seen["hub_body_bytes_total{direction=to_visitors}"] >= 40
    assert seen["hub_agent_sessions{agent=demo}"] == 1
    assert seen["hub_open_fds"] == 77 and seen["hub_fds_max"] == 4096
    assert seen["hub_loop_lag_seconds_bucket{le=0.025}"] >= 1 and seen["hub_loop_lag_seconds_bucket{le=+Inf}"] >= 1
    assert seen["hub_loop_lag_worst_seconds"] >= 0.02
    assert read(Metrics(bench.hub).render())["hub_loop_lag_worst_seconds"] < 0.02
    assert seen["hub_buffered_bytes_max"] == 512 * 1024 * 1024
    assert seen["process_resident_memory_bytes"] > 0 and seen["process_open_fds"] > 0
    assert seen["hub_reloads_total{result=failed}"] == 0


async def test_names_from_outside_never_become_labels(start):
    bench = await start()
    visitor = await bench.visitor()
    for number in range(50):
        await visitor.get(f"/api/v1/proxy/made-up-{number}/x")
    assert b"made-up" not in Metrics(bench.hub).render()


async def test_many_agents_are_told_together(start):
    bench = await start()
    for number in range(MAX_AGENTS + 30):
        bench.hub.pools.add(AgentSession(f"agent-{number}", Session(client=False)))
    page = Metrics(bench.hub).render()
    seen = read(page)
    assert seen[f"hub_agent_sessions{{agent={OTHERS}}}"] == 30
    assert sum(1 for name in seen if name.startswith("hub_agent_sessions")) == MAX_AGENTS + 1
    assert len(page) < 100_000
    bench.hub.pools.pools.clear()
