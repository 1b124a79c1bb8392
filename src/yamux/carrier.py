"""What a session rides on: the interfaces between yamux, carriers and whoever dials or listens.

A carrier is a reliable, ordered byte pipe. Dialling or accepting one gives an ordinary `asyncio.Transport`; an HTTP
Upgrade then turns the connection into a session. Everything here is typing and small frozen values: no sockets, no
clock, nothing outside the standard library.

Three objects meet in an upgrade (RFC 9110 section 7.8):

* `Upgrade` knows one upgrade token. It makes the client's `Offer` and answers one on the server.
* `Offer` holds the fields the client sends, and reads the server's 101 fields.
* `Framing`, the result on either side, says how session bytes ride on the upgraded connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "Carrier",
    "CarrierAddress",
    "Fields",
    "Framing",
    "Listener",
    "Offer",
    "ProtocolFactory",
    "TlsOptions",
    "Upgrade",
    "UpgradeRefused",
]

Fields = list[tuple[bytes, bytes]]
"""Header fields in wire order; names in any case, values without surrounding blanks."""

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


@dataclass(frozen=True, slots=True)
class CarrierAddress:
    """A parsed carrier URL.

    Args:
        url: the URL as given, without user info (a URL that carries any is refused by `Carrier.parse`).
        scheme: lower case, without `://`.
        host: name or IP address without brackets, or an absolute file system path for local sockets.
        port: TCP port, None where the carrier has no such thing.
        path: HTTP base path without a trailing slash; "" if none.
        secure: bytes are encrypted and the peer is verified by default.
        local: loopback or a socket in the file system.
    """

    url: str
    scheme: str
    host: str
    port: int | None
    path: str
    secure: bool
    local: bool

    @property
    def authority(self) -> str:
        """The Host header's value (RFC 9110 section 7.2): without HTTP's own ports 443 (secure) and 80, as front proxies
        match it literally; `localhost` for sockets in the file system."""
        if not self.host or self.host.startswith("/"):
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port in (None, 443 if self.secure else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """Files and switches of one TLS endpoint. Paths are PEM files.

    Args:
        ca_file: authorities to trust: for a client instead of the system's, for a server those of client certificates
            (which it then requires).
        cert_file: own certificate chain. Required on a server, optional on a client.
        key_file: its private key, if not in `cert_file`.
        server_name: name to send and to check instead of the address' host. Clients only.
        insecure_skip_verify: accept any server certificate. Never set by default.
        client_optional: with `ca_file`, let clients without a certificate in as well. Servers only.
        also_ca_file: further authorities of client certificates. Servers only.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False
    client_optional: bool = False
    also_ca_file: str | None = None


class UpgradeRefused(Exception):
    """An upgrade that cannot be agreed.

    Raised on the server for a request (the status and headers are the answer's), and on the client for a 101 that
    does not fit the offer (status 502 then; it is never sent anywhere).

    Args:
        status: HTTP status.
        code: short stable identifier, snake case.
        message: one line for people.
        headers: fields the answer must carry, e.g. `Upgrade` with a 426.
    """

    def __init__(self, status: int, code: str, message: str, headers: Fields | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers: Fields = list(headers or [])


class Framing(Protocol):
    """How session bytes ride on an upgraded connection."""

    def start(self, transport: asyncio.Transport, session: asyncio.Protocol, leftover: bytes) -> None:
        """Make `session` the protocol of the connection.

        Synchronous: when it returns, `session.connection_made` has been called with the transport the session is to
        use, and `leftover` has been handed on.

        Args:
            transport: the upgraded connection; its present protocol is replaced.
            session: protocol to run.
            leftover: bytes read from the connection behind the upgrade's head.
        """


class Offer(Protocol):
    """One client's wish for an upgrade. Used once."""

    @property
    def headers(self) -> Fields:
        """Fields to send beside `Upgrade` and `Connection`, which the caller writes."""

    def confirm(self, headers: Fields) -> Framing:
        """Read the fields of the server's 101.

        Raises:
            UpgradeRefused: they do not answer this offer.
        """


class Upgrade(Protocol):
    """One HTTP upgrade token, e.g. `yamux` or `websocket`. Stateless, shared by all connections."""

    @property
    def token(self) -> bytes:
        """Lower case."""

    def offer(self) -> Offer:
        """Start an upgrade as the client."""

    def accept(self, headers: Fields) -> tuple[Fields, Framing]:
        """Answer a client's offer.

        Args:
            headers: the request's fields.

        Returns:
            Fields of the 101 beside `Upgrade` and `Connection`, which the caller writes, and the framing.

        Raises:
            UpgradeRefused: with the status, code and fields to answer with.
        """


class Listener(Protocol):
    """An open listening socket."""

    @property
    def addresses(self) -> list[str]:
        """What is listened on, as URLs of the carrier with actual ports; empty once closed."""

    def close(self) -> None:
        """Stop accepting. Accepted connections go on. Idempotent."""

    async def wait_closed(self) -> None:
        """Return once the socket is closed. Does not wait for accepted connections."""


class Carrier(Protocol):
    """A kind of byte pipe, known by its URL schemes. Stateless; one object serves the whole process."""

    @property
    def name(self) -> str:
        """Unique among installed carriers, `[a-z][a-z0-9_-]*`."""

    @property
    def schemes(self) -> tuple[str, ...]:
        """URL schemes this carrier owns, lower case."""

    @property
    def upgrade(self) -> Upgrade:
        """The upgrade a client of this carrier offers."""

    def parse(self, url: str) -> CarrierAddress:
        """Read a URL of one of the schemes. No I/O.

        Raises:
            ValueError: one clear line that repeats no secret.
        """

    async def dial(
        self, address: CarrierAddress, factory: ProtocolFactory, *, tls: TlsOptions, timeout: float
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect, with TLS where the scheme says so.

        Args:
            address: from `parse`.
            factory: makes the connection's protocol.
            tls: ignored by schemes without TLS.
            timeout: seconds for name resolution, connect and TLS handshake together.

        Raises:
            TimeoutError: the time is over.
            OSError: one clear line; refusals are ConnectionRefusedError, TLS faults ssl.SSLError.
            ValueError: TLS files that cannot be used.

        Cancellation closes the socket; nothing is left behind.
        """

    async def listen(
        self, address: CarrierAddress, factory: ProtocolFactory, *, tls: TlsOptions | None, backlog: int
    ) -> Listener:
        """Accept connections, each with a protocol of its own from `factory`.

        Args:
            address: from `parse`; port 0 takes a free one.
            factory: makes each connection's protocol.
            tls: certificate and key; needed by schemes with TLS, refused by those without.
            backlog: length of the kernel's queue of connections not yet accepted.

        Raises:
            OSError: the address cannot be had.
            ValueError: TLS files missing or unusable.
        """
