"""Python's share of a small request, with sockets replaced by lists: `python -m benchmarks.inprocess`.

Hub and agent run in one process, without kernel, event loop or other processes between them, so the figure moves little
from run to run: it tells whether a change made the code cheaper, not how fast the system is. Microseconds for each
request; the first tenth of the turns is the one to compare, since whatever else the machine does only adds to them.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import pstats
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import uvloop

from agentd.config import AgentConfig
from agentd.pool import TargetConnection
from agentd.serve import Server
from agentd.terms import session_config
from carrier_websocket.transport import WebSocketTransport
from hubd.attach import PROMPT_SESSION
from hubd.budget import Budget
from hubd.config import HubConfig
from hubd.front import Front
from hubd.sessions import AgentSession
from hubd.state import Hub
from tunnel.targets import parse_target
from yamux import Session

TARGET = "http://127.0.0.1:9"
REQUEST = b"GET /api/v1/proxy/a/hello%b?x-proxy-host=127.0.0.1:9 HTTP/1.1\r\nHost: 127.0.0.1:8882\r\n\r\n"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Wed, 25 Nov 2026 18:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 13\r\nConnection: keep-alive\r\n\r\nHello, there\n"
)
WARM_UP = 200
"""Turns before the first that counts: heads become known, and the interpreter specializes its code."""


class Turns:
    """Stands for the loop of one daemon: keeps what is to be called until ``run``. Timers never fire."""

    def __init__(self, real: asyncio.AbstractEventLoop) -> None:
        self._real = real
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Keep a call."""
        self._calls.append((callback, args))

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Make a timer nobody waits for."""
        return self._real.call_later(3600.0, lambda: None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def run(self) -> None:
        """Do what was kept, and what comes of it."""
        while self._calls:
            callback, args = self._calls.popleft()
            callback(*args)


class Wire(asyncio.Transport):
    """A transport whose writes gather in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.out: list[bytes] = []

    def write(self, data: Any) -> None:
        """Keep it."""
        self.out.append(data)

    def writelines(self, list_of_data: Any) -> None:
        """Keep it joined."""
        self.out.append(b"".join(list_of_data))

    def take(self) -> list[bytes]:
        """Return what was written since the last time."""
        out, self.out = self.out, []
        return out

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Addresses only."""
        return ("127.0.0.1", 9) if name in ("peername", "sockname") else default

    def is_closing(self) -> bool:
        """Never."""
        return False

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """No marks."""


class Rig:
    """A hub with visitors, an agent with connections to its target, and the session between them."""

    def __init__(self, visitors: int) -> None:
        loop = asyncio.get_running_loop()
        self.hub_turns, self.agent_turns = Turns(loop), Turns(loop)
        hub_loop, agent_loop = (cast(asyncio.AbstractEventLoop, turns) for turns in (self.hub_turns, self.agent_turns))
        hub = Hub(HubConfig(dev=True), Budget(10_000))
        hub.loop = hub_loop
        config = AgentConfig(id="a", hub=("ws://127.0.0.1:1",), target=(TARGET,))
        server = Server(config, [parse_target(TARGET)])
        server.loop = agent_loop
        at_hub = Session(client=False, config=PROMPT_SESSION)
        at_agent = Session(client=True, config=session_config(2000), stream_factory=server.exchange)
        at_hub.loop, at_agent.loop = hub_loop, agent_loop
        self.hub_wire, self.agent_wire = Wire(), Wire()
        self.hub_carrier = WebSocketTransport(self.hub_wire, at_hub, client=False)
        self.agent_carrier = WebSocketTransport(self.agent_wire, at_agent, client=True)
        at_hub.connection_made(self.hub_carrier)
        at_agent.connection_made(self.agent_carrier)
        at_hub.fold()
        at_agent.fold()
        entry = AgentSession("a", at_hub, instance="x", ready=True, folds=True, id="1", carrier="websocket")
        hub.roster.add(entry)
        hub.pools.add(entry)
        assert server.default is not None
        self.fronts = [Front(hub) for _ in range(visitors)]
        for front in self.fronts:
            front.connection_made(Wire())
        self.targets = [TargetConnection(server.default) for _ in range(visitors)]
        for target in self.targets:
            target.connection_made(Wire())
            server.default.release(target)
        self._numbers = 0

    def requests(self, vary: bool) -> list[bytes]:
        """Return one request for each visitor."""
        if not vary:
            return [REQUEST % b""] * len(self.fronts)
        first, self._numbers = self._numbers, self._numbers + len(self.fronts)
        return [REQUEST % (b"/%d" % number) for number in range(first, self._numbers)]

    def ask(self, requests: list[bytes]) -> None:
        """Let every visitor send its request to the hub."""
        for front, request in zip(self.fronts, requests, strict=True):
            front.data_received(request)
        self.hub_turns.run()

    def serve(self) -> None:
        """Let the agent have what the hub wrote."""
        for data in self.hub_wire.take():
            self.agent_carrier.data_received(data)
        self.agent_turns.run()

    def answer(self) -> None:
        """Let every target that was asked answer."""
        for target in self.targets:
            wire = target.transport
            assert isinstance(wire, Wire)
            if wire.take():
                target.data_received(ANSWER)
        self.agent_turns.run()

    def deliver(self) -> None:
        """Let the hub have what the agent wrote."""
        for data in self.agent_wire.take():
            self.hub_carrier.data_received(data)
        self.hub_turns.run()

    def check(self) -> None:
        """Raise AssertionError unless every visitor got its answer."""
        for front in self.fronts:
            wire = front.transport
            assert isinstance(wire, Wire)
            assert b"".join(wire.take()).endswith(b"Hello, there\n"), "a visitor got no answer"


def _timed(work: Callable[[], None], profile: cProfile.Profile | None) -> float:
    start = time.thread_time()
    if profile is not None:
        profile.enable()
    work()
    if profile is not None:
        profile.disable()
    return time.thread_time() - start


async def measure(visitors: int, turns: int, *, vary: bool, profile: str | None = None) -> dict[str, list[float]]:
    """Return microseconds for each request in every turn, sorted, for ``hub`` and ``agent``.

    Args:
        visitors: that ask at once; as many requests are one turn.
        turns: that count.
        vary: give every request a path of its own.
        profile: show the functions of the hub or the agent; the figures then mean nothing.
    """
    rig = Rig(visitors)
    profiler = cProfile.Profile() if profile else None
    at_hub, at_agent = (profiler if profile == part else None for part in ("hub", "agent"))
    spent: dict[str, list[float]] = {"hub": [], "agent": []}
    for number in range(WARM_UP + turns):
        if number == WARM_UP:
            # As both daemons do once they stand.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 20)
        requests = rig.requests(vary)
        counts = number >= WARM_UP
        hub = _timed(lambda requests=requests: rig.ask(requests), at_hub if counts else None)  # type: ignore[misc]
        agent = _timed(rig.serve, at_agent if counts else None)
        agent += _timed(rig.answer, at_agent if counts else None)
        hub += _timed(rig.deliver, at_hub if counts else None)
        rig.check()
        if counts:
            spent["hub"].append(hub / visitors * 1e6)
            spent["agent"].append(agent / visitors * 1e6)
    if profiler is not None:
        pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(40)
    return {part: sorted(times) for part, times in spent.items()}


def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--visitors", type=int, default=64, help="requests in one turn (default 64)")
    options.add_argument("--turns", type=int, default=600, help="turns that count (default 600)")
    options.add_argument("--vary", action="store_true", help="give every request a path of its own")
    options.add_argument("--profile", choices=("hub", "agent"), help="show where its time goes")
    chosen = options.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        work = measure(chosen.visitors, chosen.turns, vary=chosen.vary, profile=chosen.profile)
        for part, times in runner.run(work).items():
            tenth, middle = times[len(times) // 10], times[len(times) // 2]
            print(f"{part:6} {tenth:6.1f} us for each request in the best tenth of turns, median {middle:.1f}")


if __name__ == "__main__":
    main()
