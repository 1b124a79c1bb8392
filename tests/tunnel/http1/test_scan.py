"""The watch over incomplete heads: a fault is told at the first byte that proves it, and no byte is looked at twice."""

from __future__ import annotations

import pytest

from tunnel.http1 import Limits
from tunnel.http1.scan import HeadScan, request_rules, response_rules

LIMITS = Limits(target=20, line=20, head=90, fields=3)


def first_fault(raw: bytes) -> tuple[int, int, str] | None:
    """How many bytes it took to tell, the status and the reason."""
    scan, seen = HeadScan(request_rules(LIMITS)), bytearray()
    for count, byte in enumerate(raw, 1):
        seen.append(byte)
        fault = scan.advance(seen)
        if fault is not None:
            return count, fault.status, fault.reason
    return None


LINE = b"GET / HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("raw", "tail", "status", "reason"),
    [
        (b"\x16", b"\x03\x01", 400, "tls_on_plain_port"),
        (b"{", b'"a": 1}', 400, "bad_first_byte"),
        (b"GET\x00", b" / HTTP/1.1", 400, "control_byte"),
        (b"GET / HTTP/1.1\n", b"Host: a", 400, "bare_lf"),
        (b"GET / HTTP/1.1\rH", b"ost: a", 400, "bare_cr"),
        (b"GET /" + b"x" * 20, b"x HTTP/1.1", 414, "target_too_long"),
        (b"A" * 33, b"A / HTTP/1.1", 501, "unknown_method"),
        (b"GET / HTTP/2.0\r\n", b"Host: a\r\n", 505, "http_version"),
        (b"get / HTTP/1.1\r\n", b"Host: a\r\n", 501, "unknown_method"),
        (LINE + b"A: " + b"x" * 18, b"\r\n", 431, "field_line_too_long"),
        (LINE + b"A: b\r\n" * 4, b"\r\n", 431, "too_many_fields"),
        (LINE + b" A: b\r\n", b"\r\n", 400, "folded_line"),
        (LINE + b"A b\r\n", b"\r\n", 400, "bad_field_line"),
        (LINE + b"A: b\n", b"\r\n", 400, "bare_lf"),
    ],
)
def test_b12_fault_is_told_at_once(raw: bytes, tail: bytes, status: int, reason: str) -> None:
    assert first_fault(raw + tail) == (len(raw), status, reason)
    fault = HeadScan(request_rules(LIMITS)).advance(raw + tail)
    assert fault is not None
    assert (fault.status, fault.reason) == (status, reason)


def test_b11_head_budget_is_told_at_its_last_byte() -> None:
    limits = Limits(head=40)
    scan = HeadScan(request_rules(limits))
    assert scan.advance(LINE + b"A: " + b"x" * 21) is None
    fault = scan.advance(LINE + b"A: " + b"x" * 22)
    assert fault is not None
    assert (fault.status, fault.reason) == (431, "head_too_large")


def test_earlier_fault_wins() -> None:
    raw = LINE + b"A b\r\n" + b"B: \x00\r\n\r\n"
    fault = HeadScan(request_rules(Limits())).advance(raw)
    assert fault is not None
    assert fault.reason == "bad_field_line"


def test_good_heads_have_no_fault() -> None:
    assert first_fault(LINE + b"Host: a\r\nA: \xff\tb\r\n\r\n") is None
    assert HeadScan(response_rules(Limits())).advance(b"HTTP/1.1 200\r\nA:\r\n\r\n") is None


class Counting(bytearray):
    """Counts the bytes that are copied out of it."""

    copied = 0

    def __getitem__(self, index: slice | int) -> bytearray | int:  # type: ignore[override]
        if isinstance(index, slice):
            self.copied += len(range(*index.indices(len(self))))
        return super().__getitem__(index)


def test_b12_growing_field_line_is_not_looked_at_again() -> None:
    scan, seen = HeadScan(request_rules(Limits())), Counting(LINE + b"A: ")
    assert scan.advance(seen) is None
    before = seen.copied
    for _ in range(5000):
        seen.append(0x78)
        assert scan.advance(seen) is None
    assert seen.copied == before
