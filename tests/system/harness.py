"""Hub and agents as child processes: free ports, readiness, logs, memory and descriptors, a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Self

import psutil
from tests.canary import WATCH

ROOT = Path(__file__).resolve().parents[2]
# Starting takes a second of CPU, and a shared machine may give a tenth of one.
START_DEADLINE = 60.0
# For whatever follows at once on a machine that is idle; the same tenth of one may be given to it.
DEADLINE = 60.0
# Between looks at something only polling can see.
POLL = 0.02

_FAULT = re.compile(
    r"Traceback \(most recent|never retrieved|never awaited|was destroyed but it is pending|Unhandled|Fatal error"
)
_counter = itertools.count()
_given: deque[int] = deque(maxlen=100)


def free_port() -> int:
    """A loopback port nobody listens on, outside the range the kernel gives to outgoing connections.

    It is taken a second later. Test processes that run beside each other must not be given the same one meanwhile, nor
    one process twice the same.
    """
    first = 20_000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8 * 1_500
    while True:
        port = random.randrange(first, first + 1_500)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.append(port)
        return port


def _of(event: str, agent_id: str) -> str:
    """A pattern for lines of one agent. The id ``ws`` is not to be seen in ``ws-raw``."""
    return rf"{event}.*\bagent={re.escape(agent_id)}(?!\S)"


def environment(folder: Path, extra: Sequence[Path] = ()) -> dict[str, str]:
    """The environment of the daemons: the sources of this checkout and, where it is not installed, its entry points."""
    paths = [*map(str, extra), *(str(ROOT / part) for part in ("src", "src/plugins", "proto"))]
    if not any(point.name == "tcp" for point in metadata.entry_points(group="tunnel.carriers")):
        paths.append(str(_entry_points(folder)))
    paths += [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HUBD_", "AGENTD_"))}
    # What agents keep must not meet an agent of the same name in another test, nor settings those of this machine.
    state = {"AGENTD_STATE_DIR": str(folder / "state"), "AGENTD_CONFIG": "", "HUBD_CONFIG": ""}
    # No secret may show at any level, so all of them are looked at.
    level = {"HUBD_LOG_LEVEL": "debug", "AGENTD_LOG_LEVEL": "debug"}
    return kept | state | level | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _entry_points(folder: Path) -> Path:
    """What an installation leaves behind for importlib.metadata, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = folder / "entry-points"
    info = found / f"{project['name']}-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return found


