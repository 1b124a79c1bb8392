"""Looks after services: connects, or asks for a path, every few seconds.

What it finds is shown and told to the hub, and changes nothing else: a service that fails its checks still gets every
request, since a check that is wrong must not take down a service that works.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from agentd.dial import DialError, dial
from tunnel.http1 import BadMessage, ResponseHead, ResponseReader, Truncated

if TYPE_CHECKING:
    from agentd.config import Health
    from agentd.guard import Guard
    from agentd.services import Service
    from tunnel.targets import Target
    from yamux.carrier import TlsOptions

logger = logging.getLogger("agentd.health")


class State(enum.Enum):
    """How a service is."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(slots=True)
class Finding:
    """What the last check found.

    Args:
        state: of the service.
        detail: why it is unhealthy.
    """

    state: State = State.UNKNOWN
    detail: str = ""


class Checks:
    """The checks of all services.

    Args:
        tls: authorities to trust for ``https://`` targets.
        guard: knows the agent's own places.
        changed: called when a service has become healthy or unhealthy.

    Attributes:
        found: by name of the service, of those that are looked after.
    """

    def __init__(self, tls: TlsOptions, guard: Guard, changed: Callable[[], None]) -> None:
        self.found: dict[str, Finding] = {}
        self._tls = tls
        self._guard = guard
        self._changed = changed
        self._running: dict[tuple[str, str, Health], asyncio.Task[None]] = {}

    def watch(self, services: Iterable[Service]) -> None:
        """Look after these from now on. Services that stay as they are are not asked anew."""
        wanted = {
            (service.name, service.target.url, service.health): service
            for service in services
            if service.health is not None
        }
        for key in [key for key in self._running if key not in wanted]:
            self._running.pop(key).cancel()
            self.found.pop(key[0], None)
        for key, service in wanted.items():
            if key not in self._running:
                self.found[service.name] = Finding()
                self._running[key] = asyncio.get_running_loop().create_task(self._look_after(service, key[2]))

    async def close(self) -> None:
        """Look after nothing any longer."""
        tasks = list(self._running.values())
        self._running.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_after(self, service: Service, health: Health) -> None:
        finding = self.found[service.name]
        while True:
            detail = await self._check(service.target, health)
            state = State.UNHEALTHY if detail else State.HEALTHY
            if (state, detail) != (finding.state, finding.detail):
                level = logging.WARNING if detail else logging.INFO
                logger.log(level, "service %s is %s", service.name, state.value, extra={"detail": detail})
                finding.state, finding.detail = state, detail
                self._changed()
            # A tenth of jitter, so that many agents of one service do not ask in step.
            await asyncio.sleep(health.interval * random.uniform(0.95, 1.05))

    async def _check(self, target: Target, health: Health) -> str:
        """What is wrong with it, in one line; "" if nothing is."""
        try:
            async with asyncio.timeout(health.timeout):
                return await check(target, health.path, health.timeout, self._tls, self._guard)
        except TimeoutError:
            return f"no answer within {health.timeout:g} s"
        except DialError as exc:
            return exc.detail
        except Exception as exc:
            logger.exception("a check failed")
            return f"{type(exc).__name__}: {exc}"


async def check(target: Target, path: str, timeout: float, tls: TlsOptions, guard: Guard | None = None) -> str:
    """Ask a service once.

    Args:
        target: where it is.
        path: to GET; "" only connects.
        timeout: seconds for connecting.
        tls: authorities to trust.
        guard: knows the agent's own places.

    Returns:
        What is wrong with the answer; "" if nothing is.

    Raises:
        DialError: there is no connection.
    """
    made: list[_Question] = []
    answer: asyncio.Future[ResponseHead | str] = asyncio.get_running_loop().create_future()

    def factory() -> _Question:
        made.append(_Question(answer))
        return made[-1]

    await dial(target, factory, timeout=timeout, tls=tls, guard=guard)
    transport = made[-1].transport
    try:
        if not path:
            return ""
        request = b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: agentd\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        transport.write(request % (target.base + path.encode("ascii"), target.authority))
        found = await answer
        if isinstance(found, str):
            return found
        return "" if 200 <= found.status < 400 else f"GET {path} answers {found.status}"
    finally:
        transport.abort()


class _Question(asyncio.Protocol):
    """One connection of a check."""

    def __init__(self, answer: asyncio.Future[ResponseHead | str]) -> None:
        self._answer = answer
        self._reader = ResponseReader()
        self._reader.expect(b"GET")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's

    def data_received(self, data: bytes) -> None:
        if self._answer.done():
            return
        self._reader.feed(data)
        try:
            head = self._reader.next_head()
            while head is not None and head.status < 200:
                head = self._reader.next_head()
        except (BadMessage, Truncated):
            self._settle("the answer is not HTTP")
        else:
            if head is not None:
                self._settle(head)

    def eof_received(self) -> bool:
        self._settle("the connection was closed without an answer")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle("the connection was lost without an answer")

    def _settle(self, found: ResponseHead | str) -> None:
        if not self._answer.done():
            self._answer.set_result(found)
