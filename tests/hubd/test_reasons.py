"""The table of reasons and the answers made of it."""

from __future__ import annotations

import json
import re

import pytest

from hubd import reasons


@pytest.mark.parametrize("reason", reasons.TABLE.values(), ids=lambda reason: reason.code)
def test_every_reason_is_fit_for_use(reason):
    assert re.fullmatch(r"[a-z][a-z0-9_]{2,63}", reason.code)
    assert 400 <= reason.status <= 599
    assert reason.message and "\n" not in reason.message
    assert bool(reason.retry_after) == (reason.status in (429, 503))


def test_the_table_holds_every_reason():
    named = [value for value in vars(reasons).values() if isinstance(value, reasons.Reason)]
    assert {reason.code for reason in named} == set(reasons.TABLE)
    assert len(named) == len(reasons.TABLE)


def test_an_answer():
    data = reasons.error_response(reasons.AGENT_OFFLINE, "id-1", close=True, extra=b"X: y\r\n")
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 5\r\n" in head and b"\r\nConnection: close\r\nX: y" in head
    assert b"\r\nContent-Length: %d\r\n" % len(body) in head
    assert json.loads(body) == {"msg": reasons.AGENT_OFFLINE.message, "code": "agent_offline", "request_id": "id-1"}


def test_an_answer_to_head(monkeypatch):
    monkeypatch.setattr(reasons, "date_line", lambda: b"Date: now\r\n")
    whole = reasons.error_response(reasons.NOT_FOUND, "i", close=False)
    bare = reasons.error_response(reasons.NOT_FOUND, "i", close=False, head_only=True)
    assert whole.startswith(bare) and bare.endswith(b"\r\n\r\n") and b"Connection" not in bare


def test_odd_text_stays_json():
    assert json.loads(reasons.error_body(reasons.NOT_FOUND, 'a"\\\x00\x7f\xe9'))["request_id"] == "a?????"


@pytest.mark.parametrize("status", [400, 405, 408, 413, 414, 417, 426, 431, 501, 505, 418])
def test_parser_faults(status):
    reason = reasons.of_message(status, "some_rule")
    assert (reason.status, reason.code) == (status, "some_rule") and reason.message
