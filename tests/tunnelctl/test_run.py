"""What commands are given."""

from __future__ import annotations

import pytest

from tunnelctl import run as module
from tunnelctl.options import Options, Output
from tunnelctl.problems import Code, Problem
from tunnelctl.run import Run


class Input:
    def __init__(self, answer):
        self.answer = answer

    def isatty(self):
        return True

    def readline(self):
        return self.answer


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_a_yes_goes_on(monkeypatch, capsys, answer):
    monkeypatch.setattr(module.sys, "stdin", Input(answer))
    assert Run(Options(), {}).sure("evict", ["sessions/a", "sessions/b"], yes=False, dry_run=False)
    assert capsys.readouterr().err == "  sessions/a\n  sessions/b\nevict 2 sessions? [y/N] "


@pytest.mark.parametrize("answer", ["\n", "n\n", "", "yo\n"])
def test_anything_else_does_not(monkeypatch, answer):
    monkeypatch.setattr(module.sys, "stdin", Input(answer))
    with pytest.raises(Problem, match="nothing was done"):
        Run(Options(), {}).sure("evict", ["a", "b"], yes=False, dry_run=False)


def test_one_is_not_asked_about():
    assert Run(Options(), {}).sure("evict", ["a"], yes=False, dry_run=False)
    assert not Run(Options(), {}).sure("evict", [], yes=True, dry_run=False)


class Terminal:
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("options", "environ", "color"),
    [({}, {}, True), ({"no_color": True}, {}, False), ({}, {"NO_COLOR": "1"}, False), ({}, {"NO_COLOR": ""}, True),
     ({}, {"TERM": "dumb"}, False)],
)  # fmt: skip
def test_colours(monkeypatch, options, environ, color):
    monkeypatch.setattr(module.sys, "stdout", Terminal())
    assert Run(Options(**options), environ).color is color


def test_output_from_the_environment_and_over_it():
    environ = {"HOME": "/nowhere", "TUNNELCTL_OUTPUT": "jsonl"}
    assert Run(Options(), environ).output is Output.JSONL
    assert Run(Options(), environ).errors_as_json
    assert Run(Options(output=Output.TABLE), environ).output is Output.TABLE
    assert not Run(Options(output=Output.TABLE), environ).errors_as_json


def test_a_part_that_failed_and_all_that_failed(capsys):
    run = Run(Options(), {})
    run.conclude(2, [Problem("a", code=Code.NOT_FOUND)])
    assert run.code is Code.PARTIAL
    run.conclude(1, [Problem("b", code=Code.NOT_FOUND)])
    assert run.code is Code.NOT_FOUND
    assert capsys.readouterr().err == "error: a\nerror: b\n"


async def test_tls_files_that_are_not_there():
    run = Run(Options(hub="hub.example.com:1", ca_file="/nowhere.pem"), {"HOME": "/nowhere"})
    with pytest.raises(Problem, match="/nowhere.pem: No such file") as caught:
        async with run.hub():
            raise AssertionError
    assert caught.value.code == 78
