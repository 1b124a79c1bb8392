from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tunnel.signals import quick_end

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


# A module whose import waits to be interrupted stands for the slow ones of a start.
IMPORTING = """
import os, signal, sys

class Waiting:
    def find_spec(self, name, path, target=None):
        if name == "{cli}":
            os.write(1, b"importing\\n")
            while True:
                signal.pause()

sys.meta_path.insert(0, Waiting())
from {program}.__main__ import main
main()
"""


@pytest.mark.parametrize("program", ["hubd", "agentd", "tunnelctl"])
def test_ctrl_c_while_a_program_is_being_read_ends_it_without_a_word(program: str) -> None:
    code = IMPORTING.format(program=program, cli=f"{program}.cli")
    # Whoever runs the tests may have SIGINT ignored, which children inherit.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "version"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (-signal.SIGINT, "", "")


def test_an_interrupt_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with quick_end():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with quick_end():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
