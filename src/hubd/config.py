"""Settings of ``hubd serve``."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from hubd.admin.address import AdminAddress
from hubd.headers import Networks
from hubd.identity.passwords import is_hash
from hubd.pick import POLICIES
from hubd.rates import LEAST_FLOW
from tunnel.http1 import DEFAULT_LIMITS
from tunnel.settings import ByteSize, Duration, HostPort, Section

_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_DOMAIN = re.compile(r"(?=.{1,240}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")


def _networks(value: object) -> object:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        return value
    out = []
    for item in value:
        try:
            out.append(ipaddress.ip_network(str(item)))
        except ValueError:
            raise ValueError(f'{item!r} is not an address or a network such as "10.0.0.0/8"') from None
    return tuple(out)


class Tls(Section):
    """The TLS listener's files, PEM."""

    cert: Path
    """Own certificate chain."""
    key: Path | None = None
    """Private key, if not in ``cert``."""
    client_ca: Path | None = None
    """Authorities of client certificates, which are then required."""
    client_crl: Path | None = None
    """Lists of the certificates that authorities of ``client_ca`` have revoked, PEM."""
    clients: Literal["required", "optional"] | None = None
    """Whether connections without a client certificate are refused; by default if there is ``client_ca`` and no other."""


class Auth(Section):
    """How agents prove who they are."""

    agent_certificates: bool = False
    """A certificate of ``tls.client_ca`` with the agent's id as a name does as well as a token."""


class Limits(Section):
    """Budgets. What is larger is refused or held back, never buffered. Agents take heads of the most that can be set here."""

    head: Annotated[ByteSize, Field(ge=1024, le=128 * 1024)] = DEFAULT_LIMITS.head
    """A whole request head, trailers included. Four full lines, as nginx has it; 128 KiB at most."""
    line: Annotated[ByteSize, Field(ge=256, le=64 * 1024)] = DEFAULT_LIMITS.line
    """Its target, and each of its field lines; 64 KiB at most. nginx and Apache take 8 KiB."""
    fields: int = Field(default=DEFAULT_LIMITS.fields, ge=10, le=500)
    """Field lines in it (Apache's default; browsers send about 20)."""
    body: ByteSize | None = None
    """Largest request body; no limit by default, since nothing is stored here."""
    ahead: ByteSize = 64 * 1024
    """Bytes read ahead of what can be sent on, per visitor: pipelined requests, bytes behind an Upgrade."""
    replay: ByteSize = 64 * 1024
    """Request body kept for a second try on another session (Pingora's figure)."""
    linger: ByteSize = 64 * 1024
    """Bytes read and dropped after a refusal, so that the answer is not lost to a reset."""
    buffered: ByteSize = 512 * 1024 * 1024
    """Bytes held for others in all; at 95 % nothing more is read, at 98 % requests are refused. A quarter of a small
    machine's memory; what else the hub needs is far less."""
    connections: int = Field(default=0, ge=0)
    """Visitors' connections at once; 0 is what the limit of open files allows."""
    sessions: int = Field(default=64, ge=0)
    """Sessions of one agent at once, 0 for no limit: a fleet behind one name, not an agent that cannot count."""
    streams: int = Field(default=0, ge=0)
    """Requests in progress for one agent, 0 for no limit beyond the 1,000 of each session."""
    request_rate: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Requests a second for one agent, 0 for no limit."""
    bandwidth: ByteSize = 0
    """Bytes a second for one agent, each way, 0 for no limit."""
    visitor_request_rate: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Requests a second of one visitor's address for one agent, 0 for no limit."""
    visitor_bandwidth: ByteSize = 0
    """Bytes a second of one visitor's address for one agent, each way, 0 for no limit."""
    handshakes: int = Field(default=200, ge=1)
    """Agents that attach at the same moment; at about 1 ms each of TLS, one that waits is served within 0.2 s."""
    backlog: int = Field(default=4096, ge=1)
    """The kernel's queue of connections not yet accepted; asyncio's 100 drops bursts."""

    @model_validator(mode="after")
    def _line_in_head(self) -> Limits:
        if self.line > self.head:
            raise ValueError(f"limits.line: {self.line} bytes do not fit into a head of {self.head}: raise limits.head")
        return self

    @field_validator("bandwidth", "visitor_bandwidth")
    @classmethod
    def _flow(cls, value: int) -> int:
        if 0 < value < LEAST_FLOW:
            raise ValueError(f"at least {LEAST_FLOW} bytes a second, or 0 for no limit")
        return value


