"""Settings of ``agentd run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from tunnel.agentconfig import (
    HEALTH_PATH,
    LABEL,
    LEAST_INTERVAL,
    MAX_LABELS,
    MAX_POOL,
    MAX_SERVICES,
    MAX_TIMEOUT,
    service_target,
)
from tunnel.attach.server import AGENT_ID
from tunnel.settings import ByteSize, Duration, Section
from tunnel.targets import SERVICE_NAME, allow_list, parse_target
from yamux.carrier import TlsOptions


def _target(text: str) -> str:
    parse_target(text)
    return text


def _labels(value: object) -> object:
    if isinstance(value, dict):
        return [f"{key}={text}" for key, text in value.items()]
    return [value] if isinstance(value, str) else value


def _label(text: str) -> str:
    if not LABEL.fullmatch(text):
        raise ValueError(
            f'{text!r} is not a label such as "region=eu-1": letters, digits and . _ / - (: @ in the value)'
        )
    return text


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


class Tls(Section):
    """TLS towards the hub; PEM files."""

    ca_file: Path | None = None
    """Authorities to trust instead of the system's."""
    cert: Path | None = None
    """Own certificate chain, for hubs that ask for one."""
    key: Path | None = None
    """Private key, if not in ``cert``."""
    server_name: str | None = None
    """Name to ask for and to check instead of the URL's host."""


class Health(Section):
    """How the agent looks after a service."""

    path: str = ""
    """To GET, 2xx and 3xx being healthy; empty only connects."""
    interval: Annotated[Duration, Field(ge=LEAST_INTERVAL)] = 10.0
    """Between checks: what is broken shows within half a minute, and no service minds six requests a minute."""
    timeout: Annotated[Duration, Field(gt=0, le=MAX_TIMEOUT)] = 5.0
    """For one check, connecting included."""

    @field_validator("path")
    @classmethod
    def _path(cls, value: str) -> str:
        if value and not HEALTH_PATH.fullmatch(value):
            raise ValueError(f'{value!r} is no path such as "/healthz"')
        return value


class Service(Section):
    """One private service."""

    target: str
    """``http://``, ``https://``, ``unix://`` or ``tcp://`` URL."""
    health: Health | None = None
    """Looked after if given, also by an empty table."""

    @field_validator("target")
    @classmethod
    def _target(cls, value: str) -> str:
        try:
            service_target("x", value)
        except ValueError as exc:
            raise ValueError(str(exc).replace("x=", "", 1)) from None
        return value


