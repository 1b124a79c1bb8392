"""Finds the first fault in a head, complete or not.

The parser below wants whole heads, so a head that is still incomplete has to be watched here: it must not wait for a
timeout when it is already wrong. The same scan explains a complete head that the parser refused. Every fault has a
position, the number of bytes that had to be seen to know it, and the lowest position wins. That makes the verdict
independent of how the bytes were cut into pieces.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tunnel.http1.errors import BadMessage
from tunnel.http1.limits import Limits
from tunnel.http1.startline import (
    Found,
    partial_request_line_fault,
    partial_status_line_fault,
    request_line_fault,
    status_line_fault,
)

_CR = 0x0D
_LF = 0x0A

# A control byte, an LF without CR, or a CR without LF. HTAB is left to the line rules.
BAD_BYTE = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r[^\n]")
FIELD_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")


class HeadRules:
    """What a head of one kind must keep to."""

    __slots__ = ("first_line", "partial_first_line", "line", "head", "fields", "small", "bad", "too_large")

    def __init__(
        self,
        first_line: Callable[[bytes], BadMessage | None],
        partial_first_line: Callable[[bytes], Found | None],
        budgets: tuple[int, int, int],
        statuses: tuple[int, int],
    ) -> None:
        self.first_line = first_line
        self.partial_first_line = partial_first_line
        self.line, self.head, self.fields = budgets
        self.small = min(self.line, self.head)  # a head up to this size breaks no size limit but the first line's
        self.bad, self.too_large = statuses


def request_rules(limits: Limits) -> HeadRules:
    """The rules for request heads."""
    return HeadRules(
        lambda line: request_line_fault(line, limits),
        lambda line: partial_request_line_fault(line, limits),
        (limits.line, limits.head, limits.fields),
        (400, 431),
    )


def response_rules(limits: Limits) -> HeadRules:
    """The rules for response heads. Lines may be as long as the head: policies and cookies pass 8 KiB in earnest."""
    return HeadRules(
        status_line_fault,
        partial_status_line_fault,
        (limits.response_head, limits.response_head, limits.response_fields),
        (502, 502),
    )


class HeadScan:
    """Watches one head grow. Each byte is looked at once, whatever the pieces."""

    __slots__ = ("_rules", "_line", "_seen", "_lines")

    def __init__(self, rules: HeadRules) -> None:
        self._rules = rules
        self._line = 0
        self._seen = 0
        self._lines = 0

    def advance(self, data: bytes | bytearray) -> BadMessage | None:
        """Looks at what came since the last call.

        Args:
            data: the head from its first byte on, with everything received so far.

        Returns:
            The first fault, or None if the head may still become a good one.
        """
        while True:
            end = data.find(b"\n", self._seen)
            stop = len(data) if end < 0 else end + 1
            fault = self._fault(data, stop, end >= 0)
            if fault is not None:
                return fault
            if end < 0:
                self._seen = stop
                return None
            if stop - self._line == 2:
                return None
            self._line = self._seen = stop
            self._lines += 1

    def _fault(self, data: bytes | bytearray, stop: int, complete: bool) -> BadMessage | None:
        rules, line = self._rules, self._line
        found: list[Found] = []
        text = bytes(data[line:stop]) if self._lines == 0 or complete else b""
        if self._lines == 0:
            partial = rules.partial_first_line(text)
            if partial is not None:
                found.append((line + partial[0], partial[1]))
        else:
            last = line + rules.line
            if stop > last and data[last] not in (_CR, _LF):
                found.append((last + 1, BadMessage(rules.too_large, "field_line_too_long")))
        bad = BAD_BYTE.search(data, max(self._seen - 1, line), stop)
        if bad is not None:
            found.append((bad.end(), BadMessage(rules.bad, _bad_byte_reason(bad[0]))))
        if stop > rules.head:
            found.append((rules.head + 1, BadMessage(rules.too_large, "head_too_large")))
        if complete:
            whole = self._line_fault(text[:-2])
            if whole is not None:
                found.append((stop, whole))
        return min(found, key=_position)[1] if found else None

    def _line_fault(self, text: bytes) -> BadMessage | None:
        rules = self._rules
        if self._lines == 0:
            return rules.first_line(text)
        if not text:
            return None
        if self._lines > rules.fields:
            return BadMessage(rules.too_large, "too_many_fields")
        if FIELD_LINE.fullmatch(text):
            return None
        return BadMessage(rules.bad, "folded_line" if text[:1] in (b" ", b"\t") else "bad_field_line")


def _position(found: Found) -> int:
    return found[0]


def _bad_byte_reason(seen: bytes) -> str:
    if seen == b"\n":
        return "bare_lf"
    return "bare_cr" if seen[0] == _CR else "control_byte"
