from __future__ import annotations

from typing import Any, cast

import pytest

from agentd.memory import HEADS, LARGEST, Memory

ID = b"0123456789abcdef"
OTHER = b"fedcba9876543210"
HEAD: Any = object()
POOL: Any = object()


def wire(request_id: bytes, path: bytes = b"/a", more: bytes = b"") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: h\r\n%bX-Request-Id: %b\r\n\r\n" % (path, more, request_id)


def made(request_id: bytes) -> bytes:
    return b"GET /a HTTP/1.1\r\nHost: t\r\nX-Request-Id: %b\r\nX-Origin-Host: t\r\n\r\n" % request_id


def test_a_repeated_head_gives_the_same_request_with_the_new_id() -> None:
    memory = Memory()
    assert memory.recall(wire(ID)) is None
    memory.keep(wire(ID), HEAD, POOL, made(ID))
    recalled = memory.recall(wire(OTHER))
    assert recalled is not None
    known, request_id = recalled
    assert (known.head, known.pool, request_id) == (HEAD, POOL, OTHER)
    assert known.request(request_id) == made(OTHER)


@pytest.mark.parametrize(
    "data",
    [
        wire(OTHER, b"/b"),
        wire(OTHER)[:-1],
        wire(OTHER) + b"x",
        wire(OTHER[:-1] + b"g"),
        wire(OTHER).replace(b"X-Request-Id", b"X-Request-Ix"),
        wire(OTHER, more=b"A: b\r\n"),
        b"",
    ],
)
def test_anything_else_must_be_read(data: bytes) -> None:
    memory = Memory()
    memory.keep(wire(ID), HEAD, POOL, made(ID))
    assert memory.recall(data) is None


@pytest.mark.parametrize(
    ("data", "request_"),
    [
        (wire(ID) + b"body", made(ID)),
        (wire(ID) + wire(ID), made(ID)),
        (wire(b"short"), made(b"short")),
        (wire(ID), made(OTHER)),
        (wire(ID, ID), made(ID) + ID),
        (wire(ID, more=b"A: %b\r\n" % (b"x" * LARGEST)), made(ID)),
    ],
)
def test_what_cannot_be_told_apart_from_its_id_is_not_kept(data: bytes, request_: bytes) -> None:
    memory = Memory()
    memory.keep(data, HEAD, POOL, request_)
    assert memory.recall(data) is None


def test_the_oldest_is_forgotten() -> None:
    memory = Memory()
    for number in range(HEADS + 1):
        memory.keep(wire(ID, b"/%d" % number), HEAD, POOL, made(ID))
    assert memory.recall(wire(ID, b"/0")) is None
    assert memory.recall(wire(ID, b"/1")) is not None
    assert len(cast(Any, memory)._known) == HEADS
