"""An agent says where it stands with the label ``site``; only sites in ``$HOOK_SITES`` may attach."""

from __future__ import annotations

import os

from hook_api import Attach, Deny, hookimpl

__all__ = ["authorize_agent"]


@hookimpl
def authorize_agent(attach: Attach) -> Deny | None:
    """Called once for each attach, after the agent's token or certificate was found good."""
    sites = os.environ.get("HOOK_SITES", "").split(",")
    site = attach.labels.get("site", "")
    if site and site in sites:
        return None
    return Deny("this agent's site is not served here; start it with --label site=NAME")