def wait_until(predicate: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Poll without a loop. Raises AssertionError once the deadline has passed."""
    end = time.monotonic() + deadline
    while not predicate():
        assert time.monotonic() < end, f"not within {deadline:.0f} s: {what}"
        time.sleep(POLL)


async def until(predicate: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Poll on the loop. Raises AssertionError once the deadline has passed."""
    end = time.monotonic() + deadline
    while not predicate():
        assert time.monotonic() < end, f"not within {deadline:.0f} s: {what}"
        await asyncio.sleep(POLL)


class Daemon:
    """One running daemon. Everything it prints goes to a file.

    Args:
        name: for messages.
        arguments: behind ``python``.
        folder: for its log, and its working directory.
        paths: further entries of PYTHONPATH.
    """

    def __init__(self, name: str, arguments: list[str], folder: Path, paths: Sequence[Path] = ()) -> None:
        self.name = name
        self.arguments = arguments
        self.log_path = folder / f"{next(_counter):03}-{name}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=environment(folder, paths),
                start_new_session=True,
            )
        self.stats = psutil.Process(self.process.pid)
        self._killed = self._told = False

    def __repr__(self) -> str:
        return f"<{self.name} pid={self.process.pid} code={self.process.returncode}>"

    @property
    def log(self) -> str:
        """Everything printed so far."""
        return self.log_path.read_text(errors="replace")

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def wait_log(self, pattern: str, count: int = 1, deadline: float = START_DEADLINE) -> None:
        """Wait until a pattern has been printed so many times."""

        def seen() -> bool:
            if len(re.findall(pattern, self.log)) >= count:
                return True
            assert self.running, f"{self.name} ended with {self.process.returncode}\n{self.tail()}"
            return False

        try:
            wait_until(seen, f"{pattern!r} in the log of {self.name}", deadline)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.tail()}") from None

    def tail(self, size: int = 6000) -> str:
        """The end of the log, for messages."""
        return f"--- {self.name}: {' '.join(self.arguments)}\n{self.log[-size:]}"

    @property
    def rss(self) -> int:
        """Resident bytes now."""
        return int(self.stats.memory_info().rss)

    @property
    def fds(self) -> int:
        """Open descriptors now."""
        return int(self.stats.num_fds())

    def open_files(self) -> str:
        """What is open now, for messages: a line for each connection, and how many descriptors of each other kind."""
        sockets = [
            f"  {one.fd}: {one.status} {':'.join(map(str, one.laddr))} > {':'.join(map(str, one.raddr))}"
            for one in self.stats.net_connections("all")
        ]
        links: Counter[str] = Counter()
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                links[os.readlink(link).partition(":[")[0]] += 1
        return "\n".join([*sockets, f"  {dict(links)}"])

    def signal(self, number: int) -> None:
        """Send a signal; SIGKILL is then no fault at the end."""
        if number == signal.SIGKILL:
            self._killed = True
        self._told |= number == signal.SIGTERM
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it without a word and wait."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    async def ended(self, deadline: float = DEADLINE) -> None:
        """Wait on the loop until it has ended by itself, with code 0 and without a fault in its log."""
        try:
            await until(lambda: not self.running, f"{self.name} ends", deadline)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.tail()}") from None
        self.check()

    def stop(self, deadline: float = DEADLINE) -> None:
        """SIGTERM; it must end with code 0 in time, and must not have complained about itself."""
        if self.running:
            WATCH.look(f"arguments of {self.name}", Path(f"/proc/{self.process.pid}/cmdline").read_bytes())
            if not self._told:
                self.signal(signal.SIGTERM)
            try:
                self.process.wait(deadline)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} still ran {deadline:.0f} s after SIGTERM\n{self.tail()}") from None
        self.check()

    def keeps_quiet(self, *secret: str) -> None:
        """Raise AssertionError if a secret shows in what the daemon printed, its arguments or its environment."""
        process = Path(f"/proc/{self.process.pid}")
        shown = {"log": self.log} | {
            name: (process / name).read_bytes().decode("latin-1") for name in ("cmdline", "environ")
        }
        for place, text in shown.items():
            for each in secret:
                assert each not in text, f"a secret shows in the {place} of {self.name}\n{self.tail()}"

    def check(self) -> None:
        """Raise AssertionError for a bad exit code, or a fault or a secret in the log."""
        WATCH.assert_unseen(f"the log of {self.name}", self.log_path.read_bytes())
        if self._killed:
            assert not _FAULT.search(self.log), self.tail()
            return
        assert self.process.returncode in (None, 0), f"{self} ended badly\n{self.tail()}"
        assert not _FAULT.search(self.log), f"{self.name} complained\n{self.tail()}"


