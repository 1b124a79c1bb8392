"""The servers of the management API: one gRPC server an address, all in the hub's loop."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from carrier_api import server_context
from hubd.admin.address import AddressError, AddressTaken, AdminAddress, FindAddresses, claimed, make_room
from hubd.admin.caller import AuthenticateAdmin
from hubd.admin.endless import Endings
from hubd.admin.gate import Gate
from hubd.admin.identify import local, remote
from yamux.carrier import TlsOptions

if TYPE_CHECKING:
    from hubd.config import Admin
    from hubd.state import Hub

logger = logging.getLogger("hubd.admin")

HEALTH_NAMES = ("", "tunnelpb.hub.v1", "tunnel.ready")
# What calls in progress get at the very end; endless streams have been ended before.
STOP_GRACE = 0.5

OPTIONS: list[tuple[str, int]] = [
    # Clients may ping every 10 s, as many do; gRPC's own default cuts them after the third.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A page of 1,000 rows is some 500 KiB.
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_send_message_length", 4 << 20),
    # Two hubs on one port would share its connections at random.
    ("grpc.so_reuseport", 0),
]
# Twenty dashboards with ten watches each leave room for calls; what is beyond gets RESOURCE_EXHAUSTED.
MAX_CALLS = 1000

Register = Callable[[Any], None]
"""Adds one service to a server."""


class Health(health.aio.HealthServicer):  # type: ignore[misc]
    """The library's, whose own List is an error."""

    async def List(
        self, request: health_pb2.HealthListRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthListResponse:
        """Every name and its status."""
        answers = {
            name: await self.Check(health_pb2.HealthCheckRequest(service=name), context) for name in HEALTH_NAMES
        }
        return health_pb2.HealthListResponse(statuses=answers)


class AdminServer:
    """The management API of one hub.

    Args:
        hub: shared state.
        find: says where to listen.
        settings: for TCP.
        services: name of each service and what adds it to a server.
        authenticate: knows bearer tokens on TCP.
        revoked: whether a client certificate, in DER, opens nothing any more.
        endings: ends watches.
    """

    def __init__(
        self,
        hub: Hub,
        find: FindAddresses,
        settings: Admin,
        services: dict[str, Register],
        *,
        authenticate: AuthenticateAdmin,
        revoked: Callable[[bytes], bool],
        endings: Endings,
    ) -> None:
        self._hub = hub
        self._find = find
        self._settings = settings
        self._services = services
        self._authenticate = authenticate
        self._revoked = revoked
        self.endings = endings
        self._servers: list[grpc.aio.Server] = []
        self._health = Health()
        self.addresses: list[str] = []

    async def start(self) -> None:
        """Listen everywhere. May be called again after a stop.

        Raises:
            AddressError: an address cannot be had; nothing is left open then.
        """
        for name in HEALTH_NAMES:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        try:
            await self._listen_everywhere()
        except BaseException:
            await self.stop(0.0)
            raise

    async def _listen_everywhere(self) -> None:
        wanted = self._find()
        try:
            for address in wanted:
                await self._listen(address)
        except AddressTaken:
            # A hub that starts at this moment may have taken the default; then there is another one.
            others = self._find()
            if self.addresses or others == wanted:
                raise
            for address in others:
                await self._listen(address)

    async def _listen(self, address: AdminAddress) -> None:
        if address.path is not None:
            server = self._server(Gate(self._hub, local))
            names = (*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
            with claimed(address.path):
                make_room(address.path)
                _bind_private(server, address.path)
            shown = str(address)
        else:
            server = self._server(Gate(self._hub, remote(self._authenticate, self._settings.clients, self._revoked)))
            host = address.tcp.host if address.tcp is not None else ""
            port = _bind_tls(server, address, self._credentials())
            shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._servers.append(server)
        await server.start()
        self.addresses.append(shown)
        logger.info("management API", extra={"address": shown})

    def _server(self, gate: Gate) -> Any:
        server = grpc.aio.server(interceptors=[gate], options=OPTIONS, maximum_concurrent_rpcs=MAX_CALLS)
        for register in self._services.values():
            register(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        return server

    def _credentials(self) -> grpc.ServerCredentials:
        settings = self._settings
        tls = settings.tls
        if tls is None:
            raise AddressError("the management API on TCP needs TLS: give admin.tls, or listen on unix:/PATH")
        files = CertificateFiles(tls.cert, tls.key, settings.client_ca)
        return grpc.dynamic_ssl_server_credentials(
            files.load(),
            files.fetch,  # type: ignore[arg-type] # the stubs forget that None means no change
            require_client_authentication=settings.client_ca is not None,
        )

    async def leave(self) -> None:
        """Tell everybody that the hub drains: health, and an end for every watch. Calls are still answered."""
        for name in HEALTH_NAMES:
            await self._health.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)
        self.endings.end_all()

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """End every call and stop listening. Harmless when repeated."""
        self.endings.end_all()
        servers, self._servers = self._servers, []
        self.addresses.clear()
        for server in servers:
            await server.stop(grace)


def _bind_private(server: Any, path: Path) -> None:
    """Listen on a socket only we may open. gRPC makes it under the umask, and there must be no moment of a wider one."""
    before = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{path}")
    except RuntimeError:
        raise AddressError(f"cannot listen on {path}: see that its directory is ours and can be written") from None
    finally:
        os.umask(before)


def _bind_tls(server: Any, address: AdminAddress, credentials: grpc.ServerCredentials) -> int:
    try:
        port: int = server.add_secure_port(str(address), credentials)
    except RuntimeError:
        raise AddressError(
            f"cannot listen on {address}: it is in use or not this machine's; choose another with --admin HOST:PORT"
        ) from None
    return port


class CertificateFiles:
    """Certificate, key and client authorities from files, read again when one of them has changed.

    Args:
        cert: own chain, PEM.
        key: own key, None if it is in ``cert``.
        client_ca: authorities of clients, None to ask for no certificate.
    """

    def __init__(self, cert: Path, key: Path | None, client_ca: Path | None) -> None:
        self._cert = cert
        self._key = key or cert
        self._ca = client_ca
        self._seen: tuple[int, ...] = ()

    def load(self) -> grpc.ServerCertificateConfiguration:
        """What the files hold.

        Raises:
            AddressError: they cannot be used.
        """
        options = TlsOptions(
            ca_file=str(self._ca) if self._ca is not None else None, cert_file=str(self._cert), key_file=str(self._key)
        )
        try:
            # First, so that a broken file is told once and not at every handshake.
            self._seen = self._stamps()
            # gRPC says nothing of what is wrong with a file.
            server_context(options)
            pair = (self._key.read_bytes(), self._cert.read_bytes())
            roots = self._ca.read_bytes() if self._ca is not None else None
        except (ValueError, OSError) as exc:
            raise AddressError(f"management API: TLS: {exc}") from exc
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Asked by gRPC at every handshake; None keeps what there is. Also when new files cannot be used."""
        try:
            if self._stamps() == self._seen:
                return None
            return self.load()
        except (AddressError, OSError) as exc:
            logger.warning("keeping the certificate there is: %s", exc)
            return None

    def _stamps(self) -> tuple[int, ...]:
        files = [self._cert, self._key, *([self._ca] if self._ca is not None else [])]
        return tuple(file.stat().st_mtime_ns for file in files)
