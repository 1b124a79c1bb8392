"""A hundred reloads and forty hand-overs under load lose nothing (rows L3, L4)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time

from tests.system.harness import DEADLINE, System
from tests.system.load import Load, follower, gone
from tests.system.targets import Target

REQUESTS = 100_000
RELOADS = 100
HAND_OVERS = 40


async def test_g4_reloads_and_hand_overs_under_load(system: System, sockets: list[socket.socket]) -> None:
    file = system.folder / "hub.toml"
    file.write_text("")
    hub = system.start_hub("--config", str(file))
    pid = hub.process.pid
    began = time.monotonic()
    try:
        async with Target(sockets[0]) as target:
            system.start_agent("a", target.address)
            async with Load(system.port, 16) as load:
                for number in range(1, HAND_OVERS + 1):
                    for turn in range(-(-RELOADS // HAND_OVERS)):
                        await load.more(100)
                        file.write_text(f"[timeouts]\nidle = '{50 + turn}s'\n")
                        os.kill(pid, signal.SIGHUP)
                    await load.more(100)
                    os.kill(pid, signal.SIGUSR2)
                    before, pid = pid, await follower(hub, number)
                    await gone(before)
                reloads = hub.log.count("settings read again")
                while load.done < REQUESTS:
                    await load.more(min(1000, REQUESTS - load.done))
            print(
                f"\n{load.done} requests over {reloads} reloads and {HAND_OVERS} hand-overs in "
                f"{time.monotonic() - began:.0f} s: {len(load.failed)} failed"
            )
            assert not load.failed, load.failed[:5]
            assert reloads >= RELOADS
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    await gone(pid)
    await asyncio.to_thread(hub.process.wait, DEADLINE)
