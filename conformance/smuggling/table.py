"""All request payloads."""

from __future__ import annotations

from conformance.smuggling import chunks, codings, fields, hops, lengths, lines, order
from conformance.smuggling.cases import Case

CLASSES = (lengths, codings, chunks, lines, fields, hops, order)

REQUESTS: list[Case] = [case for module in CLASSES for case in module.table()]
