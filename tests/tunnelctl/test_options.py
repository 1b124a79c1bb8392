"""Options that every command takes."""

from __future__ import annotations

from tunnelctl.options import NAMES, Options, Output


def test_the_nearer_ones_win():
    outer = Options(hub="a", output=Output.JSON)
    assert Options(hub="b").over(outer) == Options(hub="b", output=Output.JSON)
    assert Options().over(None) == Options()


def test_they_are_taken_out_of_a_commands_values():
    values = {"hub": "a", "agent": "x"}
    assert Options.take(values) == Options(hub="a")
    assert values == {"agent": "x"}
    assert "hub" in NAMES


def test_which_are_for_programs():
    assert [output for output in Output if output.for_programs] == [Output.JSON, Output.JSONL]
