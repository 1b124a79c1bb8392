"""What plugins see of the hooks."""

from __future__ import annotations

import inspect

from hook_api import Deny, HubHooks, hookimpl


def test_every_hook_has_one_subject() -> None:
    hooks = [name for name in vars(HubHooks) if not name.startswith("_")]
    assert sorted(hooks) == ["authorize_agent", "authorize_visitor"]
    for name in hooks:
        assert len(inspect.signature(getattr(HubHooks, name)).parameters) == 2


def test_a_mark_leaves_the_function_as_it_is() -> None:
    @hookimpl
    def authorize_agent(attach: object) -> Deny:
        return Deny("no")

    assert authorize_agent(None).reason == "no"
