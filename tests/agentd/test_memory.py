from __future__ import annotations

from typing import Any, cast

import pytest

from agentd.heads import target_head
from agentd.memory import HEADS, LARGEST, Memory
from tunnel.http1 import RequestHead, RequestReader
from tunnel.targets import parse_target

ID = b"0123456789abcdef"
OTHER = b"fedcba9876543210"
PREFIX = b"/api/v1/proxy/a"


class Pool:
    def __init__(self, url: str = "http://127.0.0.1:81") -> None:
        self.target = parse_target(url)


POOL: Any = Pool()


def wire(
    request_id: bytes,
    path: bytes = b"/a",
    query: bytes = b"",
    *,
    prefix: bytes = b"",
    more: bytes = b"",
    verb: bytes = b"GET",
) -> bytes:
    """A head as our hub writes it."""
    return b"%b %b%b%b HTTP/1.1\r\nHost: h\r\n%bX-Proxy-Path: %b\r\nX-Request-Id: %b\r\n\r\n" % (
        verb, prefix, path, query, more, path, request_id,
    )  # fmt: skip


def made(data: bytes, pool: Any = POOL) -> bytes:
    """What reading it makes of it."""
    return target_head(read(data), pool.target, keep_host=False)


def read(data: bytes) -> RequestHead:
    reader = RequestReader(trusted=True)
    reader.feed(data)
    head = reader.next_head()
    assert head is not None
    return head


def keep(memory: Memory, data: bytes, request: bytes | None = None, pool: Any = POOL) -> None:
    memory.keep(data, read(data), pool, made(data, pool) if request is None else request)


@pytest.mark.parametrize("url", ["http://127.0.0.1:81", "http://127.0.0.1:81/base"])
@pytest.mark.parametrize(
    "again",
    [
        wire(OTHER, prefix=PREFIX),
        wire(OTHER, b"/other/path%20x", prefix=PREFIX),
        wire(OTHER, b"/b", b"?q=1&r", prefix=PREFIX),
        wire(OTHER, b"/b", b"?", prefix=PREFIX),
        wire(OTHER, b"/b", b"?q=1&x-proxy-host=h:1", prefix=PREFIX),
        wire(OTHER, b"/b", b"?x-proxy-host=h:1", prefix=PREFIX),
        wire(OTHER, b"/b", b"?x-proxy-host=h:1"),
        wire(OTHER, b"/"),
        wire(OTHER, b"/" + OTHER),
    ],
)
def test_a_head_like_one_before_becomes_what_reading_it_would_make(again: bytes, url: str) -> None:
    memory = Memory()
    pool = Pool(url)
    first = wire(ID, prefix=PREFIX)
    assert memory.recall(first) is None
    keep(memory, first, pool=pool)
    recalled = memory.recall(again)
    assert recalled is not None
    known, request_id, request = recalled
    assert (known.pool, request_id) == (pool, OTHER)
    assert request == made(again, pool)


@pytest.mark.parametrize(
    "data",
    [
        wire(OTHER)[:-1],
        wire(OTHER) + b"x",
        wire(OTHER[:-1] + b"g"),
        wire(OTHER).replace(b"X-Request-Id", b"X-Request-Ix"),
        wire(OTHER).replace(b"X-Proxy-Path", b"X-Proxy-Bath"),
        wire(OTHER, more=b"A: b\r\n"),
        wire(OTHER, verb=b"PUT"),
        wire(OTHER).replace(b"HTTP/1.1", b"HTTP/1.0"),
        wire(OTHER, b"/b c"),
        wire(OTHER, b'/b"'),
        wire(OTHER, b"/b#c"),
        wire(OTHER, b"/b\x80"),
        wire(OTHER, b"", prefix=b"/x"),
        wire(OTHER, b"x", prefix=b"/"),
        wire(OTHER, b"/b").replace(b"Path: /b", b"Path: /c"),
        wire(OTHER).replace(b"GET /a", b"GET http://h/a"),
        wire(OTHER).replace(b"GET /a", b"GET  /a"),
        b"",
        b"\r\n\r\n",
    ],
)
def test_anything_else_must_be_read(data: bytes) -> None:
    memory = Memory()
    keep(memory, wire(ID))
    assert memory.recall(data) is None


@pytest.mark.parametrize(
    ("data", "request_"),
    [
        (wire(ID) + b"body", None),
        (wire(ID) + wire(ID), None),
        (wire(b"short"), None),
        (wire(ID), made(wire(OTHER))),
        (wire(ID, more=b"A: %b\r\n" % ID), None),
        (wire(ID, more=b"X-Proxy-Path: /b\r\n"), None),
        (wire(ID).replace(b"HTTP/1.1", b"HTTP/1.0"), None),
        (wire(ID, more=b"A: %b\r\n" % (b"x" * LARGEST)), None),
        (b"GET /a HTTP/1.1\r\nHost: h\r\nX-Request-Id: %b\r\n\r\n" % ID, None),
    ],
)
def test_what_cannot_be_told_apart_from_its_id_is_not_kept(data: bytes, request_: bytes | None) -> None:
    memory = Memory()
    keep(memory, data, request_)
    assert not cast(Any, memory)._known or memory.recall(data) is None


def test_the_oldest_is_forgotten() -> None:
    memory = Memory()
    heads = [wire(ID, more=b"A: %d\r\n" % number) for number in range(HEADS + 1)]
    for data in heads:
        keep(memory, data)
    assert memory.recall(heads[0]) is None
    assert memory.recall(heads[1]) is not None
    assert len(cast(Any, memory)._known) == HEADS
