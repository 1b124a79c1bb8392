"""Finds the plugins and calls them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Collection, Iterable
from importlib import metadata
from typing import Any

import pluggy

from hook_api.hooks import PROJECT, Answer, Deny, HubHooks
from hook_api.subjects import Attach, Visit

GROUP = "tunnel.hooks"


class HooksError(Exception):
    """A plugin cannot be used; one line for people. It guards a door, so there is no going on without it."""


class Hooks:
    """The plugins that are there.

    Attributes:
        names: of the plugins, for people.
        agents: one of them wants to decide on agents.
        visitors: one of them wants to decide on requests.
    """

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(HubHooks)
        self.names: list[str] = []
        self.agents = self.visitors = False

    def add(self, name: str, plugin: object) -> None:
        """Take one more.

        Raises:
            HooksError: it has a hook that is not known, or none.
        """
        try:
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as exc:
            raise HooksError(f"hook plugin {name}: bad hook: {_line(exc)}") from exc
        if not self._manager.get_hookcallers(plugin):
            raise HooksError(f"hook plugin {name}: it implements no hook")
        self.names.append(name)
        self.agents = bool(self._manager.hook.authorize_agent.get_hookimpls())
        self.visitors = bool(self._manager.hook.authorize_visitor.get_hookimpls())

    def hooks_of(self, name: str) -> list[str]:
        """Names of the hooks a plugin implements; none for one that is not loaded."""
        plugin = self._manager.get_plugin(name)
        callers = self._manager.get_hookcallers(plugin) if plugin is not None else None
        return sorted(caller.name for caller in callers or ())

    def agent(self, attach: Attach) -> Answer:
        """What the plugins say to an agent; the first no counts."""
        return _first(self._manager.hook.authorize_agent(attach=attach))

    def visitor(self, visit: Visit) -> Answer:
        """What the plugins say to a request; the first no counts."""
        return _first(self._manager.hook.authorize_visitor(visit=visit))


def _first(answers: list[Any]) -> Answer:
    """One answer of many. Nothing is left never awaited."""
    waiting: list[Awaitable[Any]] = []
    no: Deny | None = None
    for answer in answers:
        if inspect.isawaitable(answer):
            waiting.append(answer)
        elif isinstance(answer, Deny):
            no = no or answer
        elif answer is not None:
            raise TypeError(f"a hook answered with {type(answer).__name__}: None, Deny or an awaitable is expected")
    if no is not None or not waiting:
        for answer in waiting:
            close = getattr(answer, "close", None)
            if close is not None:
                close()
        return no
    return _await(waiting)


async def _await(waiting: list[Awaitable[Any]]) -> Deny | None:
    no: Deny | None = None
    for answer in waiting:
        if no is not None:
            close = getattr(answer, "close", None)
            if close is not None:
                close()
            continue
        given = await answer
        if isinstance(given, Deny):
            no = given
        elif given is not None:
            raise TypeError(f"a hook answered with {type(given).__name__}: None or Deny is expected")
    return no


def load_hooks(disable: Collection[str] = (), *, entry_points: Iterable[metadata.EntryPoint] | None = None) -> Hooks:
    """Load every installed plugin.

    Args:
        disable: names of entry points to leave alone.
        entry_points: instead of the installed ones.

    Raises:
        HooksError: one cannot be loaded.
    """
    hooks = Hooks()
    found = metadata.entry_points(group=GROUP) if entry_points is None else entry_points
    for point in sorted(found, key=lambda point: point.name):
        if point.name in disable:
            continue
        try:
            plugin = point.load()
        except (Exception, SystemExit) as exc:
            raise HooksError(
                f"hook plugin {point.name}: import failed: {_line(exc)}; mend it, or name it in hooks.disable"
            ) from exc
        hooks.add(point.name, plugin)
    return hooks


def _line(exc: BaseException) -> str:
    """One printable line, whatever a plugin put into its exception."""
    flat = " ".join(f"{type(exc).__name__}: {exc}".split())
    return "".join(c if c.isprintable() else "?" for c in flat)[:300]
