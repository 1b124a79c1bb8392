"""From what is typed to names."""

from __future__ import annotations

import pytest

from tunnelctl import names
from tunnelctl.problems import Problem
from tunnelpb.client import HubError, connect


def test_full_names():
    assert (names.full("sessions", "x"), names.full("sessions", "sessions/x")) == ("sessions/x", "sessions/x")
    assert (names.agent(None), names.agent("a")) == ("", "agents/a")


@pytest.mark.parametrize("text", ["", " ", "sessions/"])
def test_an_empty_name_is_no_prefix_of_all(text):
    with pytest.raises(Problem, match="an empty name is none of sessions") as caught:
        names.full("sessions", text)
    assert caught.value.code == 2


@pytest.mark.parametrize("pair", ["x", "=x", ""])
def test_labels_that_are_none(pair):
    with pytest.raises(Problem, match="KEY=VALUE"):
        names.labels([pair])


def test_labels():
    assert names.labels(["a=1", "b=", "c=d=e"]) == {"a": "1", "b": "", "c": "d=e"}
    assert names.labels(None) == {}


async def test_a_session_by_prefix(fake):
    for number in range(12):
        fake.add_session(f"ab{number:02}")
    fake.add_session("cd")
    async with connect(fake.address) as hub:
        assert (await names.session(hub, "c")).name == "sessions/cd"
        with pytest.raises(Problem) as caught:
            await names.session(hub, "ab")
        assert str(caught.value).endswith("sessions/ab03, sessions/ab04 and 7 more")
        with pytest.raises(HubError):
            await names.session(hub, "x")


async def test_choosing_needs_a_choice(fake):
    async with connect(fake.address) as hub:
        with pytest.raises(Problem, match="which sessions"):
            await names.choose(hub, None, None, None)
    fake.add_session("s1")
    async with connect(fake.address) as hub:
        assert [row.name for row in await names.choose(hub, ["s1", "sessions/s1"], None, None)] == ["sessions/s1"]


def test_words():
    assert names.one_of("--x", "Red", lambda: ["RED", "BLUE"]) == "RED"
    with pytest.raises(Problem, match="--x: green is none of red, blue"):
        names.one_of("--x", "green", lambda: ["RED", "BLUE"])
    assert names.seconds("--x", "1m") == 60.0
    assert names.seconds("--x", None) is None
