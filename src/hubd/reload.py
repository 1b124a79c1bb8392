"""Reading the settings again while the hub runs: everything is checked first, then what can change at once does.

What cannot, such as an address, keeps its old value and is named. Nothing is applied by halves.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hubd.accesslog import AccessLog
from hubd.config import HubConfig
from hubd.doors import tls_context
from hubd.identity.desk import load_authorities
from hubd.listeners import ListenError
from tunnel.settings import Loaded, SettingsError

if TYPE_CHECKING:
    from hubd.app import App

logger = logging.getLogger("hubd")

Load = Callable[[], Loaded[HubConfig]]
"""Gathers the settings of all layers, as at the start. Blocking; raises SettingsError."""

LIVE = ("access_log", "domain", "limits", "log_level", "policy", "timeouts", "tls", "trusted_proxies", "visitors")
"""Settings that change at once, by their first word."""
RESTART = ("limits.backlog",)
"""Those under a word above that do not: the kernel took the number when the socket was opened."""


@dataclass(slots=True)
class Reloaded:
    """What came of a reload.

    Attributes:
        applied: dotted keys that took effect.
        need_restart: dotted keys whose new value waits for a restart or a hand-over.
        faults: what is wrong with the settings, one line each; nothing was changed then.
    """

    applied: list[str] = field(default_factory=list)
    need_restart: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Reloader:
    """Reloads one hub's settings, one reload at a time.

    Args:
        app: whose.
        load: gathers the settings.
    """

    def __init__(self, app: App, load: Load) -> None:
        self._app = app
        self._load = load
        self._lock = asyncio.Lock()
        self._loaded: Loaded[HubConfig] | None = None
        self._certificate = _fingerprint(app.config)

    @property
    def settings(self) -> Loaded[HubConfig]:
        """The settings of the last load that had no fault, with their origins."""
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def origins(self) -> dict[str, str]:
        """Where each setting came from, by dotted key; nothing while the file has faults. Reads it the first time."""
        try:
            return self.settings.origins
        except SettingsError:
            return {}

    async def reload(self) -> Reloaded:
        """Read, check, and apply what can be applied. Never raises for what the settings say."""
        stats = self._app.hub.stats
        async with self._lock:
            try:
                result = await self._reload()
            except SettingsError as exc:
                result = Reloaded(faults=[str(fault) for fault in exc.faults])
            except (ListenError, OSError) as exc:
                result = Reloaded(faults=[str(exc)])
        if result.faults:
            stats.reloads_failed += 1
            for fault in result.faults:
                logger.error("settings not taken: %s", fault)
        else:
            stats.reloads += 1
            extra = {"applied": " ".join(result.applied), "need_restart": " ".join(result.need_restart)}
            logger.info("settings read again", extra=extra)
        return result

    async def _reload(self) -> Reloaded:
        app = self._app
        loaded = await asyncio.get_running_loop().run_in_executor(None, self._load)
        old = app.hub.config
        changed = differences(old, loaded.value)
        result = Reloaded([key for key in changed if is_live(key)], [key for key in changed if not is_live(key)])
        new = merged(old, loaded.value)
        context, print_ = self._check_certificate(new, result)
        # Lists of revoked certificates are long.
        authorities = await asyncio.get_running_loop().run_in_executor(None, load_authorities, new)
        log = self._check_access_log(new)
        # Nothing below fails.
        self._loaded = loaded
        app.hub.configure(new)
        if old.log_level != new.log_level:
            logging.getLogger().setLevel(new.log_level.upper())
        app.use_access_log(log)
        app.identity.configure(authorities)
        if context is not None and app.doors is not None and "tls_listen" in app.doors.ports:
            await app.doors.ports["tls_listen"].present(context)
            self._certificate = print_
        return result

    def _check_certificate(self, new: HubConfig, result: Reloaded) -> tuple[ssl.SSLContext | None, bytes]:
        """A context for the TLS port if its files hold something new."""
        print_ = _fingerprint(new)
        if new.tls is None or new.tls_listen is None or print_ == self._certificate:
            return None, print_
        if not any(key.startswith("tls.") for key in result.applied):
            result.applied.append("tls.cert")
        return tls_context(new), print_

    def _check_access_log(self, new: HubConfig) -> AccessLog | None:
        """The access log, opened anew: whoever rotates logs asks for just that."""
        if new.access_log is None:
            return None
        try:
            return AccessLog(new.access_log)
        except OSError as exc:
            raise ListenError(f"access_log: cannot write {new.access_log}: {exc.strerror}") from exc


def is_live(key: str) -> bool:
    """Whether a setting can change while the hub runs."""
    return key.partition(".")[0] in LIVE and key not in RESTART


def differences(old: HubConfig, new: HubConfig) -> list[str]:
    """Dotted keys whose values differ."""
    before, after = _flat(old.model_dump()), _flat(new.model_dump())
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def merged(old: HubConfig, new: HubConfig) -> HubConfig:
    """The new values of what can change, the old ones of everything else."""
    changes: dict[str, Any] = {name: getattr(new, name) for name in LIVE}
    changes["limits"] = new.limits.model_copy(update={"backlog": old.limits.backlog})
    return old.model_copy(update=changes)


def _flat(values: dict[str, Any], above: str = "") -> dict[str, object]:
    out: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{above}{name}.")
        else:
            out[above + name] = value
    return out


def _fingerprint(config: HubConfig) -> bytes:
    """Tells whether the certificate's files hold the same as before; files that cannot be read count as empty."""
    digest = hashlib.sha256()
    tls = config.tls
    for path in (tls.cert, tls.key, tls.client_ca, config.visitors.client_ca) if tls is not None else ():
        if path is not None:
            try:
                digest.update(path.read_bytes())
            except OSError:
                digest.update(b"\0")
    return digest.digest()
