"""Signals, sudden ends and the service manager, with whole processes (rows L2 to L8)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sqlite3
import sys
from pathlib import Path

import aiohttp
import pytest
from tests.system.harness import DEADLINE, POLL, System, free_port, until
from tests.system.load import Load, follower, gone
from tests.system.targets import Target
from tests.system.visitors import fetch


async def test_l4_hand_over_under_load(system: System, sockets: list[socket.socket]) -> None:
    hub = system.start_hub()
    pid = hub.process.pid
    try:
        async with Target(sockets[0]) as target:
            system.start_agent("a", target.address)
            async with Load(system.port) as load:
                for number in range(1, 4):
                    await load.more(50)
                    os.kill(pid, signal.SIGUSR2)
                    before, pid = pid, await follower(hub, number)
                    await gone(before)
                    await load.more(50)
            assert not load.failed, load.failed[:5]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    await gone(pid)
    assert hub.process.wait(DEADLINE) == 0


async def test_l4_a_successor_that_does_not_come_up_changes_nothing(
    system: System, sockets: list[socket.socket]
) -> None:
    file = system.folder / "hub.toml"
    file.write_text("")
    hub = system.start_hub("--config", str(file), "--carrier", "tcp://127.0.0.1:0")
    hub.wait_log("hub started")
    carrier = int(re.search(r"tcp://127\.0\.0\.1:(\d+)", hub.log)[1])
    async with Target(sockets[0]) as target:
        agent = system.start_agent("a", target.address)
        async with Load(system.port) as load:
            # Bad settings end it before it says a word, a bad log file after the old one has let go of its listeners.
            for number, text in ((1, "nonsense = 1\n"), (2, 'access_log = "/nowhere/log"\n')):
                file.write_text(text)
                await load.more(20)
                hub.signal(signal.SIGUSR2)
                await asyncio.to_thread(hub.wait_log, "no hand-over, this process goes on", number)
                await load.more(20)
            assert (await fetch(carrier, "/hello")).status == 200
        assert agent.running and system.detached("a") == 0


@pytest.mark.parametrize("good", [True, False])
async def test_l2_l3_reload_under_load(system: System, sockets: list[socket.socket], good: bool) -> None:
    file = system.folder / "hub.toml"
    file.write_text("[timeouts]\nidle = '50s'\n")
    hub = system.start_hub("--config", str(file))
    async with Target(sockets[0]) as target:
        system.start_agent("a", target.address)
        async with Load(system.port) as load:
            for number in range(1, 6):
                await load.more(20)
                file.write_text(f"[timeouts]\nidle = '{50 + number}s'\n" if good else f"[timeouts]\nidle = {number}x\n")
                hub.signal(signal.SIGHUP)
                what = "settings read again applied=timeouts.idle" if good else r"settings not taken: .*hub.toml:2"
                await asyncio.to_thread(hub.wait_log, what, number)
        assert not load.failed, load.failed[:5]
    assert system.detached("a") == 0


async def test_l4_l8_under_a_service_manager(tmp_path: Path, sockets: list[socket.socket]) -> None:
    """Sockets by activation, READY once it serves, WATCHDOG while it turns, RELOADING and STOPPING."""
    told: list[str] = []
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.setblocking(False)

    async def listen() -> None:
        while True:
            told.append((await asyncio.get_running_loop().sock_recv(manager, 4096)).decode())

    sock = sockets[0]
    port = sock.getsockname()[1]
    arguments = f'exec 3<&{sock.fileno()}; LISTEN_PID=$$ exec "$0" -m hubd serve --dev'
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", arguments, sys.executable,
        pass_fds=(sock.fileno(),), stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        env=os.environ | {
            "LISTEN_FDS": "1", "LISTEN_FDNAMES": "listen", "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "100000",
        },
    )  # fmt: skip
    listening = asyncio.create_task(listen())
    try:
        await until(lambda: "READY=1" in told, "it is ready", 30)
        assert (await fetch(port, "/x")).status == 404
        await until(lambda: told.count("WATCHDOG=1") >= 3, "the watchdog is fed")
        process.send_signal(signal.SIGHUP)
        await until(lambda: told.count("READY=1") == 2, "it has reloaded")
        assert any(line.startswith("RELOADING=1\nMONOTONIC_USEC=") for line in told)
        process.send_signal(signal.SIGTERM)
        await until(lambda: "STOPPING=1" in told, "it says that it stops")
        _, log = await process.communicate()
        assert process.returncode == 0, log
        assert f"listen=http://127.0.0.1:{port}".encode() in log
    finally:
        listening.cancel()
        manager.close()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_l7_a_closed_log_pipe_stops_nothing(tmp_path: Path, sockets: list[socket.socket]) -> None:
    sock = sockets[0]
    port, web = sock.getsockname()[1], free_port()
    sock.close()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hubd", "serve", "--dev", "--listen", f"127.0.0.1:{port}",
        "--log-level", "debug", "--access-log", "/dev/full", "--web-listen", f"127.0.0.1:{web}",
        stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b"hub started" not in await process.stderr.readline():
            pass
    process._transport.get_pipe_transport(2).close()
    for _ in range(200):
        assert (await fetch(port, "/x")).status == 404

    async def lost() -> set[str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{web}/metrics") as answer:
            return set(re.findall(r'hub_log_lines_dropped_total{log="(\w+)"} [1-9]', await answer.text()))

    async with asyncio.timeout(30):
        while await lost() != {"daemon", "access"}:
            await asyncio.sleep(POLL)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_l5_a_killed_hub_leaves_a_whole_store_and_gets_its_agents_back(
    system: System, sockets: list[socket.socket]
) -> None:
    store = system.folder / "hub.db"
    (system.folder / "hub.toml").write_text(f'[store]\npath = "{store}"\n')
    arguments = ("--config", str(system.folder / "hub.toml"))
    async with Target(sockets[0]) as target:
        system.start_hub(*arguments)
        system.start_agent("a", target.address)
        for _ in range(3):
            assert (await fetch(system.port, "/hello")).status == 200
            system.hub.kill()
            system.start_hub(*arguments)
            await until(lambda: system.attached("a") == 1, "the agent is back", 30)
        assert (await fetch(system.port, "/hello")).status == 200
    with contextlib.closing(sqlite3.connect(store)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM agents").fetchone() is not None


async def test_l6_a_killed_agent_is_known_to_be_gone(system: System, sockets: list[socket.socket]) -> None:
    system.start_hub()
    async with Target(sockets[0]) as target:
        agent = system.start_agent("a", target.address)
        assert (await fetch(system.port, "/hello")).status == 200
        agent.kill()
        answer = await fetch(system.port, "/hello")
        while answer.status != 503:
            await asyncio.sleep(POLL)
            answer = await fetch(system.port, "/hello")
        assert int(answer.headers["retry-after"]) >= 1
