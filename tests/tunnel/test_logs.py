from __future__ import annotations

import copy
import io
import json
import logging
import os
import pickle
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tunnel import logs
from tunnel.logs import MAX_VALUE, Logs, RejectLog, Secret, clean, setup

logger = logging.getLogger("hubd.test")


@pytest.fixture
def start() -> Iterator[Callable[..., Logs]]:
    """Start logging alone on the root logger, and put that back as it was afterwards."""
    root = logging.getLogger()
    before = root.level
    running: list[Logs] = []

    def begin(*args: Any, **more: Any) -> Logs:
        # pytest adds its own handlers for each phase of a test, and takes them away itself.
        root.handlers = [handler for handler in root.handlers if type(handler).__module__ == logs.__name__]
        running.append(setup(*args, **more))
        return running[-1]

    yield begin
    for one in running:
        one.close()
    root.setLevel(before)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gate(io.StringIO):
    """A stream that takes nothing until it is opened, like a pipe nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.opened = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        assert self.opened.wait(30)
        return super().write(text)


def test_json_lines_carry_time_level_logger_message_and_fields(start: Callable[..., Logs]) -> None:
    stream = io.StringIO()
    running = start("json", "info", stream=stream)
    logger.info("agent %s attached", "a1", extra={"agent": "a1", "streams": 3, "tls": True, "rtt": 0.5, "label": None})
    logger.debug("not shown")
    running.close()
    line = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "level": "info",
        "logger": "hubd.test",
        "message": "agent a1 attached",
        "agent": "a1",
        "streams": 3,
        "tls": True,
        "rtt": 0.5,
        "label": None,
    }


def test_text_is_one_readable_line(start: Callable[..., Logs]) -> None:
    stream = io.StringIO()
    running = start("text", "debug", stream=stream)
    logger.warning("agent attached", extra={"agent": "a1", "why": 'said "no"', "empty": "", "none": None})
    running.close()
    stamp, rest = stream.getvalue().split(" ", 1)
    assert stamp.endswith("Z")
    assert rest == 'WARNING hubd.test: agent attached agent=a1 why="said \\"no\\"" empty="" none=null\n'


def test_colours_only_on_a_terminal_and_not_against_the_users_wish(
    start: Callable[..., Logs], monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown(stream: io.StringIO) -> bool:
        running = start("text", "info", stream=stream)
        logger.error("x")
        running.close()
        return "\x1b[31m" in stream.getvalue()

    assert shown(Terminal())
    assert not shown(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not shown(Terminal())


def test_an_unknown_level_is_a_value_error(start: Callable[..., Logs]) -> None:
    with pytest.raises(ValueError, match="Unknown level"):
        start("json", "loud")


def test_a_field_named_like_a_fixed_one_does_not_replace_it(start: Callable[..., Logs]) -> None:
    stream = io.StringIO()
    running = start("json", stream=stream)
    logger.info("x", extra={"level": "forged", "timestamp": 0, "logger": "forged"})
    running.close()
    line = json.loads(stream.getvalue())
    assert (line["level"], line["logger"]) == ("info", "hubd.test")
    assert (line["level_"], line["timestamp_"], line["logger_"]) == ("forged", 0, "forged")


@pytest.mark.parametrize("format", ["text", "json"])
def test_f12_control_characters_are_escaped_and_values_cut(start: Callable[..., Logs], format: str) -> None:
    stream = io.StringIO()
    running = start(format, stream=stream)
    evil = "a\r\nb\x1b[2J\x00\x7f\x9b\u2028\u202e"
    logger.info("path %s", evil, extra={"path": evil, "raw": b"\xff\r\n", "huge": "x" * 100_000})
    running.close()
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    assert len(text) < 3 * MAX_VALUE
    assert "...(+98976 bytes)" in text
    assert "\\x1b" in text


@given(st.one_of(st.text(), st.binary(), st.text(min_size=2000, max_size=3000)))
def test_f12_any_value_becomes_one_short_printable_line(value: object) -> None:
    text = clean(value)
    assert text.isprintable()
    # One character may take ten to escape, as in \U0001f600.
    assert len(text) <= 10 * MAX_VALUE + 40


def test_f12_values_are_cut_at_bytes_and_not_inside_a_character() -> None:
    assert clean("ü" * 512) == "ü" * 512
    assert clean("a" + "ü" * 512) == "a" + "ü" * 511 + "...(+1 bytes)"
    assert clean("x" * MAX_VALUE) == "x" * MAX_VALUE
    assert clean("\ud800") == "\\ud800"


def test_exceptions_become_one_line_with_their_place(start: Callable[..., Logs]) -> None:
    stream = io.StringIO()
    running = start("json", stream=stream)
    try:
        raise ValueError("bad\nthing")
    except ValueError:
        logger.exception("failed")
    running.close()
    line = json.loads(stream.getvalue())
    assert line["error"] == "ValueError: bad\\nthing"
    assert re.fullmatch(r"test_logs\.py:\d+ test_exceptions_become_one_line_with_their_place", line["at"])
    assert "Traceback" not in stream.getvalue()


def test_arguments_that_do_not_fit_lose_neither_line_nor_caller(start: Callable[..., Logs]) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    stream = io.StringIO()
    running = start("json", stream=stream)
    logger.info("%d streams", "many")
    logger.info("x", extra={"value": Broken()})
    running.close()
    first, last = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert first["message"] == "%d streams (arguments do not fit)"
    assert (last["message"], last["count"]) == ("log lines dropped", 1)


def test_numbers_that_json_does_not_know(start: Callable[..., Logs]) -> None:
    stream = io.StringIO()
    running = start("json", stream=stream)
    logger.info("x", extra={"a": float("inf"), "b": float("nan")})
    running.close()
    line = json.loads(stream.getvalue(), parse_constant=lambda word: pytest.fail(word))
    assert (line["a"], line["b"]) == ("inf", "nan")


def test_python_warnings_are_logged(start: Callable[..., Logs]) -> None:
    stream = io.StringIO()
    running = start("json", stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    running.close()
    assert json.loads(stream.getvalue())["logger"] == "py.warnings"


def test_a_full_queue_drops_lines_and_counts_them(start: Callable[..., Logs], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "QUEUE_LIMIT", 4)
    stream = Gate()
    running = start("json", stream=stream)
    logger.info("first")
    assert stream.reached.wait(30)
    for number in range(10):
        logger.info("line %d", number)
    assert running.dropped == 6
    stream.opened.set()
    running.close(30)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in lines] == [
        "first",
        *(f"line {number}" for number in range(4)),
        "log lines dropped",
    ]
    assert lines[-1]["count"] == 6


def test_a_pipe_nobody_reads_does_not_hold_up_the_end(start: Callable[..., Logs]) -> None:
    stream = Gate()
    running = start("json", stream=stream)
    logger.info("stuck")
    assert stream.reached.wait(30)
    running.close(timeout=0.01)
    stream.opened.set()


def test_a_closed_pipe_costs_lines_and_nothing_else(start: Callable[..., Logs]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        running = start("text", stream=stream)
        logger.info("one")
        logger.info("two")
        running.close(30)
        assert running.dropped == 2


def test_a_closed_stream_costs_lines_and_nothing_else(start: Callable[..., Logs]) -> None:
    stream = io.StringIO()
    running = start("text", stream=stream)
    stream.close()
    logger.info("one")
    running.close(30)
    assert running.dropped == 1


def test_a_pipe_that_is_full_for_a_moment_gets_everything(start: Callable[..., Logs]) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(writing, "w") as stream, open(reading, "rb") as reader:
        running = start("json", stream=stream)
        for number in range(300):
            logger.info("line %d", number, extra={"padding": "x" * 1000})
        received = b"".join(reader.readline() for _ in range(300))
        running.close(30)
    assert [json.loads(line)["message"] for line in received.splitlines()] == [f"line {n}" for n in range(300)]
    assert running.dropped == 0


def test_setting_up_again_replaces_the_former(start: Callable[..., Logs]) -> None:
    first, second = io.StringIO(), io.StringIO()
    start("json", stream=first)
    logger.info("one")
    running = start("json", stream=second)
    logger.info("two")
    running.close()
    running.close()
    assert json.loads(first.getvalue())["message"] == "one"
    assert json.loads(second.getvalue())["message"] == "two"


@pytest.mark.parametrize(
    "show", [str, repr, "{}".format, "{!r}".format, "{:>6}".format, "%s".__mod__, lambda secret: f"{[secret]}", clean]
)
def test_f11_no_way_of_printing_shows_a_secret(show: Callable[[Secret], str]) -> None:
    text = show(Secret("canary"))
    assert "canary" not in text
    assert "***" in text


@pytest.mark.parametrize("format", ["text", "json"])
def test_f11_secrets_in_logs_are_stars(start: Callable[..., Logs], format: str) -> None:
    stream = io.StringIO()
    running = start(format, stream=stream)
    logger.info("token %s", Secret("canary"), extra={"token": Secret("canary"), "all": {"t": Secret("canary")}})
    running.close()
    assert "canary" not in stream.getvalue()
    assert stream.getvalue().count("***") == 3


def test_f11_secrets_are_compared_and_never_carried_off() -> None:
    secret = Secret("canary")
    assert secret == Secret("canary")
    assert secret != Secret("canarz")
    assert secret != "canary"
    assert secret.reveal() == "canary"
    assert bool(secret)
    assert not Secret("")
    assert copy.deepcopy([secret])[0] is copy.copy(secret) is secret
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(secret, protocol)
    with pytest.raises(TypeError, match="unhashable"):
        hash(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        vars(secret)


def test_f11_secrets_as_fields_of_models() -> None:
    class Model(BaseModel):
        token: Secret

    model = Model.model_validate({"token": "canary"})
    assert model.token == Secret("canary")
    assert Model(token=model.token).token is model.token
    assert "canary" not in f"{model!r}{model.model_dump()}{model.model_dump_json()}"
    with pytest.raises(ValueError, match="must be text"):
        Model.model_validate({"token": 1})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_refusals_are_limited_per_reason_and_second(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    log = RejectLog(logger, per_second=3, clock=clock)
    assert [log.reject("bad_head", "refused", peer="1.2.3.4") for _ in range(5)] == [True, True, True, False, False]
    assert log.reject("no_agent", "refused")
    clock.now = 1.0
    assert log.reject("bad_head", "refused", level=logging.WARNING)
    assert log.reject("bad_head", "refused")
    told = [vars(record).get("suppressed") for record in caplog.records]
    assert told == [None, None, None, None, 2, None]
    assert (caplog.records[0].reason, caplog.records[0].peer) == ("bad_head", "1.2.3.4")  # type: ignore[attr-defined]
    assert caplog.records[4].levelno == logging.WARNING


def test_refusals_left_out_are_told_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = RejectLog(logger, per_second=1, clock=Clock())
    for _ in range(4):
        log.reject("bad_head", "refused")
    log.flush()
    log.flush()
    assert [(record.message, vars(record).get("suppressed")) for record in caplog.records] == [
        ("refused", None),
        ("refusals not logged", 3),
    ]
