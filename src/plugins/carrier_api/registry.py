"""Finds carrier plugins, loads each in isolation, and answers which carrier owns a URL.

pluggy's own loader lets the first distribution found own an entry point's name, so a foreign package could silently
replace a built-in carrier. Hence the group is listed here, and whatever two plugins claim is given to neither.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

import pluggy

from carrier_api.hooks import PROJECT, CarrierHooks
from yamux.carrier import Carrier, Upgrade

GROUP = "tunnel.carriers"

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,31}")
_TOKEN = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~/-]{1,64}")
_HABITS = {"http": "ws", "https": "wss", "ssl": "tls"}
"""Schemes people type, and the carrier scheme they mean, where that one is installed."""


@dataclass(frozen=True, slots=True)
class PluginRow:
    """One entry point, for a listing.

    Args:
        name: the entry point's name.
        dist: distribution that brings it; "" if unknown.
        version: of the distribution.
        state: what became of it.
        detail: schemes it serves, or why it does not; one line.
    """

    name: str
    dist: str
    version: str
    state: Literal["loaded", "failed", "disabled"]
    detail: str


class _Faulty(Exception):
    """A plugin that cannot be used; the text is the reason."""


class Registry:
    """Carriers of this process. Filled once at start, then read only."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(CarrierHooks)
        self._rows: dict[str, PluginRow] = {}
        self._missing: list[str] = []
        self._carriers: dict[str, Carrier] = {}
        self._schemes: dict[str, Carrier] = {}
        self._upgrades: dict[bytes, Upgrade] = {}

    @classmethod
    def load(
        cls,
        group: str = GROUP,
        *,
        disabled: Collection[str] = (),
        only: Collection[str] | None = None,
        entry_points: Iterable[metadata.EntryPoint] | None = None,
    ) -> Registry:
        """Load every entry point of `group`; never raises for what a plugin does.

        Args:
            group: entry point group.
            disabled: entry point names that are not even imported.
            only: if given, all other names are disabled.
            entry_points: instead of the installed ones.
        """
        registry = cls()
        found = list(metadata.entry_points(group=group) if entry_points is None else entry_points)
        found.sort(key=lambda point: (point.name, _dist(point)))
        registry._note_missing(found, only)
        counts = Counter(point.name for point in found)
        candidates: list[tuple[metadata.EntryPoint, list[Carrier]]] = []
        for point in found:
            if point.name in disabled or (only is not None and point.name not in only):
                registry._row(point, "disabled", "disabled by the settings")
            elif counts[point.name] > 1:
                dists = " and ".join(_dist(p) for p in found if p.name == point.name)
                registry._row(point, "failed", f"name is claimed by {dists}; uninstall one")
            else:
                try:
                    candidates.append((point, registry._carriers_of(point)))
                except _Faulty as exc:
                    registry._row(point, "failed", str(exc))
        registry._adopt(candidates)
        return registry

    @property
    def carriers(self) -> dict[str, Carrier]:
        """Usable carriers by name."""
        return dict(self._carriers)

    @property
    def failures(self) -> list[str]:
        """One line for each plugin that could not be used, for the log."""
        rows = [row for row in self._rows.values() if row.state == "failed"]
        return [*self._missing, *(f"carrier plugin {row.name} ({row.dist}): {row.detail}" for row in rows)]

    def plugins(self) -> list[PluginRow]:
        """All entry points found, sorted by name."""
        return list(self._rows.values())

    def for_url(self, url: str) -> Carrier:
        """The carrier that owns the URL's scheme.

        Raises:
            ValueError: one line naming the known schemes. The URL itself is not repeated, it may hold secrets.
        """
        scheme, found, _ = url.partition("://")
        scheme = scheme.lower()
        if found and scheme in self._schemes:
            return self._schemes[scheme]
        known = ", ".join(sorted(self._schemes)) or "none"
        if not found or not _SCHEME.fullmatch(scheme):
            raise ValueError(f"a carrier URL starts with a scheme and ://, known schemes: {known}")
        text = f"no carrier for {scheme}://, known schemes: {known}"
        near = [_HABITS.get(scheme, ""), *difflib.get_close_matches(scheme, self._schemes, 1)]
        hints = [name for name in near if name in self._schemes]
        if hints:
            text += f"; did you mean {hints[0]}://?"
        elif self.failures:
            text += f"; {len(self.failures)} plugin(s) could not be loaded"
        raise ValueError(text)

    def upgrades(self) -> dict[bytes, Upgrade]:
        """Upgrade tokens of all usable carriers, for the side that accepts."""
        return dict(self._upgrades)

    def _note_missing(self, found: list[metadata.EntryPoint], only: Collection[str] | None) -> None:
        names = {point.name for point in found}
        for name in sorted(set(only or ()) - names):
            self._missing.append(f"carrier plugin {name} is named in the settings but not installed")

    def _row(self, point: metadata.EntryPoint, state: Literal["loaded", "failed", "disabled"], detail: str) -> None:
        dist = point.dist
        key = f"{point.name}\0{_dist(point)}"
        self._rows[key] = PluginRow(point.name, _dist(point), dist.version if dist else "", state, _line(detail))

    def _carriers_of(self, point: metadata.EntryPoint) -> list[Carrier]:
        """Import, register and ask one plugin; leaves nothing registered when it raises."""
        try:
            plugin = point.load()
        except (Exception, SystemExit) as exc:
            raise _Faulty(f"import failed: {_cause(exc)}") from exc
        try:
            self._manager.register(plugin, name=point.name)
            self._manager.check_pending()
            return self._ask(plugin)
        except _Faulty:
            self._drop(point.name)
            raise
        except pluggy.PluginValidationError as exc:
            self._drop(point.name)
            raise _Faulty(f"bad hook: {_validation(exc)}") from exc
        except (Exception, SystemExit) as exc:
            self._drop(point.name)
            raise _Faulty(f"registration failed: {_cause(exc)}") from exc

    def _drop(self, name: str) -> None:
        if self._manager.get_plugin(name) is not None:
            self._manager.unregister(name=name)

    def _ask(self, plugin: Any) -> list[Carrier]:
        impls = [i for i in self._manager.hook.tunnel_carriers.get_hookimpls() if i.plugin is plugin]
        if not impls:
            raise _Faulty("implements no tunnel_carriers hook")
        if any(impl.wrapper or impl.hookwrapper for impl in impls):
            raise _Faulty("bad hook: tunnel_carriers cannot be a wrapper")
        carriers: list[Carrier] = []
        for impl in impls:
            try:
                answer: Any = impl.function()
                carriers.extend(answer)
            except (Exception, SystemExit) as exc:
                raise _Faulty(f"tunnel_carriers failed: {_cause(exc)}") from exc
        if not carriers:
            raise _Faulty("tunnel_carriers returned no carrier")
        for carrier in carriers:
            _check(carrier)
        return carriers

    def _adopt(self, candidates: list[tuple[metadata.EntryPoint, list[Carrier]]]) -> None:
        """Take over the carriers of all plugins that claim nothing another one claims."""
        owners: dict[str, list[str]] = {}
        kinds: dict[bytes, set[type]] = {}
        for point, carriers in candidates:
            for claim in _claims(carriers):
                owners.setdefault(claim, []).append(f"{point.name} ({_dist(point)})")
            for carrier in carriers:
                kinds.setdefault(carrier.upgrade.token, set()).add(type(carrier.upgrade))
        for point, carriers in candidates:
            doubles = [claim for claim in _claims(carriers) if len(owners[claim]) > 1]
            clashes = [c.upgrade.token for c in carriers if len(kinds[c.upgrade.token]) > 1]
            if doubles:
                self._refuse(point, f"{doubles[0]} is claimed by {' and '.join(owners[doubles[0]])}")
            elif clashes:
                self._refuse(point, f"upgrade token {clashes[0].decode()} is claimed by different kinds of upgrade")
            else:
                self._take(point, carriers)

    def _refuse(self, point: metadata.EntryPoint, reason: str) -> None:
        self._drop(point.name)
        self._row(point, "failed", f"{reason}; disable one")

    def _take(self, point: metadata.EntryPoint, carriers: list[Carrier]) -> None:
        schemes: list[str] = []
        for carrier in carriers:
            self._carriers[carrier.name] = carrier
            self._upgrades.setdefault(carrier.upgrade.token, carrier.upgrade)
            for scheme in carrier.schemes:
                self._schemes[scheme] = carrier
                schemes.append(f"{scheme}://")
        self._row(point, "loaded", " ".join(schemes))


