"""Errors as they travel, names and fields of requests."""

from __future__ import annotations

import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2

from hubd.admin.errors import ApiError, Code, Faults, etag_mismatch, invalid, not_found
from hubd.admin.names import reason_of, seconds, span, stamp, take
from hubd.admin.repeats import check_request_id
from tunnelpb.hub.v1.session_pb2 import DrainSessionRequest


def test_all_of_an_error_is_in_its_status():
    error = ApiError(
        Code.RESOURCE_EXHAUSTED, "RATE_LIMIT", "slower", metadata={"a": "x" * 1000}, fields=[("f", "bad")],
        retry_after=1.5, trailing=[("resume-token", "t")],
    )  # fmt: skip
    status = error.status()
    assert (status.code, status.message) == (8, "slower")
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    assert [detail.Unpack(kind) for detail, kind in zip(status.details, (info, bad, retry), strict=True)] == [True] * 3
    assert (info.reason, info.domain, len(info.metadata["a"])) == ("RATE_LIMIT", "tunnelpb", 200)
    assert bad.field_violations[0].field == "f"
    assert retry.retry_delay.ToMilliseconds() == 1500
    assert error.trailers()[1] == ("resume-token", "t")


def test_every_kind_has_its_reason():
    assert not_found("session", "sessions/x").reason == "SESSION_NOT_FOUND"
    assert etag_mismatch("routes/x", "3").code is Code.ABORTED
    assert invalid(("a", "bad"), ("b", "worse")).message == "a: bad; b: worse"


def test_faults_come_together():
    faults = Faults()
    faults.check()
    take("agents", "a", "one", faults)
    take("agents", "sessions/a", "two", faults)
    take("agents", "agents/a/b", "three", faults)
    take("agents", "", "four", faults)
    assert take("agents", "agents/a", "five", faults) == "a"
    with pytest.raises(ApiError) as caught:
        faults.check()
    assert [name for name, _ in caught.value.fields] == ["one", "two", "three", "four"]
    with pytest.raises(ApiError, match="wanted"):
        take("agents", "a", "name")


def test_durations():
    request = DrainSessionRequest()
    assert seconds(request, "deadline", 30.0) == 30.0
    request.deadline.FromMilliseconds(1500)
    assert seconds(request, "deadline", 30.0) == 1.5
    request.deadline.CopyFrom(duration_pb2.Duration(seconds=-1))
    with pytest.raises(ApiError, match="between 0"):
        seconds(request, "deadline", 30.0)
    faults = Faults()
    assert seconds(request, "deadline", 30.0, faults=faults) == 30.0
    with pytest.raises(ApiError, match="deadline"):
        faults.check()


def test_times():
    assert stamp(None) is None and span(None) is None
    assert stamp(1.5).ToMilliseconds() == 1500 and span(0.25).ToMilliseconds() == 250


@pytest.mark.parametrize("text", ["two\nlines", "x" * 201, "\x1b[31m"])
def test_reasons_are_one_printable_line(text):
    faults = Faults()
    reason_of(text, faults)
    with pytest.raises(ApiError, match="reason"):
        faults.check()


@pytest.mark.parametrize("text", ["a b", "é", "x" * 101])
def test_request_ids(text):
    faults = Faults()
    assert check_request_id("0d5-ok", faults) == "0d5-ok"
    faults.check()
    check_request_id(text, faults)
    with pytest.raises(ApiError, match="request_id"):
        faults.check()


def test_an_error_of_any_size_fits_into_the_trailers_clients_take():
    name = "\N{PILE OF POO}" * 10_000
    error = ApiError(
        Code.INVALID_ARGUMENT, "FIELD_INVALID", name, metadata={"name": name, "holder": name},
        fields=[(f"routes[{number}].{name}", f"not a name: {name}") for number in range(1000)], retry_after=1.0,
    )  # fmt: skip
    ((_, details),) = error.trailers()
    message = len(error.message.encode()) * 3
    assert message + len(details) * 4 / 3 < 8000
    bad = error_details_pb2.BadRequest()
    assert error.status().details[1].Unpack(bad)
    *told, rest = bad.field_violations
    assert 3 < len(told) < 1000
    assert all(fault.field.startswith("routes[") for fault in told)
    assert (rest.field, rest.description) == ("", f"{1000 - len(told)} more")
