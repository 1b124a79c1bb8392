"""Shared state: ids, readers, counters and sweeps."""

from __future__ import annotations

from hubd.budget import Budget
from hubd.config import HubConfig
from hubd.state import MAX_TUNNEL_ERRORS, Hub
from hubd.stats import Stats


async def test_ids_are_unique():
    hub = Hub(HubConfig(), Budget(1024))
    ids = {hub.next_id() for _ in range(1000)}
    assert len(ids) == 1000 and all(len(one) == 16 and one.isalnum() for one in ids)
    assert Hub(HubConfig(), Budget(1024)).via != hub.via


async def test_readers_are_used_again_only_when_clean():
    hub = Hub(HubConfig(), Budget(1024))
    reader = hub.take_reader()
    reader.expect(b"GET")
    reader.feed(b"HTTP/1.1 204 No Content\r\n\r\n")
    reader.next_head()
    hub.return_reader(reader)
    assert hub.take_reader() is reader
    reader.expect(b"GET")
    reader.feed(b"HTTP/1.1 204 No Content\r\n\r\nrest")
    reader.next_head()
    hub.return_reader(reader)
    assert hub.take_reader() is not reader


async def test_f13_codes_of_agents_are_bounded():
    hub = Hub(HubConfig(), Budget(1024))
    hub.note_tunnel_error(b"Bad Code")
    for n in range(500):
        hub.note_tunnel_error(b"code_%d" % n)
    counts = hub.stats.tunnel_errors
    assert len(counts) <= MAX_TUNNEL_ERRORS + 1 and sum(counts.values()) == 501


async def test_d13_refusals_are_counted_exactly_and_logged_sparingly(caplog):
    hub = Hub(HubConfig(), Budget(1024))
    with caplog.at_level("INFO", logger="hubd"):
        for _ in range(1000):
            hub.reject("some_reason", "no", "peer")
    assert hub.stats.rejects == {"some_reason": 1000}
    assert len(caplog.records) <= 200


def test_a_snapshot_is_a_copy():
    stats = Stats()
    stats.requests = 3
    stats.rejects["a"] += 1
    copy = stats.snapshot()
    stats.rejects["a"] += 1
    assert copy["requests"] == 3 and copy["rejects"] == {"a": 1}
