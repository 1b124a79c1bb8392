"""``hubd healthcheck``: whether the hub of this machine is well, for containers and scripts."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from hubd.config import HubConfig

# Docker's own limit for a check is 30 s; a hub that needs a tenth of that is not well.
_DEADLINE = 3.0
_UNHEALTHY = 1


def healthcheck(
    config: Annotated[
        Path | None, typer.Option("-c", "--config", help="TOML file with the hub's settings (/etc/hubd/hubd.toml).")
    ] = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT the hub listens on, as given to serve.")] = None,
    shallow: Annotated[bool, typer.Option("--shallow", help="Only whether visitors are answered.")] = False,
) -> None:
    """Ask the hub how it is. Ends with code 0 if it serves, 1 if it drains or does not answer."""
    from hubd.settings import read
    from tunnel.settings import EXIT_CONFIG, SettingsError

    try:
        settings = read(config, {"listen": listen})
    except SettingsError as error:
        _fail(str(error), EXIT_CONFIG)
    try:
        said = ask_visitors_way(settings.value)
        if not shallow:
            said = f"{said}, {ask_management(settings.value)}"
    except Unwell as error:
        _fail(str(error), _UNHEALTHY)
    typer.echo(said)


class Unwell(Exception):
    """The hub drains or does not answer; one line."""


def ask_visitors_way(config: HubConfig) -> str:
    """Ask /healthz where visitors come. Returns what it said. Raises Unwell."""
    plain, address = config.listen is not None, config.listen or config.tls_listen
    if address is None or address.port == 0:
        raise Unwell("the settings name no port to ask; give --listen HOST:PORT")
    # What listens everywhere answers at home as well.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    where = f"{host}:{address.port}"
    try:
        if plain:
            connection = http.client.HTTPConnection(host, address.port, timeout=_DEADLINE)
        elif config.tls is not None and config.tls.client_ca is not None:
            # It asks for a certificate we need not have; that it listens has to do.
            socket.create_connection((host, address.port), _DEADLINE).close()
            return f"{where} listens"
        else:
            connection = http.client.HTTPSConnection(host, address.port, timeout=_DEADLINE, context=_any_certificate())
        try:
            connection.request("GET", "/healthz")
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise Unwell(f"{where} does not answer: {getattr(error, 'strerror', None) or error}") from None
    if status != http.client.OK:
        raise Unwell(f"{where} drains" if status == http.client.SERVICE_UNAVAILABLE else f"{where} answers {status}")
    return f"{where} serves"


def _any_certificate() -> ssl.SSLContext:
    # Whether it is alive is asked, not who it is: the name in its certificate is hardly "localhost".
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ask_management(config: HubConfig) -> str:
    """Ask the health service of the management API on its socket. Returns what it said. Raises Unwell."""
    from hubd.admin.address import addresses_of, runtime_directory

    if config.admin.listen is None:
        path: Path | None = runtime_directory(os.environ) / "admin.sock"
    else:
        path = next((found.path for found in addresses_of(config.admin.listen) if found.path is not None), None)
    if path is None:
        return "no socket for management"
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(f"unix:{path}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            status = stub.Check(health_pb2.HealthCheckRequest(), timeout=_DEADLINE).status
        except grpc.RpcError as error:
            code = error.code() if isinstance(error, grpc.Call) else None
            raise Unwell(f"management at {path} does not answer: {code.name if code is not None else error}") from None
    if status != health_pb2.HealthCheckResponse.SERVING:
        raise Unwell(f"management at {path} says {health_pb2.HealthCheckResponse.ServingStatus.Name(status)}")
    return "management serves"


def _fail(text: str, code: int) -> NoReturn:
    for line in text.splitlines():
        typer.echo(f"hubd: {line}", err=True)
    raise typer.Exit(code)