class System:
    """A hub and its agents, ended and checked together.

    Args:
        folder: for logs and files.

    Attributes:
        port: the hub's.
        paths: further entries of the daemons' PYTHONPATH.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: list[Path] = []
        self.port = free_port()
        self.daemons: list[Daemon] = []
        self.hub: Daemon

    def start_hub(self, *arguments: str) -> Daemon:
        """Start the hub on this system's port and wait until it is healthy."""
        listen = f"127.0.0.1:{self.port}"
        self.hub = self._start("hub", ["-m", "hubd", "serve", "--dev", "--listen", listen, *arguments])
        self.wait_healthy()
        return self.hub

    def wait_healthy(self) -> None:
        """Wait for 200 from /healthz."""
        hub = self.hub

        def healthy() -> bool:
            assert hub.running, hub.tail()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as sock:
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n")
                return sock.recv(64).startswith(b"HTTP/1.1 200 ")
            return False

        try:
            wait_until(healthy, "the hub is healthy", START_DEADLINE)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{hub.tail()}") from None

    def start_agent(
        self, agent_id: str, *targets: str, url: str | None = None, arguments: tuple[str, ...] = (), wait: bool = True
    ) -> Daemon:
        """Start an agent and wait until the hub has it."""
        before, controlled = self.attached(agent_id), self._seen("agent controlled", agent_id)
        words = ["-m", "agentd", "run", "--hub", url or f"ws://127.0.0.1:{self.port}", "--id", agent_id]
        for target in targets:
            words += ["--target", target]
        agent = self._start(f"agent-{agent_id}", [*words, *arguments])
        if wait:
            self.wait_attached(agent_id, before + 1, agent)
            agent.wait_log("attached to")
            if "control=1" in agent.log:
                # Its descriptors in the hub are part of what a test starts with.
                self.hub.wait_log(_of("agent controlled", agent_id), controlled + 1)
        return agent

    def attached(self, agent_id: str) -> int:
        """How many times an agent of this id has attached to the present hub."""
        return self._seen("agent attached", agent_id)

    def detached(self, agent_id: str) -> int:
        """How many sessions of this id the present hub has lost."""
        return self._seen("agent detached", agent_id)

    def _seen(self, event: str, agent_id: str) -> int:
        return len(re.findall(_of(event, agent_id), self.hub.log)) if hasattr(self, "hub") else 0

    def wait_attached(self, agent_id: str, count: int = 1, agent: Daemon | None = None) -> None:
        """Wait until the present hub has seen so many attaches of an id."""

        def there() -> bool:
            assert agent is None or agent.running, agent.tail()
            return self.attached(agent_id) >= count

        try:
            wait_until(there, f"{agent_id} has attached {count} time(s)", START_DEADLINE)
        except AssertionError as exc:
            raise AssertionError("\n".join([str(exc), *(daemon.tail() for daemon in self.daemons)])) from None

    def _start(self, name: str, arguments: list[str]) -> Daemon:
        daemon = Daemon(name, arguments, self.folder, self.paths)
        self.daemons.append(daemon)
        return daemon

    def stop(self) -> None:
        """End the agents, then the hub; every one of them must end well. Reports all that did not."""
        faults = []
        agents = [daemon for daemon in self.daemons if daemon is not getattr(self, "hub", None)]
        for daemon in agents:
            if daemon.running:
                daemon.signal(signal.SIGTERM)
        for daemon in [*agents, *([self.hub] if hasattr(self, "hub") else [])]:
            try:
                daemon.stop()
            except AssertionError as exc:
                faults.append(str(exc))
        assert not faults, "\n".join(faults)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> None:
        if exc is None:
            self.stop()
            return
        for daemon in self.daemons:
            print(daemon.tail(), file=sys.stderr)
            if daemon.running:
                daemon.kill()


class Peak:
    """Largest resident size of some daemons while the body of ``with`` runs. Read on the loop."""

    def __init__(self, *daemons: Daemon) -> None:
        self._daemons = daemons
        self.rss = {daemon.name: daemon.rss for daemon in daemons}
        self.start = dict(self.rss)
        self._task: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Take one sample."""
        for daemon in self._daemons:
            self.rss[daemon.name] = max(self.rss[daemon.name], daemon.rss)

    async def _watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(0.1)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        self.look()

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {size / 2**20:.0f} MiB (from {self.start[name] / 2**20:.0f})" for name, size in self.rss.items()
        )


async def settle_fds(counts: dict[Daemon, int], deadline: float = DEADLINE) -> None:
    """Wait until every daemon has no more descriptors than before."""

    def settled() -> bool:
        return all(daemon.fds <= count for daemon, count in counts.items())

    try:
        await until(settled, "descriptors are back to where they were", deadline)
    except AssertionError as exc:
        over = [f"{daemon}: {daemon.fds} open, {count} allowed\n{daemon.open_files()}"
                for daemon, count in counts.items() if daemon.fds > count]  # fmt: skip
        raise AssertionError("\n".join([str(exc), *over])) from None


@contextlib.contextmanager
def listening(count: int = 1) -> Iterator[list[socket.socket]]:
    """Listening sockets for targets: the port is known before anything is served on it."""
    sockets = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(count)]
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()