class Remote(Section):
    """What the hub may change."""

    allow: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()
    """Names of services it may set, ``*`` for any. Empty: nothing at all, not even labels or limits."""

    @field_validator("allow")
    @classmethod
    def _allow(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name != "*" and not SERVICE_NAME.fullmatch(name):
                raise ValueError(f'{name!r} is no name of a service; "*" is any')
        return value


class Local(Section):
    """The agent's own socket, for ``agentd status`` and its like."""

    socket: str | None = None
    """Path; by default ``ID.sock`` in the runtime directory. ``none`` opens no socket."""

    @field_validator("socket")
    @classmethod
    def _socket(cls, value: str | None) -> str | None:
        if value is not None and value != "none" and not value.startswith("/"):
            raise ValueError(f'{value!r} is no absolute path, and not "none"')
        return value


class Limits(Section):
    """Budgets."""

    hold: ByteSize = 64 * 1024
    """Bytes of a request kept for a second try, or until there is a connection to the target (Pingora's figure)."""
    idle_connections: int = Field(default=256, ge=0)
    """Idle connections kept to each target. Fewer than visitors come at once means dialling anew in every burst."""
    streams: int = Field(default=2000, ge=1)
    """Streams a hub may hold open on one session: twice the 1,000 a hub uses, as closed ones count until it has heard."""


class Timeouts(Section):
    """Deadlines. Those of exchanges are kept by a sweep once a second, so each may be up to two seconds late."""

    attach: Duration = 15.0
    """Dialling the hub and its answer."""
    header: Duration = 10.0
    """A whole request head on a stream."""
    dial: Duration = 10.0
    """A new connection to a target, TLS included."""
    response: Duration = 60.0
    """A target that neither answers nor reads."""
    idle: Duration = 300.0
    """A response body without a byte (Envoy's figure)."""
    stall: Duration = 60.0
    """A visitor that does not read."""
    upgraded: Duration = 3600.0
    """An upgraded connection without a byte (Envoy's idle time of connections). The hub's own limit is mostly shorter."""
    keep_alive: Duration = 60.0
    """An idle connection to a target (nginx closes at 75 s; closing first avoids sending into its close)."""
    drain: Duration = 30.0
    """From the first signal to the cut."""


class AgentConfig(Section):
    """All of ``agentd run``."""

    hub: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = Field(default=(), validate_default=True)
    """Carrier URLs of the hubs to stay connected to, each on its own."""
    id: str | None = None
    """What to attach as. May stand in the URL instead."""
    target: Annotated[tuple[Annotated[str, AfterValidator(_target)], ...], BeforeValidator(_one_or_more)] = ()
    """Where the hub may have requests sent, the first one by default. Nothing else is ever connected to."""
    service: dict[str, Service] = Field(default_factory=dict, max_length=MAX_SERVICES)
    """The same by name, behind those of ``target``."""
    remote: Remote = Remote()
    local: Local = Local()
    state_dir: Path | None = None
    """Where the last configuration of a hub is kept; by default the state directory of the system or the user."""
    pool_size: int = Field(default=1, ge=1, le=MAX_POOL)
    """Sessions to keep to each hub. One does for most; more share the work where one connection is slow."""
    keep_host: bool = False
    """Pass the visitor's Host on instead of the target's."""
    label: Annotated[tuple[Annotated[str, AfterValidator(_label)], ...], BeforeValidator(_labels)] = Field(
        default=(), max_length=MAX_LABELS
    )
    """``key=value``, told to the hub."""
    token_file: str | None = None
    """File with the token, ``-`` for standard input. Read again for every attempt, so that it can be exchanged."""
    tls: Tls = Tls()
    insecure_plain_hub: bool = False
    """Reach hubs on other machines without TLS: requests and answers can be read on the way. A token is not sent so."""
    insecure_no_credentials: bool = False
    """Attach to hubs on other machines that ask for no token or certificate."""
    target_ca_file: Path | None = None
    """Authorities to trust for ``https://`` targets instead of the system's."""
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()

    @field_validator("hub")
    @classmethod
    def _hub(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("no hub to connect to: give one with --hub ws://HOST:PORT")
        return value

    @field_validator("id")
    @classmethod
    def _id(cls, value: str | None) -> str | None:
        if value is not None and not AGENT_ID.fullmatch(value):
            raise ValueError(f"{value!r} is no agent id: 1 to 128 letters, digits, '.', '_', '~' or '-'")
        return value

    @field_validator("service")
    @classmethod
    def _services(cls, value: dict[str, Service]) -> dict[str, Service]:
        targets = []
        for name, service in value.items():
            if not SERVICE_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a service: letters, digits, '.', '_' and '-', at most 63")
            target = service_target(name, service.target)
            if target.tcp and service.health is not None and service.health.path:
                raise ValueError(f"{name}: a tcp:// target has no paths: leave health.path away to only connect")
            targets.append(target)
        for tcp in (False, True):
            allow_list(targets, tcp=tcp)
        return value

    @property
    def insecure(self) -> list[str]:
        """Flags in use that take protection away; told at every start."""
        return [name for name in ("insecure_plain_hub", "insecure_no_credentials") if getattr(self, name)]

    @property
    def hub_tls(self) -> TlsOptions:
        """TLS towards the hubs."""
        tls = self.tls
        return TlsOptions(
            ca_file=_text(tls.ca_file), cert_file=_text(tls.cert), key_file=_text(tls.key), server_name=tls.server_name
        )

    @property
    def target_tls(self) -> TlsOptions:
        """TLS towards targets."""
        return TlsOptions(ca_file=_text(self.target_ca_file))

    @field_validator("target")
    @classmethod
    def _targets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for tcp in (False, True):
            allow_list([parse_target(text) for text in value], tcp=tcp)
        return value

    @model_validator(mode="after")
    def _names(self) -> AgentConfig:
        targets = [parse_target(text) for text in self.target]
        targets += [service_target(name, service.target) for name, service in self.service.items()]
        for tcp in (False, True):
            allow_list(targets, tcp=tcp)
        return self
