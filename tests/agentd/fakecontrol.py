"""A scripted AgentControlService behind a fake hub: streams that agents open are joined to it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import tempfile
from typing import Any

import grpc
import grpc.aio

from tunnel.splice import Splice, Waiting
from tunnelpb.agent.v1 import config_pb2
from tunnelpb.agent.v1 import control_pb2 as pb
from tunnelpb.agent.v1.control_pb2_grpc import AgentControlServiceServicer, add_AgentControlServiceServicer_to_server


class Call:
    """One Connect."""

    def __init__(self, context: Any, hello: pb.Hello) -> None:
        self.context = context
        self.hello = hello
        self.name = ""
        self.heard: list[pb.ConnectRequest] = []
        self.over = asyncio.Event()

    async def push(self, config: config_pb2.AgentConfig, version: int, nonce: str = "n") -> pb.ConfigAnswer:
        """Push a configuration and wait for the answer."""
        digest = hashlib.sha256(config.SerializeToString(deterministic=True)).digest()
        push = pb.ConfigPush(version=version, nonce=nonce, config=config, digest=digest)
        before = len(self.of("config_answer"))
        await self.context.write(pb.ConnectResponse(config_push=push))
        async with asyncio.timeout(60):
            while len(self.of("config_answer")) == before:
                await asyncio.sleep(0.001)
        return self.of("config_answer")[-1]

    async def drain(self, deadline: float, after: float) -> None:
        """Tell of a drain."""
        notice = pb.DrainNotice(reason="test")
        notice.deadline.FromMilliseconds(round(deadline * 1000))
        notice.reconnect_after.FromMilliseconds(round(after * 1000))
        await self.context.write(pb.ConnectResponse(drain_notice=notice))

    def of(self, kind: str) -> list[Any]:
        """What the agent has said of one kind."""
        return [getattr(message, kind) for message in self.heard if message.WhichOneof("message") == kind]


class Service(AgentControlServiceServicer):
    def __init__(self, control: FakeControl) -> None:
        self._control = control

    async def Connect(self, requests, context):
        first = await context.read()
        call = Call(context, first.hello)
        calls = self._control.calls
        if self._control.refusal is not None:
            calls.append(call)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, self._control.refusal)
        # Two writes at a time are not allowed, so nobody else may write before this one is done.
        name = call.name = f"sessions/s{next(self._control.count)}"
        await context.write(pb.ConnectResponse(welcome=pb.Welcome(hub="hubs/h1", session=name)))
        calls.append(call)
        try:
            while (message := await context.read()) is not grpc.aio.EOF:
                call.heard.append(message)
        finally:
            call.over.set()


class _Joint(asyncio.Protocol):
    def __init__(self, control: FakeControl) -> None:
        self._control = control
        self._lost = False

    def connection_lost(self, exc):
        self._lost = True

    def connection_made(self, transport):
        self._control.streams += 1
        if self._control.closed:
            transport.abort()
            return
        transport.pause_reading()
        self._control.own(self._join(transport))

    async def _join(self, stream):
        """Lasts until both connections are gone: a loop must not end before them."""
        over = asyncio.Event()
        _, inner = await asyncio.get_running_loop().create_unix_connection(Waiting, self._control.path)
        if self._lost:
            inner.transport.abort()
            return
        splice = inner.join(stream, on_end=lambda _: over.set())
        self._control.splices.add(splice)
        if self._control.closed:
            splice.abort()
        await over.wait()
        self._control.splices.discard(splice)


class FakeControl:
    """The listener.

    Attributes:
        calls: each Connect so far.
        streams: streams agents have opened so far.
        refusal: ends every Connect if set.
        closed: streams are reset.
        splices: streams joined to the listener.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.count = itertools.count(1)
        self.streams = 0
        self.refusal: str | None = None
        self.closed = False
        self.splices: set[Splice] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def own(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def protocol(self) -> asyncio.Protocol:
        return _Joint(self)

    async def start(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = f"{self._folder.name}/s"
        self._server = grpc.aio.server()
        add_AgentControlServiceServicer_to_server(Service(self), self._server)
        self._server.add_insecure_port(f"unix:{self.path}")
        await self._server.start()

    async def close(self) -> None:
        self.closed = True
        await self._server.stop(0)
        for splice in self.splices:
            splice.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._folder.cleanup()