class Timeouts(Section):
    """Deadlines, kept by a sweep once a second, so each may be up to a second late."""

    header: Duration = 10.0
    """A whole request head, from its first byte."""
    body: Duration = 30.0
    """A request body without a byte, and the window over which its rate is judged."""
    body_rate: int = Field(default=240, ge=0)
    """Bytes a second a request body must reach (Kestrel's figure)."""
    idle: Duration = 60.0
    """A connection between requests (nginx has 75 s)."""
    response: Duration = 60.0
    """From the last byte of the request that left to the response's head."""
    stall: Duration = 60.0
    """A visitor that does not read."""
    stream_idle: Duration = 300.0
    """A response body or an upgraded connection without a byte (Envoy's figure)."""
    queue: Duration = 2.0
    """Waiting for a free stream."""
    linger: Duration = 2.0
    """Reading on after a refusal."""
    attach: Duration = 10.0
    """Deciding on an agent."""
    authorize: Duration = 5.0
    """Deciding on a visitor, where that takes a password or a plugin. People leave after some seconds."""
    drain: Duration = 30.0
    """From the first signal to the cut."""


class Visitors(Section):
    """Who may visit agents that have no rule of their own."""

    mode: Literal["open", "bearer", "basic", "certificate"] = "open"
    """Anybody, with a visitor's token, with user and password, or with a certificate of ``client_ca``."""
    allow_networks: Annotated[Networks, BeforeValidator(_networks)] = ()
    """Where visitors may come from; empty is anywhere."""
    users: dict[str, str] = Field(default_factory=dict, repr=False)
    """For ``basic``: what ``hubd hash-password`` made of a password, by user."""
    client_ca: Path | None = None
    """Authorities of visitors' certificates, PEM. They count for no agent."""
    client_crl: Path | None = None
    """Lists of the certificates that authorities of ``client_ca`` have revoked, PEM."""
    forward_credentials: bool = False
    """Pass an Authorization that the hub asked for on to the target."""

    @field_validator("users")
    @classmethod
    def _users(cls, value: dict[str, str]) -> dict[str, str]:
        for name, kept in value.items():
            if not is_hash(kept):
                raise ValueError(f"the password of {name} is not a hash: make one with hubd hash-password")
        return value

    @model_validator(mode="after")
    def _certificate(self) -> Visitors:
        if self.mode == "certificate" and self.client_ca is None:
            raise ValueError("mode certificate needs the authority that signs them: give visitors.client_ca")
        return self


class Hooks(Section):
    """Plugins that decide."""

    disable: tuple[str, ...] = ()
    """Names of hook plugins to leave alone."""


class Store(Section):
    """What the hub remembers over a restart."""

    path: Path | None = None
    """The file; by default in memory with ``dev``, else ``hub.db`` in ``$STATE_DIRECTORY`` or /var/lib/hubd."""


class RouteSettings(Section):
    """Routes made over the management API."""

    host: str = "127.0.0.1"
    """Where TCP routes open their ports; another machine can use them only if this is not loopback."""


class AdminTls(Section):
    """Certificate of the management API on TCP, PEM files; read again when they change."""

    cert: Path
    """Own certificate chain."""
    key: Path | None = None
    """Private key, if not in ``cert``."""


class Admin(Section):
    """The management API."""

    listen: tuple[str, ...] | None = None
    """``unix:/PATH`` or ``HOST:PORT``; by default a socket in the runtime directory, and nothing if it is empty."""
    tls: AdminTls | None = None
    """Needed on TCP."""
    client_ca: Path | None = None
    """Authorities of client certificates, which are then required on TCP."""
    client_crl: Path | None = None
    """Lists of the certificates that authorities of ``client_ca`` have revoked, PEM."""
    clients: dict[str, Literal["viewer", "operator", "admin"]] = Field(default_factory=dict)
    """Role by name in a client's certificate (subject alternative or common name)."""

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for text in value or ():
            AdminAddress.parse(text)
        return value

    @model_validator(mode="after")
    def _safe(self) -> Admin:
        tcp = next((text for text in self.listen or () if AdminAddress.parse(text).path is None), None)
        if tcp is not None and self.tls is None:
            raise ValueError(f"admin.listen {tcp} needs TLS: give admin.tls, or listen on unix:/PATH")
        if self.clients and self.client_ca is None:
            raise ValueError("admin.clients names client certificates: give admin.client_ca, which signs them")
        return self


