"""Secrets of every kind through a whole system at debug level: none shows where people or other programs look."""

from __future__ import annotations

import asyncio
import http.client
import json
import secrets
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from tests.system.conftest import address
from tests.system.harness import Daemon, System, environment, free_port, wait_until
from tests.system.targets import Target
from tests.system.visitors import Visitor

from tunnelpb.hub.v1 import token_pb2, token_pb2_grpc

# What visitors send where secrets go; each may be seen by the target and by nobody else.
SECRET = f"hush-{secrets.token_hex(12)}"
RAW = (
    # Refused by the parser, by the router, by the agent; and one that is passed on.
    "GET /api/v1/proxy/a/hello?token={s} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {s}\r\nCookie: {s}\r\n\r\n",
    "GET /api/v1/proxy/a/hello HTTP/1.1\r\nHost: h\r\nAuthorization : {s}\r\n\r\n",
    "GET /api/v1/proxy/a/hello HTTP/1.1\r\nHost: h\r\n{s}\r\n\r\n",
    "GET /api/v1/proxy/a/hello HTTP/1.1\r\nHost: {s}@h\r\n\r\n",
    "GET http://u:{s}@h/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /api/v1/proxy/a/#{s} HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /api/v1/proxy/a/hello HTTP/1.1 {s}\r\nHost: h\r\n\r\n",
    "POST /api/v1/proxy/a/x HTTP/1.1\r\nHost: h\r\nContent-Length: {s}\r\n\r\n",
    "POST /api/v1/proxy/a/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: {s}\r\n\r\n",
    "POST /api/v1/proxy/a/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;{s}={s};\r\n",
    "POST /api/v1/proxy/a/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{s}\r\n\r\n",
    "GET /api/v1/proxy/a/hello HTTP/1.1\r\nHost: h\r\nExpect: {s}\r\n\r\n",
    "GET /api/v1/proxy/a/hello?x-proxy-host=127.0.0.1:1&key={s} HTTP/1.1\r\nHost: h\r\nAuthorization: {s}\r\n\r\n",
    "GET /api/v1/proxy/nobody/?key={s} HTTP/1.1\r\nHost: h\r\nAuthorization: Basic {s}\r\n\r\n",
    "GET /nothing?key={s} HTTP/1.1\r\nHost: h\r\nX-Api-Key: {s}\r\n\r\n",
    "GET /api/v1/hubs/a?token={s} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: yamux\r\n\r\n",
    "GET /api/v1/hubs/a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: yamux\r\nAuthorization: Bearer {s}\r\n\r\n",
    "GET /api/v1/hubs/a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: yamux\r\nAuthorization: {s}\r\n\r\n",
    "GET /api/v1/proxy/a/bad-answer HTTP/1.1\r\nHost: h\r\nAuthorization: {s}\r\n\r\n",
    "GET /api/v1/proxy/a/hello HTTP/1.1\r\nHost: h\r\nX-Request-Id: {s} {s}\r\n\r\n",
)


