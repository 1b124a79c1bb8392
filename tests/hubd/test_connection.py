"""Connections without requests: how they end, and what a TLS peer's end means."""

from __future__ import annotations

import asyncio

from hubd.budget import Budget
from hubd.config import HubConfig
from hubd.connection import ACTIVE, LINGER, NEVER, OVER
from hubd.front import Front
from hubd.state import Hub


class Wire(asyncio.Transport):
    """Records what is asked of it."""

    def __init__(self, **extra: object) -> None:
        super().__init__({"peername": ("192.0.2.1", 5), "sockname": ("192.0.2.2", 80), **extra})
        self.calls: list[str] = []
        self.data = b""

    def write(self, data) -> None:
        self.data += data

    def set_write_buffer_limits(self, high=None, low=None) -> None:
        self.calls.append(f"limits {high} {low}")

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return self.get_extra_info("ssl_object") is None

    def __getattribute__(self, name: str):
        if name in ("pause_reading", "resume_reading", "write_eof", "close", "abort"):
            return lambda: self.calls.append(name)
        return super().__getattribute__(name)


def front(**extra: object) -> tuple[Front, Wire]:
    made = Front(Hub(HubConfig(), Budget(1024)))
    wire = Wire(**extra)
    made.connection_made(wire)
    return made, wire


async def test_marks_and_books():
    made, wire = front()
    assert wire.calls == ["limits 65536 16384"]
    assert made.hub.connections == {made} and made.hub.budget.visitors == 1
    assert made.deadline < NEVER
    made.connection_lost(None)
    assert not made.hub.connections and made.hub.budget.visitors == 0 and made.gone
    assert made.deadline == NEVER


async def test_lingering_says_the_end_and_drops_the_rest():
    made, wire = front()
    made.data_received(b"BAD\r\n\r\n")
    assert made.phase == LINGER and wire.data.startswith(b"HTTP/1.1 400 ") and wire.calls[-1] == "write_eof"
    made.data_received(b"x" * 65536)
    assert wire.calls[-1] == "write_eof"
    made.data_received(b"x")
    assert wire.calls[-1] == "pause_reading" and made.phase == LINGER, "the answer may not be read yet"
    made.expired(made.deadline)
    assert wire.calls[-1] == "close" and made.phase == OVER


async def test_lingering_with_tls_has_no_half_close():
    made, wire = front(ssl_object=object())
    made.data_received(b"BAD\r\n\r\n")
    assert made.phase == LINGER and "write_eof" not in wire.calls
    made.expired(made.deadline)
    assert wire.calls[-1] == "close"


async def test_a_visitor_that_is_done_before_the_answer_is_not_lingered_for():
    made, wire = front()
    made.data_received(b"BAD")
    assert made.eof_received() is False
    assert wire.calls[-1] == "close"


async def test_a_close_that_is_not_taken_becomes_a_cut():
    made, wire = front()
    made.close()
    made.expired(made.deadline)
    assert wire.calls[-1] == "abort"


async def test_reading_is_paused_once():
    made, wire = front()
    made.pause_reading()
    made.pause_reading()
    assert wire.calls.count("pause_reading") == 1 and made.deadline == 0.0
    made.resume_reading()
    made.resume_reading()
    assert wire.calls.count("resume_reading") == 1


async def test_answers_nobody_takes_hold_up_the_next_request():
    made, wire = front()
    made.pause_writing()
    made.data_received(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    assert wire.data == b""
    made.resume_writing()
    assert wire.data.startswith(b"HTTP/1.1 200 OK")


async def test_draining_closes_what_is_idle_only():
    made, wire = front()
    made.phase = ACTIVE
    made.drain()
    assert "close" not in wire.calls
    idle, wire = front()
    idle.drain()
    assert wire.calls[-1] == "close"
    assert "over" in repr(idle)
