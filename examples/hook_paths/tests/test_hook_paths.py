from __future__ import annotations

import pytest
from hook_paths import authorize_visitor

from hook_api import Hooks, Visit, load_hooks


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/", True), ("/shop", True), ("/admin", False), ("/admin/x", False), ("/%61dmin", False), ("/a/..%2fadmin", False),
     ("//admin", False)],
)  # fmt: skip
def test_hidden_paths_are_hidden_however_they_are_written(
    monkeypatch: pytest.MonkeyPatch, path: str, allowed: bool
) -> None:
    monkeypatch.setenv("HOOK_PATHS", "/admin,/metrics")
    visit = Visit("demo", "192.0.2.1", "", "GET", path, "hub", True, [])
    assert (authorize_visitor(visit) is None) is allowed


def test_the_installed_plugin_is_found() -> None:
    hooks: Hooks = load_hooks()
    assert "paths" in hooks.names and hooks.visitors
