from __future__ import annotations

import pytest
from google.protobuf import field_mask_pb2
from tests.hubd.control.conftest import services

from hubd.admin.errors import ApiError, Code
from hubd.control.book import ConfigBook, etag_of
from tunnelpb.agent.v1.config_pb2 import AgentConfig


@pytest.fixture
async def book(start):
    bench = await start()
    bench.hub.agents.attached("a")
    book = ConfigBook(bench.hub)
    book.hub = bench.hub
    return book


def mask(*paths: str) -> field_mask_pb2.FieldMask:
    return field_mask_pb2.FieldMask(paths=paths)


async def test_before_the_first_version(book):
    record = book.get("a")
    assert (record.version, record.config, etag_of(record)) == (0, b"", "v0")
    assert book.versions("a") == []
    with pytest.raises(ApiError) as caught:
        book.rollback("a", 0, author="me")
    assert caught.value.reason == "NO_EARLIER_CONFIG"


async def test_an_agent_nobody_knows(book):
    for call in (book.get, book.versions):
        with pytest.raises(ApiError) as caught:
            call("typo")
        assert (caught.value.code, caught.value.reason) == (Code.NOT_FOUND, "AGENT_NOT_FOUND")


async def test_an_agent_that_is_expected(book):
    book.hub.database.write(
        "INSERT INTO tokens (id, kind, agent, digest, created) VALUES ('t', 'agent', 'soon', x'00', 0)"
    )
    assert book.update("soon", services(web="http://h:1"), author="me").version == 1


async def test_versions_and_etags(book):
    first = book.update("a", services(web="http://h:1"), comment="one", author="me")
    assert (first.version, first.author, first.comment) == (1, "me", "one")
    second = book.update("a", services(web="http://h:2"), etag=etag_of(first), author="you")
    with pytest.raises(ApiError) as caught:
        book.update("a", services(web="http://h:3"), etag=etag_of(first), author="me")
    assert (caught.value.code, caught.value.reason) == (Code.ABORTED, "ETAG_MISMATCH")
    assert caught.value.metadata["etag"] == "v2"
    assert [record.version for record in book.versions("a")] == [2, 1]
    assert book.get("a", 1) == first
    # What is there already is not stored again.
    assert book.update("a", services(web="http://h:2"), author="me") == second
    with pytest.raises(ApiError) as caught:
        book.get("a", 9)
    assert caught.value.reason == "CONFIG_VERSION_NOT_FOUND"


async def test_rollback(book):
    for number in (1, 2, 3):
        book.update("a", services(web=f"http://h:{number}"), author="me")
    back = book.rollback("a", 0, comment="oops", author="me")
    assert (back.version, back.rollback_of, back.config) == (4, 2, book.get("a", 2).config)
    assert book.rollback("a", 1, author="me").rollback_of == 1
    with pytest.raises(ApiError, match="read it again"):
        book.rollback("a", 1, etag="v1", author="me")


async def test_masks(book):
    whole = services(web="http://h:1")
    whole.limits.streams = 5
    whole.labels["a"] = "1"
    book.update("a", whole, author="me")
    change = services(db="tcp://h:2")
    change.limits.idle_connections = 7
    change.log_level = "debug"
    changed = book.update("a", change, mask=mask("limits.idle_connections", "log_level"), author="me")
    found = AgentConfig.FromString(changed.config)
    assert (found.limits.streams, found.limits.idle_connections, found.log_level) == (5, 7, "debug")
    assert (found.services[0].name, dict(found.labels)) == ("web", {"a": "1"})
    found = AgentConfig.FromString(book.update("a", change, mask=mask("services", "labels"), author="me").config)
    assert ([service.name for service in found.services], dict(found.labels)) == (["db"], {})
    with pytest.raises(ApiError) as caught:
        book.update("a", change, mask=mask("log_level", "nothing", "limits.x"), author="me")
    assert [field for field, _ in caught.value.fields] == ["update_mask.paths[1]", "update_mask.paths[2]"]


async def test_all_faults_at_once_and_nothing_stored(book):
    bad = services(web="ftp://h:1")
    bad.pool_size = 99
    bad.log_level = "loud"
    with pytest.raises(ApiError) as caught:
        book.update("a", bad, author="me")
    assert [field for field, _ in caught.value.fields] == [
        "config.services[0].target", "config.pool_size", "config.log_level",
    ]  # fmt: skip
    assert book.versions("a") == []
    with pytest.raises(ApiError):
        book.update("a", services(), comment="x" * 2000, author="me")


async def test_validate_only(book):
    record = book.update("a", services(web="http://h:1"), author="me", validate_only=True)
    assert (record.version, book.versions("a")) == (0, [])
    assert [happening.type for _, happening in book.hub.events.feed.kept()] == []
    book.update("a", services(web="http://h:1"), author="me")
    assert [happening.type for _, happening in book.hub.events.feed.kept()] == ["config.updated"]
