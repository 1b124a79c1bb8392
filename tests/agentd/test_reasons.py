from __future__ import annotations

import json

from agentd import reasons
from agentd.reasons import Reason, error_response


def test_answers_are_whole_and_harmless():
    answer = error_response(reasons.TARGET_REFUSED, b"r1", head_only=False)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"\r\nTunnel-Error: target_refused" in head
    assert b"Content-Length: %d" % len(body) in head
    assert json.loads(body) == {"msg": reasons.TARGET_REFUSED.message, "code": "target_refused", "request_id": "r1"}
    assert error_response(reasons.TARGET_REFUSED, b"r1", head_only=True) == head + b"\r\n\r\n"


def test_codes_are_names_and_unique():
    found = [value for value in vars(reasons).values() if isinstance(value, Reason)]
    assert len({reason.code for reason in found}) == len(found) > 10
    for reason in found:
        assert reason.code.replace("_", "").isalpha()
        assert reason.status in (0, 408, 502, 504)


def test_refusals_of_the_parser():
    assert reasons.of_message(431, "too_many_fields") == Reason("too_many_fields", 431, "the request cannot be served")