def _own_name() -> str:
    """The machine's name as an id."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:63].strip("._-")
    return name or "hub"


class Web(Section):
    """The web port for metrics and health."""

    listen: HostPort | None = None
    """Where; none by default. Loopback only, since nobody has to say who he is there."""

    @field_validator("listen")
    @classmethod
    def _loopback(cls, value: HostPort | None) -> HostPort | None:
        if value is not None and not value.is_loopback:
            raise ValueError(
                f"{value} is open to other machines, and metrics ask nobody who he is: "
                f"use 127.0.0.1:{value.port}, and an agent or a proxy of your own on this machine"
            )
        return value


class HubConfig(Section):
    """All of ``hubd serve``."""

    id: str = Field(default_factory=_own_name)
    """Name of this hub in the management API; by default the machine's."""
    dev: bool = False
    """Let any agent attach. Loopback listeners only."""
    listen: HostPort | None = HostPort("127.0.0.1", 8882)
    """Visitors and agents, plain HTTP/1.1."""
    tls_listen: HostPort | None = None
    """The same with TLS; needs ``tls``."""
    tls: Tls | None = None
    carriers: tuple[str, ...] = ()
    """Further listeners, as carrier URLs."""
    domain: str | None = None
    """Serve agents at ``{id}.<domain>`` as well."""
    policy: Literal["least-streams", "random", "round-robin"] = "least-streams"
    auth: Auth = Auth()
    visitors: Visitors = Visitors()
    hooks: Hooks = Hooks()
    insecure_plain_agents: bool = False
    """Let agents of other machines attach without TLS: tokens can be read on the way."""
    insecure_plain_visitors: bool = False
    """Serve other machines without TLS: requests, passwords and tokens of visitors can be read on the way."""
    trusted_proxies: Annotated[Networks, BeforeValidator(_networks)] = ()
    """Peers whose forwarding headers are kept."""
    access_log: str | None = None
    """File for one JSON line a request, ``-`` for standard output."""
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    store: Store = Store()
    admin: Admin = Admin()
    routes: RouteSettings = RouteSettings()
    web: Web = Web()
    control: bool = True
    """Let agents open a control stream, on which they are configured and told of drains; 50 KiB for each that does."""
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()

    @field_validator("id")
    @classmethod
    def _id(cls, value: str) -> str:
        if not _ID.fullmatch(value):
            raise ValueError(f'{value!r} is not an id: letters, digits, ".", "_" and "-", at most 63 of them')
        return value

    @property
    def store_path(self) -> Path | None:
        """Where the store is; None keeps it in memory."""
        if self.store.path is not None or self.dev:
            return self.store.path
        # systemd sets it for StateDirectory=, a list if that is one.
        folder = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
        return Path(folder or "/var/lib/hubd") / "hub.db"

    @field_validator("domain")
    @classmethod
    def _domain(cls, value: str | None) -> str | None:
        if value is None:
            return None
        value = value.lower().removesuffix(".")
        if not _DOMAIN.fullmatch(value):
            raise ValueError(f'{value!r} is not a domain name such as "tunnel.example.com"')
        return value

    @model_validator(mode="after")
    def _listeners(self) -> HubConfig:
        for name, address in (("listen", self.listen), ("tls_listen", self.tls_listen)):
            if address is not None and not address.is_loopback:
                self._check_open(name, address)
        if self.tls_listen is not None and self.tls is None:
            raise ValueError("tls_listen needs a certificate: give --tls-cert and --tls-key")
        if self.tls is not None and self.tls_listen is None and not self.carriers:
            raise ValueError("a certificate without a TLS listener: give --tls-listen HOST:PORT")
        if self.listen is None and self.tls_listen is None and not self.carriers:
            raise ValueError("nothing to listen on: give listen, tls_listen or carriers")
        if self.visitors.client_ca is not None and self.tls is None:
            raise ValueError("visitors.client_ca needs a TLS listener: give --tls-listen, --tls-cert and --tls-key")
        for name, _, signers in self.revocation_lists():
            if signers is None:
                raise ValueError(f"{name}.client_crl needs the authorities that sign it: give {name}.client_ca")
        if self.auth.agent_certificates and (self.tls is None or self.tls.client_ca is None):
            raise ValueError("auth.agent_certificates needs the authority that signs them: give tls.client_ca")
        return self

    def revocation_lists(self) -> Iterator[tuple[str, Path, Path | None]]:
        """Each file of revocation lists: its section, the file, and that of the authorities which sign them."""
        for name, section in (("tls", self.tls), ("visitors", self.visitors), ("admin", self.admin)):
            if section is not None and section.client_crl is not None:
                yield name, section.client_crl, section.client_ca

    def _check_open(self, name: str, address: HostPort) -> None:
        """Raises ValueError for a listener that other machines may not reach, with the setting that is missing."""
        if self.dev:
            raise ValueError(
                f"{name} {address} is open to other machines, and --dev lets anybody attach: drop --dev, "
                f"or use 127.0.0.1:{address.port}"
            )
        if name == "listen" and not (self.trusted_proxies or self.insecure_plain_visitors):
            raise ValueError(
                f"listen {address} is open to other machines without TLS: use --tls-listen with --tls-cert and "
                "--tls-key, name the proxy before it in trusted_proxies, or say --insecure-plain-visitors"
            )

    @property
    def insecure(self) -> list[str]:
        """Flags in use that take protection away; told at every start."""
        return [name for name in ("insecure_plain_agents", "insecure_plain_visitors") if getattr(self, name)]


assert set(POLICIES) == set(HubConfig.model_fields["policy"].annotation.__args__)  # type: ignore[union-attr]
