"""Connecting to a target: resolve, check every address, connect to a checked one."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable

from agentd.guard import Guard, is_denied
from agentd.reasons import (
    TARGET_DENIED,
    TARGET_REFUSED,
    TARGET_TIMEOUT,
    TARGET_TLS,
    TARGET_UNREACHABLE,
    TARGET_UNRESOLVED,
    Reason,
)
from carrier_api import client_context, dial_tcp, tune
from tunnel.targets import Target
from yamux.carrier import TlsOptions

Factory = Callable[[], asyncio.Protocol]


class DialError(Exception):
    """A target cannot be reached.

    Args:
        reason: what the visitor is told.
        detail: one line for the log.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


async def dial(
    target: Target, factory: Factory, *, timeout: float, tls: TlsOptions, guard: Guard | None = None
) -> None:
    """Connect to a target; ``factory`` makes the connection's protocol.

    Args:
        target: where to.
        factory: called once the connection stands, TLS included.
        timeout: seconds for resolving, connecting and TLS together.
        tls: authorities to trust for ``https://``; the server name is the target's host.
        guard: knows the agent's own places.

    Raises:
        DialError: with the reason.

    Cancellation closes what was opened.
    """
    try:
        async with asyncio.timeout(timeout):
            if target.socket:
                if guard is not None and guard.own_socket(target.socket):
                    raise DialError(TARGET_DENIED, f"{target.socket} is the agent itself")
                await _dial_socket(target.socket, factory)
            else:
                await _dial_host(target, factory, timeout, tls, guard)
    except TimeoutError:
        raise DialError(TARGET_TIMEOUT, f"no connection to {target.place} within {timeout:g} s") from None
    except ssl.SSLError as exc:
        raise DialError(TARGET_TLS, exc.strerror or str(exc)) from exc
    except ConnectionRefusedError as exc:
        raise DialError(TARGET_REFUSED, exc.strerror or str(exc)) from exc
    except socket.gaierror as exc:
        raise DialError(TARGET_UNRESOLVED, f"cannot resolve {target.host}: {exc.strerror}") from exc
    except OSError as exc:
        raise DialError(TARGET_UNREACHABLE, exc.strerror or str(exc)) from exc
    except ValueError as exc:
        raise DialError(TARGET_TLS, str(exc)) from exc


async def _dial_socket(path: str, factory: Factory) -> None:
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_unix_connection(factory, path)
    except OSError as exc:
        why = exc.strerror or str(exc)
        # No socket there, or nobody behind it: either way the service is not running.
        kind = ConnectionRefusedError if isinstance(exc, ConnectionRefusedError | FileNotFoundError) else OSError
        raise kind(exc.errno, f"cannot connect to {path}: {why.lower()}") from exc
    tune(transport)


async def _dial_host(target: Target, factory: Factory, timeout: float, tls: TlsOptions, guard: Guard | None) -> None:
    context = client_context(tls) if target.secure else None
    failure: OSError | None = None
    addresses = await _addresses(target)
    circle = await guard.loops(addresses, target.port) if guard is not None else ""
    if circle:
        raise DialError(TARGET_DENIED, f"{target.place} is {circle}")
    for address in addresses:
        try:
            await dial_tcp(address, target.port, factory, timeout=timeout, context=context, server_name=target.host)
            return
        except OSError as exc:
            # A refusal says more than an unreachable network of another address.
            if failure is None or isinstance(exc, ConnectionRefusedError):
                failure = exc
    assert failure is not None
    raise failure


async def _addresses(target: Target) -> list[str]:
    """Addresses of the target that may be connected to.

    An address that was written into the list is taken at its word. A name is not: whoever answers for it could point it
    at this machine's neighbours.
    """
    try:
        ipaddress.ip_address(target.host)
    except ValueError:
        pass
    else:
        return [target.host]
    found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    good = [address for address in addresses if not is_denied(address)]
    if not good:
        shown = ", ".join(addresses[:4]) or "no address"
        raise DialError(TARGET_DENIED, f"{target.host} resolves to {shown}, which only an explicit target may be")
    return good