def token(folder: Path, store: Path, *arguments: str) -> tuple[Path, str]:
    """A token from the command line, in a file; and the secret."""
    path = folder / f"{len(list(folder.iterdir()))}.token"
    done = subprocess.run(
        [sys.executable, "-m", "hubd", "token", "create", "--store", str(store), "--out", str(path), *arguments],
        capture_output=True, text=True, check=False, env=environment(folder), cwd=folder, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    secret = path.read_text().strip()
    assert secret.startswith("tun_")
    assert secret not in done.stdout + done.stderr
    return path, secret


def raw(port: int, data: bytes) -> bytes:
    """What comes back for these bytes until the connection ends, or nothing comes any more."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        got = b""
        try:
            while piece := sock.recv(65536):
                got += piece
        except ConnectionError:
            pass
        return got


def page(port: int, path: str) -> str:
    """A page of the admin web."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@pytest.fixture
def plant(system: System, tmp_path: Path, sockets: list[socket.socket]) -> dict[str, object]:
    """A hub that asks for tokens, and an agent that has one."""
    store, web, admin = tmp_path / "hub.db", free_port(), f"unix:{tmp_path}/admin.sock"
    agent_file, agent = token(tmp_path, store, "--agent", "a")
    admin_file, boss = token(tmp_path, store, "--kind", "admin", "--role", "viewer")
    system.hub = system._start(
        "hub",
        ["-m", "hubd", "serve", "--listen", f"127.0.0.1:{system.port}", "--store", str(store), "--admin", admin, "--id", "canary",
         "--web-listen", f"127.0.0.1:{web}", "--access-log", str(tmp_path / "access.log"), "--log-format", "json", "--log-level", "debug"],
    )  # fmt: skip
    system.wait_healthy()
    arguments = ("--token-file", str(agent_file), "--log-level", "debug")
    system._start(
        "agent-a",
        ["-m", "agentd", "run", "--hub", f"ws://127.0.0.1:{system.port}", "--id", "a", "--target", f"http://{address(sockets[0])}", *arguments],
    )  # fmt: skip
    wait_until(lambda: "agent attached" in system.hub.log, "the agent is there")
    return {"web": web, "admin": admin, "secrets": (agent, boss, SECRET), "token": boss}


async def test_f11_no_secret_shows_anywhere(
    system: System, tmp_path: Path, sockets: list[socket.socket], plant: dict[str, object]
) -> None:
    hidden = plant["secrets"]
    assert isinstance(hidden, tuple)
    shown: dict[str, str] = {}
    async with Target(sockets[0]) as target:

        async def garbage(call) -> None:
            await call.send(f"HTTP/1.1 200 OK\r\nSet-Cookie : {SECRET}\r\n\r\n".encode())
            call.cut()

        target.on("/bad-answer", garbage)
        async with Visitor(system.port) as visitor:
            assert (await visitor.get("/hello")).status == 200
        statuses = set()
        for number, text in enumerate(RAW):
            answer = await in_thread(raw, system.port, text.format(s=SECRET).encode())
            shown[f"answer {number}"] = answer.decode("latin-1")
            statuses.add(answer[9:12])
        assert statuses >= {b"200", b"400", b"401", b"404", b"417", b"501", b"502"}, statuses
        for bearer in (plant["token"], SECRET, f"{plant['token']}x"):
            shown[f"gRPC {bearer == plant['token']}"] = await in_thread(call_api, str(plant["admin"]), str(bearer))
        shown["metrics"] = await in_thread(page, plant["web"], "/metrics")
        shown["web"] = await in_thread(page, plant["web"], "/")
    assert "hub" in shown["metrics"]
    wait_until(lambda: (tmp_path / "access.log").read_text().count("\n") > 5, "the access log is written")
    for path in tmp_path.iterdir():
        if path.is_file() and path.suffix != ".token":
            shown[path.name] = path.read_bytes().decode("latin-1")
    for daemon in system.daemons:
        assert isinstance(daemon, Daemon)
        daemon.keeps_quiet(*hidden)
    hits = [f"{place}: {text}" for place, text in shown.items() if any(secret in text for secret in hidden)]
    assert not hits, "\n".join(hits)


async def in_thread(function, *arguments):
    """Sockets that wait, off the loop."""
    return await asyncio.to_thread(function, *arguments)


def call_api(target: str, bearer: str) -> str:
    """Everything a client is told by calls that fail, and by one that does not."""
    told = []
    with grpc.insecure_channel(target) as channel:
        stub = token_pb2_grpc.TokenServiceStub(channel)
        for request, method in (
            (token_pb2.ListTokensRequest(), stub.ListTokens),
            (token_pb2.RevokeTokenRequest(name="tokens/nobody"), stub.RevokeToken),
        ):
            try:
                told.append(str(method(request, timeout=30, metadata=(("authorization", f"Bearer {bearer}"),))))
            except grpc.RpcError as error:
                told.append(
                    f"{error.code()} {error.details()} {json.dumps([str(pair) for pair in error.trailing_metadata() or ()])}"
                )
    return "\n".join(told)
