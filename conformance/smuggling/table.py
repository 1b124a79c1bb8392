"""All payloads."""

from __future__ import annotations

from conformance.smuggling import chunks, codings, fields, hops, lengths, lines, order, responses
from conformance.smuggling.cases import Case
from conformance.smuggling.responses import Response

CLASSES = (lengths, codings, chunks, lines, fields, hops, order)

REQUESTS: list[Case] = [case for module in CLASSES for case in module.table()]

RESPONSES: list[Response] = list(responses.table())
