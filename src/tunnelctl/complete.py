"""Live names for the shell's completion. Whatever goes wrong, there is just nothing to offer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import typer

from tunnelctl.options import Options
from tunnelctl.problems import Problem
from tunnelctl.run import Run

if TYPE_CHECKING:
    from tunnelpb.client import Hub

# Whoever presses Tab waits no longer than this.
_DEADLINE = 0.5


def _given(ctx: typer.Context) -> Options:
    """Return the shared options that stand on the line already."""
    found = Options()
    chain: list[Any] = []
    here: Any = ctx
    while here is not None:
        chain.append(here)
        here = here.parent
    for level in reversed(chain):
        values = {name: value for name, value in level.params.items() if name in Options.__dataclass_fields__}
        found = Options(**values).over(found)
    return found


def _names(ctx: typer.Context, incomplete: str, rows: Callable[[Hub], AsyncIterator[Any]]) -> list[str]:
    async def ask() -> list[str]:
        run = Run(_given(ctx))
        async with asyncio.timeout(_DEADLINE), run.hub(timeout=_DEADLINE) as hub:
            return [row.name async for row in rows(hub)]

    found: list[str] = []
    with contextlib.suppress(Problem, Exception):
        found = asyncio.run(ask())
    whole = "/" in incomplete
    offered = found if whole else [name.rpartition("/")[2] for name in found]
    return [name for name in offered if name.startswith(incomplete)]


def sessions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of sessions in service."""
    return _names(ctx, incomplete, lambda hub: hub.list_sessions())


def agents(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of agents."""
    return _names(ctx, incomplete, lambda hub: hub.list_agents())


def routes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of routes."""
    return _names(ctx, incomplete, lambda hub: hub.list_routes())


def tokens(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of tokens."""
    return _names(ctx, incomplete, lambda hub: hub.list_tokens())


def contexts(incomplete: str) -> list[str]:
    """Names of contexts."""
    import os

    from tunnelctl.settings import read_file

    try:
        _, settings = read_file(os.environ)
    except Problem:
        return []
    return sorted(name for name in settings.context if name.startswith(incomplete))
