"""The door's names: what a plugin author writes is what the registry's plugin manager finds."""

from __future__ import annotations

import types
from collections.abc import Callable

import pluggy
import pytest

import carrier_api
from carrier_api.hooks import PROJECT, CarrierHooks, hookimpl, hookspec


def plugin(**functions: Callable[..., object]) -> types.SimpleNamespace:
    return types.SimpleNamespace(**functions)


@pytest.fixture
def manager() -> pluggy.PluginManager:
    made = pluggy.PluginManager("tunnel")
    made.add_hookspecs(CarrierHooks)
    return made


def test_published_names() -> None:
    assert PROJECT == "tunnel" == hookimpl.project_name == hookspec.project_name
    for name in ("PROJECT", "CarrierHooks", "hookimpl", "hookspec"):
        assert getattr(carrier_api, name) is getattr(carrier_api.hooks, name)


def test_the_one_specification_takes_no_arguments(manager: pluggy.PluginManager) -> None:
    assert [name for name in vars(CarrierHooks) if not name.startswith("_")] == ["tunnel_carriers"]
    spec = manager.hook.tunnel_carriers.spec
    assert spec is not None and spec.argnames == ()
    assert not spec.opts["firstresult"] and not spec.opts["historic"]
    assert tuple(CarrierHooks().tunnel_carriers()) == ()


def test_marked_functions_are_found_and_all_asked(manager: pluggy.PluginManager) -> None:
    @hookimpl
    def tunnel_carriers() -> list[str]:
        return ["first"]

    first = plugin(tunnel_carriers=tunnel_carriers)

    @hookimpl(specname="tunnel_carriers")
    def under_another_name() -> list[str]:
        return ["second"]

    second = plugin(under_another_name=under_another_name)
    manager.register(first)
    manager.register(second)
    manager.check_pending()
    assert sorted(manager.hook.tunnel_carriers()) == [["first"], ["second"]]


def test_unmarked_functions_and_those_of_other_projects_are_none_of_ours(manager: pluggy.PluginManager) -> None:
    def plain() -> list[str]:
        raise AssertionError("never asked")

    manager.register(plugin(tunnel_carriers=plain))
    manager.register(plugin(tunnel_carriers=pluggy.HookimplMarker("someone_else")(lambda: ["theirs"])))
    assert manager.hook.tunnel_carriers() == []


def test_a_misspelt_hook_is_noticed(manager: pluggy.PluginManager) -> None:
    @hookimpl
    def tunnel_carrier() -> list[str]:
        return []

    manager.register(plugin(tunnel_carrier=tunnel_carrier))
    with pytest.raises(pluggy.PluginValidationError, match="tunnel_carrier"):
        manager.check_pending()


def test_a_hook_that_wants_arguments_is_refused(manager: pluggy.PluginManager) -> None:
    @hookimpl
    def tunnel_carriers(config: object) -> list[str]:
        return []

    with pytest.raises(pluggy.PluginValidationError, match="config"):
        manager.register(plugin(tunnel_carriers=tunnel_carriers))
