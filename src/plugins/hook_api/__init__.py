"""The door for plugins that decide who may attach and who may visit.

A plugin is an entry point of the group `tunnel.hooks` naming a module or object with one or both hooks:

    from hook_api import Deny, hookimpl

    @hookimpl
    def authorize_visitor(visit):
        if visit.path.startswith("/internal"):
            return Deny("not from outside")

Hooks come after the hub's own checks and can only take away. They are called once for each attach and each request.
"""

from __future__ import annotations

from hook_api.hooks import Answer, Deny, HubHooks, hookimpl, hookspec
from hook_api.loader import GROUP, Hooks, HooksError, load_hooks
from hook_api.subjects import Attach, Visit

__all__ = [
    "GROUP",
    "Answer",
    "Attach",
    "Deny",
    "Hooks",
    "HooksError",
    "HubHooks",
    "Visit",
    "hookimpl",
    "hookspec",
    "load_hooks",
]