def _claims(carriers: list[Carrier]) -> list[str]:
    names = [f"carrier name {carrier.name}" for carrier in carriers]
    return names + [f"scheme {scheme}://" for carrier in carriers for scheme in carrier.schemes]


def _check(carrier: Any) -> None:
    """Raise _Faulty unless the object looks like a carrier."""
    name = getattr(carrier, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _Faulty(f"{type(carrier).__name__} is no carrier: name must match {_NAME.pattern}")
    schemes = getattr(carrier, "schemes", None)
    if not isinstance(schemes, tuple) or not schemes or not all(_is_scheme(s) for s in schemes):
        raise _Faulty(f"carrier {name}: schemes must be a tuple of lower-case URL schemes")
    for method in ("parse", "dial", "listen"):
        if not callable(getattr(carrier, method, None)):
            raise _Faulty(f"carrier {name}: no method {method}")
    upgrade = getattr(carrier, "upgrade", None)
    token = getattr(upgrade, "token", None)
    if not isinstance(token, bytes) or not _TOKEN.fullmatch(token):
        raise _Faulty(f"carrier {name}: upgrade.token must be a lower-case token in bytes")
    if not callable(getattr(upgrade, "offer", None)) or not callable(getattr(upgrade, "accept", None)):
        raise _Faulty(f"carrier {name}: upgrade needs offer and accept")


def _is_scheme(value: object) -> bool:
    return isinstance(value, str) and _SCHEME.fullmatch(value) is not None


def _dist(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else ""


def _validation(exc: pluggy.PluginValidationError) -> str:
    """pluggy's first line names the fault; the rest repeats signatures and module paths."""
    found = re.search(r"unknown hook '(\w+)'", str(exc))
    if found:
        return f"unknown hook {found[1]}, the known one is tunnel_carriers"
    return "tunnel_carriers takes no arguments"


def _cause(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"


def _line(text: str) -> str:
    """One printable line of at most 300 characters, whatever a plugin put into its exception."""
    flat = " ".join(text.split())
    return "".join(c if c.isprintable() else "?" for c in flat)[:300]
