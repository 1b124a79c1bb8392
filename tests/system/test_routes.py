"""Routes made over the management API, with real daemons."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from pathlib import Path

import grpc.aio
from tests.system.harness import DEADLINE, System, free_port
from tests.system.targets import Target
from tests.system.visitors import Visitor

from tunnelpb.hub.v1 import route_pb2 as pb
from tunnelpb.hub.v1.route_pb2_grpc import RouteServiceStub


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"bye")
    writer.close()


async def test_a_port_and_a_host_reach_an_agents_services(system: System, sockets: list[socket.socket]) -> None:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="adm") as folder:
        path = Path(folder, "a.sock")
        system.start_hub("--admin", f"unix:{path}")
        echo = await asyncio.start_server(_echo, sock=sockets[1].dup())
        async with (
            asyncio.timeout(2 * DEADLINE), echo, Target(sockets[0]) as target,
            grpc.aio.insecure_channel(f"unix:{path}") as channel,
        ):  # fmt: skip
            tcp = "ssh=tcp://{}:{}".format(*sockets[1].getsockname())
            await asyncio.to_thread(system.start_agent, "a", target.address, tcp)
            routes = RouteServiceStub(channel)
            wanted = [
                pb.Route(tcp_port=port, agent="agents/a", service="ssh"),
                pb.Route(host="app.test", agent="agents/a"),
            ]
            for route in wanted:
                await routes.CreateRoute(pb.CreateRouteRequest(route=route))
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for size in (1, 1 << 20):
                writer.write(b"x" * size)
                assert await reader.readexactly(size) == b"x" * size
            writer.write_eof()
            assert await reader.read() == b"bye", "the end of one direction is not the end of the other"
            writer.close()
            async with Visitor(system.port, "a") as visitor:
                await visitor.send(b"GET /hello HTTP/1.1\r\nHost: app.test\r\n\r\n")
                assert (await visitor.response()).status == 200
