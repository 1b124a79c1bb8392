"""The agent's control stream on one session: says hello, runs what the hub pushes, hears of drains.

All of it is extra. A hub that offers no control stream, or whose API is away, costs nothing but configuration: what the
agent has goes on.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import grpc
import grpc.aio

from agentd.stitch import Stitch
from tunnelpb.agent.v1 import control_pb2 as pb
from tunnelpb.agent.v1.control_pb2_grpc import AgentControlServiceStub

if TYPE_CHECKING:
    from agentd.remote import Remote
    from yamux import Session

logger = logging.getLogger("agentd.control")

# Seconds before the stream is opened again when it ended by itself: doubled each time, with jitter. Its end alone hurts
# nothing, and a hub that keeps ending it is not to be asked all the time.
FIRST_AGAIN = 2.0
LAST_AGAIN = 120.0
# Seconds a stream must have lived for the next delay to be the first again.
STEADY = 60.0
# Seconds between statuses if nothing but counters has moved.
REPORT_EVERY = 30.0
# Messages waiting to be written: answers to what the hub asked, which waits for them, and a status.
MAX_QUEUE = 32

OPTIONS: list[tuple[str, int | str]] = [
    # The largest configuration is 256 KiB.
    ("grpc.max_receive_message_length", 1 << 20),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.default_authority", "hub"),
    # The socket takes one connection; a second try would wait for nobody.
    ("grpc.initial_reconnect_backoff_ms", 600_000),
    ("grpc.max_reconnect_backoff_ms", 600_000),
    ("grpc.http2.bdp_probe", 0),
]


class Reporter(Protocol):
    """What the control stream tells of, and whom it tells."""

    def hello(self) -> pb.Hello:
        """The agent, as it introduces itself."""

    def status(self) -> pb.Status:
        """How it is."""


class Control:
    """The control stream of one session, opened again while the session lives.

    Args:
        session: attached to a hub that offers it.
        reporter: says how the agent is.
        remote: runs what is pushed.
        on_drain: called with the seconds left until the session is cut, and to wait before attaching again.

    Attributes:
        hub: "hubs/{id}" once the hub said so.
        name: "sessions/{id}", in the same way.
    """

    def __init__(
        self,
        session: Session,
        reporter: Reporter,
        remote: Remote,
        on_drain: Callable[[float, float], None],
    ) -> None:
        self._session = session
        self._reporter = reporter
        self._remote = remote
        self._on_drain = on_drain
        self._stitch: Stitch | None = None
        self._out: asyncio.Queue[pb.ConnectRequest] = asyncio.Queue(MAX_QUEUE)
        self._told: pb.Status | None = None
        self.hub = self.name = ""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def __repr__(self) -> str:
        return f"<Control {self.name or 'not welcomed'}{' open' if self.open else ''}>"

    @property
    def open(self) -> bool:
        """Whether the stream is open."""
        return self._stitch is not None and self._stitch.open

    @property
    def welcomed(self) -> bool:
        """Whether the hub has answered on it."""
        return self.open and bool(self.name)

    def end(self) -> asyncio.Task[None]:
        """End the stream for good, now; await what this returns to see it gone."""
        if self._stitch is not None:
            self._stitch.close()
        self._task.cancel()
        return self._task

    def report(self) -> None:
        """Tell the hub how the agent is, if that has changed."""
        status = self._reporter.status()
        if self.welcomed and status != self._told and not self._out.full():
            self._told = status
            self._out.put_nowait(pb.ConnectRequest(status=status))

    async def _run(self) -> None:
        delay = FIRST_AGAIN
        loop = asyncio.get_running_loop()
        while self._session.can_open:
            began = loop.time()
            try:
                why = await self._once()
            except Exception as exc:
                # A fault here must not become one of the tunnel.
                logger.exception("the control stream failed")
                why = str(exc)
            self.name = ""
            if loop.time() - began >= STEADY:
                delay = FIRST_AGAIN
            if self._session.can_open:
                logger.info(
                    "the hub's control stream has ended; the agent goes on with what it has", extra={"why": why}
                )
            await asyncio.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(2 * delay, LAST_AGAIN)

    async def _once(self) -> str:
        """One stream, from its opening to its end; returns why it ended."""
        stitch = self._stitch = Stitch(self._session)
        try:
            await stitch.start()
            async with grpc.aio.insecure_channel(stitch.target, options=OPTIONS) as channel:
                call = AgentControlServiceStub(channel).Connect()
                try:
                    return await self._talk(call)
                finally:
                    call.cancel()
        except grpc.aio.AioRpcError as exc:
            return f"{exc.code().name}: {exc.details()}"
        finally:
            stitch.close()

    async def _talk(self, call: Any) -> str:
        self._out = asyncio.Queue(MAX_QUEUE)
        self._told = None
        self._out.put_nowait(pb.ConnectRequest(hello=self._reporter.hello()))
        writing = asyncio.get_running_loop().create_task(self._write(call))
        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                await self._take(message)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        return f"{(await call.code()).name}: {await call.details()}"

    async def _write(self, call: Any) -> None:
        while True:
            try:
                async with asyncio.timeout(REPORT_EVERY):
                    message = await self._out.get()
            except TimeoutError:
                self.report()
                continue
            await call.write(message)

    async def _take(self, message: pb.ConnectResponse) -> None:
        kind = message.WhichOneof("message")
        if kind == "welcome":
            self.hub, self.name = message.welcome.hub, message.welcome.session
            self.report()
        elif kind == "config_push":
            push = message.config_push
            error = await self._remote.take(push)
            running = self._remote.version
            # Another hub's version of the same number is not this one.
            applied = push.version if not error else running if running != push.version else 0
            answer = pb.ConfigAnswer(nonce=push.nonce, applied_version=applied, error_detail=error)
            await self._out.put(pb.ConnectRequest(config_answer=answer))
        elif kind == "drain_notice":
            notice = message.drain_notice
            logger.info("the hub drains this session", extra={"session": self.name, "reason": notice.reason})
            self._on_drain(_left(notice), notice.reconnect_after.ToMilliseconds() / 1000)
        elif kind == "probe":
            await self._out.put(pb.ConnectRequest(probe_answer=pb.ProbeAnswer(id=message.probe.id)))


def _left(notice: pb.DrainNotice) -> float:
    """Seconds until the session is cut. Clocks differ, so at least a few."""
    return max(notice.deadline.ToMilliseconds() / 1000 - time.time(), 5.0)
