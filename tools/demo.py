"""The tunnel in one minute: a target, a hub and an agent on this machine, and one request through all three.

Usage: python -m tools.demo [--once]    (--once ends after the request)
"""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent
AGENT_ID = "demo"
# A cold start compiles every module and takes some seconds on a busy machine.
START_DEADLINE = 30.0
# More than the hub's own drain deadline, so that it is never cut short.
STOP_DEADLINE = 35.0
POLL = 0.05

T = TypeVar("T")


class DemoError(Exception):
    """The demo cannot go on; the message says why in one line or a few."""


class Interrupt:
    """Handler of SIGINT and SIGTERM: raises KeyboardInterrupt once, but not in the middle of what it must not break.

    A program that was started before anybody made a note of it would never be stopped.
    """

    def __init__(self) -> None:
        self._holding = False
        self._came = False

    def __call__(self, *_: object) -> None:
        """Take a signal."""
        if self._came:
            return
        self._came = True
        if not self._holding:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put off what comes in this block to its end."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._came:
            raise KeyboardInterrupt


class Program:
    """One of the three, in its own process group: Ctrl-C reaches the demo only, which stops them in order."""

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def output(self) -> str:
        """Return what the program has printed so far."""
        return self._log.read_text("utf-8", "replace")

    def check(self) -> None:
        """Raise DemoError if the program has ended."""
        code = self._process.poll()
        if code is not None:
            last = "\n".join(f"    {line}" for line in self.output().splitlines()[-10:])
            raise DemoError(f"{self.name} ended with code {code}:\n{last}")

    def stop(self) -> int:
        """Ask it to end, wait, insist after a while. Returns the exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def wait_for(what: str, program: Program, ask: Callable[[], T | None]) -> T:
    """Ask until there is an answer. Raises DemoError when the program ends or the deadline passes."""
    deadline = time.monotonic() + START_DEADLINE
    while time.monotonic() < deadline:
        answer = ask()
        if answer is not None:
            return answer
        program.check()
        time.sleep(POLL)
    raise DemoError(f"{what}: nothing in {START_DEADLINE:.0f} s; {program.name} said:\n{program.output()}")


def get(url: str) -> tuple[int, str] | None:
    """Return status and body of a GET, or None if nobody listens yet."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return response.status, response.read(65536).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(65536).decode("utf-8", "replace")
    except OSError:
        return None


def port(wanted: int) -> int:
    """Return the wanted loopback port, or a free one if it is taken."""
    for number in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError("no free port on 127.0.0.1")


def ok(url: str) -> Callable[[], tuple[int, str] | None]:
    """Return a question that is answered once ``url`` answers 200."""

    def ask() -> tuple[int, str] | None:
        answer = get(url)
        return answer if answer and answer[0] == 200 else None

    return ask


def say(step: str, text: str) -> None:
    """Print one step."""
    print(f"demo: {step:<8} {text}", flush=True)


def start(programs: list[Program], folder: Path, interrupt: Interrupt) -> str:
    """Start all three and wait until they are ready. Returns the visitor's URL."""
    target_port, hub_port = port(8881), port(8882)
    target_url, hub_url = f"http://127.0.0.1:{target_port}", f"http://127.0.0.1:{hub_port}"

    def run(name: str, *command: str) -> Program:
        with interrupt.held():
            programs.append(Program(name, [sys.executable, *command], folder))
        return programs[-1]

    target = run("target", "examples/hello/target.py", str(target_port))
    wait_for("the target", target, ok(f"{target_url}/hello"))
    say("target", f"a private service answers at {target_url}/hello")

    hub = run("hub", "-m", "hubd", "serve", "--dev", "--listen", f"127.0.0.1:{hub_port}")
    wait_for("the hub", hub, ok(f"{hub_url}/healthz"))
    printed = wait_for("the hub's agent command", hub, lambda: re.search(r"\bagentd run --hub (\S+)", hub.output()))
    say("hub", f"hubd serve --dev accepts agents and visitors at {hub_url}")

    command = ["agentd", "run", "--hub", printed[1], "--id", AGENT_ID, "--target", f"http://127.0.0.1:{target_port}"]
    agent = run("agent", "-m", *command)
    visitor_url = f"{hub_url}/api/v1/proxy/{AGENT_ID}/hello"
    wait_for("the agent", agent, ok(visitor_url))
    say("agent", shlex.join(command))
    say("", f"dialled out to the hub and is attached as {AGENT_ID!r}")
    return visitor_url


def send(url: str) -> None:
    """Send one request through the tunnel and tell what came back."""
    begin = time.perf_counter()
    answer = get(url)
    took = (time.perf_counter() - begin) * 1000
    if answer is None or answer[0] != 200:
        raise DemoError(f"GET {url} through the tunnel gave {answer}")
    say("request", f"GET {url}")
    say("", "visitor -> hub -> agent -> target and back")
    say("answer", f"{answer[0]} {answer[1]!r} in {took:.1f} ms")
    say("try it", f"curl {url}")


def serve(programs: list[Program]) -> None:
    """Stay until Ctrl-C, and watch that all three do too."""
    say("serving", "until Ctrl-C")
    while True:
        time.sleep(0.5)
        for program in programs:
            program.check()


def stop(programs: list[Program], *, ready: bool) -> list[str]:
    """Stop in reverse order, deaf to further signals. Returns who did not end cleanly.

    Programs that are not ready may not know yet what SIGTERM means to them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    unclean = []
    clean = (0,) if ready else (0, -signal.SIGTERM)
    for program in reversed(programs):
        code = program.stop()
        if code not in clean:
            unclean.append(f"{program.name} ended with code {code}")
    return unclean


def main(arguments: list[str]) -> int:
    """Run the demo. Returns the exit code: 0 also after Ctrl-C, 1 if something did not work."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description="The tunnel in one minute.")
    parser.add_argument("--once", action="store_true", help="end after one request")
    once = parser.parse_args(arguments).once
    interrupt = Interrupt()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    programs: list[Program] = []
    problems: list[str] = []
    ready = False
    with tempfile.TemporaryDirectory(prefix="tunnel-demo-") as folder:
        try:
            url = start(programs, Path(folder), interrupt)
            ready = True
            send(url)
            if not once:
                serve(programs)
        except KeyboardInterrupt:
            print(flush=True)
        except DemoError as error:
            problems.append(str(error))
        unclean = stop(programs, ready=ready)
        problems = problems or unclean
    for problem in problems:
        print(f"demo: {problem}", file=sys.stderr)
    say("stopped", "target, hub and agent have ended")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
