"""Keeps visitors away from paths that start as one in ``$HOOK_PATHS`` does, such as ``/admin,/metrics``."""

from __future__ import annotations

import os
from urllib.parse import unquote

from hook_api import Deny, Visit, hookimpl

__all__ = ["authorize_visitor"]


@hookimpl
def authorize_visitor(visit: Visit) -> Deny | None:
    """Called once for each request, before anything of it is sent to the agent.

    The path is as the visitor wrote it. Targets decode it, so a rule about paths must, too, and what climbs with ``..``
    could end anywhere.
    """
    path = unquote(visit.path)
    hidden = [prefix for prefix in os.environ.get("HOOK_PATHS", "").split(",") if prefix]
    if ".." in path or "//" in path or any(path.startswith(prefix) for prefix in hidden):
        return Deny("this path is not served from outside")
    return None
