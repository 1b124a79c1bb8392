from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, os, signal, sys
from tunnel.signals import ignore_stops
if sys.argv[1] == "uvloop":
    import uvloop as module
    factory = module.Loop
else:
    factory = None

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    os.kill(os.getpid(), signal.SIGTERM)
    await stop.wait()

with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
    ignore_stops(runner.get_loop())
    os.kill(os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGINT)
print("ended by itself")
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_second_signal_does_not_change_how_a_stopped_daemon_ends(loop: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, loop], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended by itself\n", "")
