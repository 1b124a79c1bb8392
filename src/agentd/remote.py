"""The configuration a hub has set: checked, kept, applied, answered for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.kept import Kept, KeptError, load, save
from agentd.services import Plan, Refused, own_plan, plan

if TYPE_CHECKING:
    from agentd.config import AgentConfig
    from tunnelpb.agent.v1 import control_pb2 as pb

logger = logging.getLogger("agentd.remote")

MAX_DETAIL = 20
"""Faults told to the hub; more would not be read either."""


class Remote:
    """What hubs have set.

    Several hubs may push; the last one that did is run. Give them the same, or let only one of them.

    Args:
        config: the agent's own settings.
        path: of the file in which the last good one is kept.
        hubs: hosts and ports of hubs, which are no targets.
        apply: puts a plan into effect, at once and without failing.

    Attributes:
        version: that is run, as its hub numbered it; 0 for none.
        digest: its SHA-256; b"" for none.
        error: why the last one pushed was refused; "" if it was not.
    """

    def __init__(
        self,
        config: AgentConfig,
        path: Path,
        hubs: Collection[tuple[str, int | None]],
        apply: Callable[[Plan], None],
    ) -> None:
        self.version = 0
        self.digest = b""
        self.error = ""
        self._config = config
        self._path = path
        self._hubs = hubs
        self._apply = apply
        self._kept: Kept | None = None
        self._turn = asyncio.Lock()

    @property
    def allowed(self) -> tuple[str, ...]:
        """Names of services a hub may set."""
        return self._config.remote.allow

    def start(self) -> Plan:
        """What to begin with: the kept configuration over the agent's own, or the agent's own. Reads the file."""
        if self._config.remote.allow:
            try:
                kept = load(self._path)
                if kept is not None:
                    begin = plan(self._config, kept.config, self._hubs)
                    self._run(kept)
                    logger.info("running the kept configuration", extra={"version": kept.version})
                    return begin
            except KeptError as exc:
                logger.warning("%s", exc)
            except Refused as exc:
                self.error = str(exc)
                logger.warning("not running the kept configuration: %s", "; ".join(exc.faults))
        return own_plan(self._config)

    def _run(self, kept: Kept) -> None:
        self._kept = kept
        self.version = kept.version
        self.digest = kept.digest
        self.error = ""

    async def take(self, push: pb.ConfigPush) -> str:
        """Run a configuration, or say why not: then the one before goes on.

        Returns:
            What is wrong with it, one line a fault; "" if it is run from now on.
        """
        async with self._turn:
            if self._kept is not None and (push.version, push.digest) == (self.version, self.digest):
                return ""
            try:
                wanted = plan(self._config, push.config, self._hubs)
            except Refused as exc:
                self.error = "\n".join(exc.faults[:MAX_DETAIL])
                logger.warning(
                    "refused the hub's configuration: %s", "; ".join(exc.faults[:MAX_DETAIL]),
                    extra={"version": push.version},
                )  # fmt: skip
                return self.error
            kept = Kept(push.version, push.digest, push.config)
            try:
                await asyncio.to_thread(save, self._path, kept)
            except KeptError as exc:
                # It works all the same until the next start.
                logger.warning("%s", exc)
            self._run(kept)
            self._apply(wanted)
            logger.info("running the hub's configuration", extra={"version": push.version})
            return ""

    def reload(self, config: AgentConfig, hubs: Collection[tuple[str, int | None]]) -> Plan:
        """What to run by new settings of the agent's own. What they no longer allow a hub is out of effect."""
        self._config = config
        self._hubs = hubs
        if self._kept is None:
            return own_plan(config)
        try:
            return plan(config, self._kept.config, hubs)
        except Refused as exc:
            logger.warning("the hub's configuration is out of effect: %s", "; ".join(exc.faults))
            self._kept = None
            self.version, self.digest, self.error = 0, b"", str(exc)
            return own_plan(config)
