"""Finding plugins and calling them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest

from hook_api import Attach, Deny, Hooks, HooksError, Visit, hookimpl, load_hooks

ATTACH = Attach("demo", "")
VISIT = Visit("demo", "", "", "GET", "/", "hub", False, [])


def plugin(**hooks: Callable[..., Any]) -> Any:
    return type("Plugin", (), {name: staticmethod(hookimpl(hook)) for name, hook in hooks.items()})()


def hooks(*plugins: Any) -> Hooks:
    made = Hooks()
    for number, one in enumerate(plugins):
        made.add(f"p{number}", one)
    return made


def test_without_plugins_nobody_wants_to_decide() -> None:
    made = load_hooks(entry_points=[])
    assert not made.agents and not made.visitors and made.names == []


def test_one_no_is_enough() -> None:
    made = hooks(plugin(authorize_visitor=lambda visit: None), plugin(authorize_visitor=lambda visit: Deny("no")))
    assert made.visitors and not made.agents
    assert made.visitor(VISIT) == Deny("no")
    assert hooks(plugin(authorize_agent=lambda attach: None)).agent(ATTACH) is None


async def test_those_that_take_time_are_waited_for() -> None:
    asked = []

    async def yes(attach: Attach) -> None:
        asked.append("yes")

    async def no(attach: Attach) -> Deny:
        asked.append("no")
        return Deny("no")

    made = hooks(plugin(authorize_agent=yes), plugin(authorize_agent=no), plugin(authorize_agent=yes))
    answer = made.agent(ATTACH)
    assert await answer == Deny("no")  # type: ignore[misc]
    assert asked == ["yes", "no"], "the last one registered is asked first, and behind a no nobody is"
    mixed = hooks(plugin(authorize_agent=yes), plugin(authorize_agent=lambda attach: Deny("at once")))
    assert mixed.agent(ATTACH) == Deny("at once")


async def test_any_other_answer_is_a_fault() -> None:
    async def late(attach: Attach) -> bool:
        return True

    with pytest.raises(TypeError, match="answered with bool"):
        hooks(plugin(authorize_agent=lambda attach: True)).agent(ATTACH)
    with pytest.raises(TypeError, match="answered with bool"):
        await hooks(plugin(authorize_agent=late)).agent(ATTACH)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (plugin(authorise_agent=lambda attach: None), "authorise_agent"),
        (plugin(authorize_agent=lambda attach, more: None), "bad hook"),
        (SimpleNamespace(), "implements no hook"),
    ],
)
def test_a_plugin_that_guards_nothing_is_refused(bad: Any, why: str) -> None:
    with pytest.raises(HooksError, match=why):
        hooks(bad)


def test_plugins_come_by_entry_points_and_can_be_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "good_hooks", plugin(authorize_agent=lambda attach: None))
    good = EntryPoint("good", "good_hooks", "tunnel.hooks")
    bad = EntryPoint("bad", "no_such_module_here", "tunnel.hooks")
    assert load_hooks(entry_points=[good]).names == ["good"]
    with pytest.raises(HooksError, match=r"hook plugin bad: import failed: ModuleNotFoundError.* hooks\.disable"):
        load_hooks(entry_points=[good, bad])
    assert load_hooks(["bad"], entry_points=[good, bad]).names == ["good"]
