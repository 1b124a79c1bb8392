"""The agent at work: its server, its uplinks, its checks, and the plan they follow, from its own file and from a hub."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agentd.fleet import Fleet
from agentd.health import Checks, State
from agentd.kept import kept_path
from agentd.remote import Remote
from agentd.serve import Server
from agentd.services import Plan, own_plan
from agentd.terms import Terms
from tunnel.version import VERSION

if TYPE_CHECKING:
    from agentd.config import AgentConfig
    from agentd.control import Control
    from agentd.hubs import Hub
    from agentd.uplink import OnDrain
    from tunnel.logs import Secret
    from tunnelpb.agent.v1 import control_pb2
    from yamux import Session

logger = logging.getLogger("agentd")

RESTART = ("id", "local", "log_format", "state_dir", "target_ca_file", "token_file")
"""Settings a running agent does not change, by their first word. The token's file is read for every attempt anyway."""


class Agent:
    """One agent.

    Args:
        config: checked settings.
        hubs: from the settings' URLs.
        token: if it was read from standard input.

    Attributes:
        server: serves the streams of all hubs.
        fleet: the uplinks.
        checks: of the services.
        remote: what hubs have set.
        plan: in effect.
        started: seconds since the epoch.
    """

    server: Server
    fleet: Fleet
    checks: Checks
    remote: Remote
    plan: Plan

    def __init__(self, config: AgentConfig, hubs: Sequence[Hub], *, token: Secret | None = None) -> None:
        self.config = config
        self.instance = secrets.token_hex(8)
        self.started = time.time()
        self._hubs = list(hubs)
        self._token = token

    @property
    def agent_id(self) -> str:
        """What it attaches as, at the first hub."""
        return self._hubs[0].agent_id if self._hubs else self.config.id or ""

    def start(self) -> None:
        """Serve, and connect to every hub. Needs a running loop; never fails for what a hub does."""
        config = self.config
        self.server = Server(config, [], tls=config.target_tls)
        self.fleet = Fleet(self._terms(config.limits.streams), self.server, self._attend)
        self.checks = Checks(config.target_tls, self.server.guard, self.fleet.report)
        path = kept_path(config.state_dir, self.agent_id, os.environ)
        self.remote = Remote(config, path, _places(self._hubs), self._apply)
        self.plan = own_plan(config)
        self._follow(self.remote.start())
        self.fleet.connect(self._hubs, self.plan.pool_size, self.plan.carriers)

    def _terms(self, streams: int) -> Terms:
        config = self.config
        return Terms(
            instance=self.instance,
            labels=config.label,
            token_file=None if config.token_file == "-" else config.token_file,
            token=self._token,
            tls=config.hub_tls,
            timeout=config.timeouts.attach,
            streams=streams,
        )

    # -- plans -------------------------------------------------------------------------------------------------------

    def _apply(self, plan: Plan) -> None:
        """A hub has set something."""
        self._follow(plan)
        self.fleet.resize(plan.pool_size, plan.carriers)

    def _follow(self, plan: Plan) -> None:
        """Put a plan into effect, but for the sessions. Streams that are open go on."""
        before, self.plan = self.plan, plan
        self.server.set_idle_connections(plan.idle_connections)
        self.server.set_targets(plan.targets)
        self.checks.watch(plan.services)
        if plan.streams != before.streams:
            self.fleet.set_terms(self._terms(plan.streams), renew=False)
        if plan.log_level != before.log_level:
            logging.getLogger().setLevel(plan.log_level.upper())

    def reload(self, config: AgentConfig, hubs: Sequence[Hub]) -> tuple[list[str], list[str]]:
        """Take new settings of the agent's own, all of them or what does not need a restart.

        Args:
            config: checked.
            hubs: from its URLs.

        Returns:
            Dotted keys that took effect, and those that need a restart.
        """
        changed = differences(self.config, config)
        kept = {name: getattr(self.config, name) for name in RESTART}
        need_restart = [key for key in changed if key.partition(".")[0] in RESTART]
        attach = {key.partition(".")[0] for key in changed} & {"label", "tls"}
        self.config = config = config.model_copy(update=kept)
        self._hubs = list(hubs)
        self.server.configure(config)
        self._follow(self.remote.reload(config, _places(hubs)))
        self.fleet.set_terms(self._terms(self.plan.streams), renew=bool(attach))
        self.fleet.connect(self._hubs, self.plan.pool_size, self.plan.carriers)
        return [key for key in changed if key not in need_restart], need_restart

    # -- the control streams -----------------------------------------------------------------------------------------

    def _attend(self, session: Session, on_drain: OnDrain) -> Control:
        # grpcio takes 12 MiB, which an agent of a hub without control streams can do without.
        from agentd.control import Control

        return Control(session, self, self.remote, on_drain)

    def hello(self) -> control_pb2.Hello:
        """The agent, as it introduces itself."""
        from tunnelpb.agent.v1 import control_pb2

        return control_pb2.Hello(
            agent_version=VERSION,
            instance=self.instance,
            applied_config_version=self.remote.version,
            applied_config_digest=self.remote.digest,
            labels=dict(label.split("=", 1) for label in self.config.label),
            allowed_services=self.remote.allowed,
        )

    def status(self) -> control_pb2.Status:
        """How it is."""
        from tunnelpb.agent.v1 import control_pb2

        server = self.server
        return control_pb2.Status(
            services=[health_message(self, service.name) for service in self.plan.services],
            open_exchanges=server.active,
            served=server.served,
            failed=sum(server.errors.values()),
        )


def health_message(agent: Agent, name: str) -> Any:
    """How a service is, as a message."""
    from tunnelpb.agent.v1 import config_pb2 as pb

    states = {
        State.UNKNOWN: pb.ServiceHealth.STATE_UNKNOWN,
        State.HEALTHY: pb.ServiceHealth.STATE_HEALTHY,
        State.UNHEALTHY: pb.ServiceHealth.STATE_UNHEALTHY,
    }
    finding = agent.checks.found.get(name)
    if finding is None:
        return pb.ServiceHealth(service=name, state=pb.ServiceHealth.STATE_UNKNOWN)
    return pb.ServiceHealth(service=name, state=states[finding.state], detail=finding.detail)


def differences(old: AgentConfig, new: AgentConfig) -> list[str]:
    """Dotted keys whose values differ."""
    before, after = _flat(old.model_dump()), _flat(new.model_dump())
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def _flat(values: dict[str, Any], above: str = "") -> dict[str, object]:
    out: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            out |= _flat(value, f"{above}{name}.")
        else:
            out[above + name] = value
    return out


def _places(hubs: Sequence[Hub]) -> set[tuple[str, int | None]]:
    return {(hub.address.host.lower(), hub.address.port) for hub in hubs}
