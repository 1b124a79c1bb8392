"""Recorded exchanges with the reference, replayed: to our core in both places, and our recorded side to the reference."""

from __future__ import annotations

import io

import pytest

from conformance.record import SCRIPTS, VECTORS, Player, Script, parse, perform, render
from yamux.trace import show_capture

by_name = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)


def recorded(script: Script) -> str:
    return (VECTORS / f"{script.name}.txt").read_text("utf-8")


def test_each_script_has_its_vector_and_each_vector_its_script() -> None:
    assert {path.stem for path in VECTORS.glob("*.txt")} == {script.name for script in SCRIPTS}


@by_name
def test_our_side_says_what_it_said(script: Script) -> None:
    core = Player.of(script, in_place_of_reference=False)
    for text, rounds in parse(script, recorded(script)):
        side, *words = text.split()
        said = core.do(words) if side == "us" else b""
        for ours, came in rounds:
            assert said == ours, text
            said = core.take(came)
        assert said == b"", text


@by_name
def test_in_its_place_we_say_the_same_or_what_is_noted(script: Script) -> None:
    text = recorded(script)
    assert render(script, parse(script, text)) == text


def test_what_we_say_otherwise_is_this_alone() -> None:
    """ACK although our FIN came first: the reference sends none, and its places then come back late."""
    different = [script.name for script in SCRIPTS if "# ours" in recorded(script)]
    assert different == ["our-fin-before-accept-server", "our-fin-before-accept-client"]


@by_name
async def test_the_reference_answers_our_recorded_side_as_it_did(script: Script) -> None:
    steps = parse(script, recorded(script))
    assert await perform(script, steps) == steps


@by_name
def test_the_trace_finds_no_fault(script: Script) -> None:
    shown: list[str] = []
    # Data behind our own GoAway and what else is allowed but odd must pass as well.
    assert show_capture(io.StringIO(recorded(script)), shown.append) == 0
    assert shown
