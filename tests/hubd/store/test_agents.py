"""Agents in the store."""

from __future__ import annotations

import time

from hubd.store import Database
from hubd.store.agents import FOREVER, AgentRecord, Agents
from hubd.store.requests import Requests
from tunnelpb.hub.v1.session_pb2 import DrainSessionResponse, EvictSessionResponse


def test_epochs_grow():
    agents = Agents(Database())
    assert [agents.attached("a"), agents.attached("b"), agents.attached("a")] == [1, 1, 2]
    agents.seen("a")
    record = agents.get("a")
    assert record is not None and record.epoch == 2 and record.last_seen is not None and record.revision == 1
    assert [row.id for row in agents.all()] == ["a", "b"]


def test_a_store_that_cannot_be_written_keeps_no_agent_away(caplog):
    database = Database()
    agents = Agents(database)
    database.write("DROP TABLE agents")
    assert agents.attached("a") == 0
    agents.seen("a")
    assert caplog.text.count("cannot write the store") == 2


def test_denied_and_allowed():
    agents = Agents(Database())
    assert agents.denied_for("a") is None
    agents.deny("a", "bad", None)
    assert agents.denied_for("a") == FOREVER
    agents.deny("a", "worse", time.time() + 60)
    left = agents.denied_for("a")
    assert left is not None and 50 < left <= 60
    record = agents.get("a")
    assert (
        record is not None and record.is_denied(time.time()) and record.deny_reason == "worse" and record.revision == 2
    )
    agents.allow("a")
    agents.allow("a")
    record = agents.get("a")
    assert record is not None and not record.is_denied(time.time()) and record.revision == 3
    agents.deny("a", "past", time.time() - 1)
    assert agents.denied_for("a") is None


def test_what_people_set():
    agents = Agents(Database())
    stored = agents.put(AgentRecord("a", display_name="A", annotations={"k": "v"}, limits={"streams": 3}))
    assert stored.created > 0 and stored.revision == 1
    again = agents.put(AgentRecord("a", display_name="B", visitors={"mode": "open"}))
    assert (again.display_name, again.annotations, again.visitors, again.revision) == ("B", {}, {"mode": "open"}, 2)
    assert again.created == stored.created
    agents.delete("a")
    assert agents.get("a") is None


def test_a_restart_remembers(tmp_path):
    first = Database(tmp_path / "hub.db")
    Agents(first).deny("a", "bad", None)
    first.close()
    assert Agents(Database(tmp_path / "hub.db")).denied_for("a") == FOREVER


def test_requests_are_answered_once(monkeypatch):
    requests = Requests(Database())
    answer = EvictSessionResponse(reset_streams=3)
    assert requests.answer("r1", "Evict", EvictSessionResponse) is None
    requests.keep("", "Evict", answer)
    assert requests.answer("", "Evict", EvictSessionResponse) is None
    requests.keep("r1", "Evict", answer)
    assert requests.answer("r1", "Evict", EvictSessionResponse) == answer
    assert requests.answer("r1", "Drain", DrainSessionResponse) is None
    later = time.time() + 90_000
    monkeypatch.setattr("hubd.store.requests.time.time", lambda: later)
    requests.keep("r2", "Evict", answer)
    assert requests.answer("r1", "Evict", EvictSessionResponse) is None
