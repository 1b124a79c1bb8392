"""Real hubs, and control streams of scripted agents on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc.aio
import pytest
from tests.hubd.conftest import Bench, until

from agentd.stitch import Stitch
from tunnelpb.agent.v1 import config_pb2
from tunnelpb.agent.v1 import control_pb2 as pb
from tunnelpb.agent.v1.control_pb2_grpc import AgentControlServiceStub


class Stream:
    """A control stream of a scripted agent.

    Attributes:
        heard: what the hub has sent.
        applied: version this agent says it runs.
        refusing: why it refuses everything; "" acks.
        silent: it answers nothing.
    """

    def __init__(self, session: Any) -> None:
        self.session = session
        self.stitch = Stitch(session)
        self.heard: list[pb.ConnectResponse] = []
        self.applied = 0
        self.refusing = ""
        self.silent = False
        self.call: Any = None
        self.reading: asyncio.Task[None] | None = None

    async def open(self) -> Stream:
        await self.stitch.start()
        self.channel = grpc.aio.insecure_channel(self.stitch.target, options=[("grpc.use_local_subchannel_pool", 1)])
        self.stub = AgentControlServiceStub(self.channel)
        return self

    async def connect(self, **hello: Any) -> Stream:
        self.call = self.stub.Connect()
        self.applied = hello.get("applied_config_version", 0)
        await self.call.write(pb.ConnectRequest(hello=pb.Hello(**hello)))
        self.reading = asyncio.get_running_loop().create_task(self._read())
        await until(lambda: self.heard or self.reading.done())
        return self

    async def _read(self) -> None:
        while (message := await self.call.read()) is not grpc.aio.EOF:
            self.heard.append(message)
            if message.WhichOneof("message") == "config_push" and not self.silent:
                await self.answer(message.config_push)
            elif message.WhichOneof("message") == "probe" and not self.silent:
                await self.call.write(pb.ConnectRequest(probe_answer=pb.ProbeAnswer(id=message.probe.id)))

    async def answer(self, push: pb.ConfigPush, nonce: str | None = None) -> None:
        if not self.refusing:
            self.applied = push.version
        answer = pb.ConfigAnswer(nonce=nonce or push.nonce, applied_version=self.applied, error_detail=self.refusing)
        await self.call.write(pb.ConnectRequest(config_answer=answer))

    @property
    def pushes(self) -> list[pb.ConfigPush]:
        return [message.config_push for message in self.heard if message.HasField("config_push")]

    async def close(self) -> None:
        if self.reading is not None:
            self.call.cancel()
            await asyncio.gather(self.reading, return_exceptions=True)
        await self.channel.close()
        self.stitch.close()
        await until(lambda: not self.stitch.open)


Attach = Callable[..., Awaitable[Stream]]


@pytest.fixture
async def streams() -> AsyncIterator[list[Stream]]:
    opened: list[Stream] = []
    yield opened
    for stream in opened:
        await stream.close()


@pytest.fixture
async def control(start: Any, streams: list[Stream]) -> Attach:
    """Attach an agent, open its control stream, and say hello unless `connect` is False."""

    async def attach(bench: Bench, agent_id: str = "demo", *, connect: bool = True, **hello: Any) -> Stream:
        agent = await bench.agent(agent_id)
        stream = Stream(agent.session)
        streams.append(stream)
        await stream.open()
        return await stream.connect(**hello) if connect else stream

    return attach


def services(**targets: str) -> config_pb2.AgentConfig:
    """A configuration with these services."""
    return config_pb2.AgentConfig(
        services=[config_pb2.Service(name=name, target=target) for name, target in targets.items()]
    )
