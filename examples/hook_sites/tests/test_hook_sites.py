from __future__ import annotations

import pytest
from hook_sites import authorize_agent

from hook_api import Attach, Hooks, load_hooks


@pytest.mark.parametrize(
    ("labels", "allowed"), [({"site": "berlin"}, True), ({"site": "rome"}, False), ({"site": ""}, False), ({}, False)]
)
def test_only_listed_sites_attach(monkeypatch: pytest.MonkeyPatch, labels: dict[str, str], allowed: bool) -> None:
    monkeypatch.setenv("HOOK_SITES", "berlin,,oslo")
    assert (authorize_agent(Attach("demo", "192.0.2.1", labels=labels)) is None) is allowed


def test_the_installed_plugin_is_found() -> None:
    hooks: Hooks = load_hooks()
    assert "sites" in hooks.names and hooks.agents
