"""Errors as lines, hints and exit codes."""

from __future__ import annotations

import grpc
import pytest

from tunnelctl.problems import _CODES, Code, Problem, of_hub
from tunnelpb.client import HubError


def error(status, message="no", **more):
    return of_hub(HubError(status, message, **more), "hub:1", timeout=10.0)


@pytest.mark.parametrize(
    ("status", "code"),
    [("INVALID_ARGUMENT", 2), ("NOT_FOUND", 3), ("UNAUTHENTICATED", 4), ("PERMISSION_DENIED", 4), ("UNAVAILABLE", 5),
     ("DEADLINE_EXCEEDED", 5), ("RESOURCE_EXHAUSTED", 5), ("FAILED_PRECONDITION", 6), ("ALREADY_EXISTS", 6),
     ("ABORTED", 6), ("INTERNAL", 1), ("UNIMPLEMENTED", 1)],
)  # fmt: skip
def test_exit_codes(status, code):
    assert error(grpc.StatusCode[status], reason="X").code == code


def test_the_table_names_real_codes():
    assert set(_CODES) <= set(grpc.StatusCode.__members__)


def test_every_bad_field_is_a_line():
    problem = error(grpc.StatusCode.INVALID_ARGUMENT, fields=[("a", "too large"), ("b.c", "missing")])
    assert problem.lines == ("a: too large", "b.c: missing")


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("failed to connect to all addresses; last error: UNKNOWN: unix:/x: connect: No such file", "no such socket"),
        ("ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused", "connection refused"),
        ("unix:/x: Permission denied", "permission denied"),
        ("Ssl handshake failed: SSL_ERROR_SSL: ... CERTIFICATE_VERIFY_FAILED", "not to be trusted"),
        ("DNS resolution failed for hub:1: Domain name not found", "cannot be resolved"),
        ("who knows", "no answer"),
    ],
)
def test_why_nobody_answers(message, why):
    problem = error(grpc.StatusCode.UNAVAILABLE, message)
    assert problem.code is Code.UNAVAILABLE
    assert problem.lines[0].startswith("cannot reach the hub at hub:1: ")
    assert why in problem.lines[0]
    assert problem.hint


def test_a_hub_that_drains_is_there():
    problem = error(grpc.StatusCode.UNAVAILABLE, "the hub drains", reason="HUB_DRAINING")
    assert problem.lines == ("the hub drains (HUB_DRAINING)",)


def test_too_late_says_how_long_it_was():
    assert error(grpc.StatusCode.DEADLINE_EXCEEDED).lines == ("the hub at hub:1 did not answer within 10 s",)


def test_what_is_told_cannot_steer_the_terminal(capsys):
    Problem("a\x1b[2J", hint="b\x07").tell(as_json=False)
    assert capsys.readouterr().err == "error: a\\x1b[2J\nhint: b\\x07\n"
