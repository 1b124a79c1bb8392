"""The systems under test: each is started between a visitor's URL and the same target, and always stopped.

A system has a hub and mostly an agent; "no tunnel" has neither. Its visitor's URL for a path of the
target comes from url(); loads know nothing else about it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from benchmarks.procs import Child
from conformance import daemons, gobuild

AGENT_ID = "bench"


@dataclass(slots=True)
class System:
    """One way from a visitor to the target.

    Args: folder for logs and state of this start; loopback port of the target.
    """

    folder: Path
    target_port: int
    hub: Child | None = None
    agent: Child | None = None
    hub_port: int = 0
    children: list[Child] = field(default_factory=list)

    name = "system"
    note = ""

    def run(self, name: str, argv: Sequence[str | Path], *, env: dict[str, str] | None = None) -> Child:
        """Start a program of this system, its output in the folder."""
        child = Child(f"{self.name} {name}", argv, self.folder / f"{name}.log", env=env)
        self.children.append(child)
        return child

    def begin(self) -> None:
        """Start the programs and wait until the path to the target is open."""
        raise NotImplementedError

    def url(self, path: str) -> str:
        """Return the visitor's URL for a path of the target."""
        return f"http://127.0.0.1:{self.hub_port}{path}"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for child in reversed(self.children):
            child.stop()
        self.children.clear()


class Direct(System):
    """No tunnel: the load generator asks the target itself."""

    name = "no tunnel"

    def begin(self) -> None:
        self.hub_port = self.target_port


class Proxied(System):
    """A system with the path contract both hubs share: id and path in the URL, the target in the query."""

    def url(self, path: str) -> str:
        return (
            f"http://127.0.0.1:{self.hub_port}/api/v1/proxy/{AGENT_ID}{path}?x-proxy-host=127.0.0.1:{self.target_port}"
        )


class GoSeed(Proxied):
    """The Go programs of conformance/go."""

    name = "Go seed"
    note = "parses twice"

    def begin_hub(self) -> Child:
        """Start the hub alone."""
        self.hub = self.run("hub", [gobuild.programs()["seedhub"], "-addr", "127.0.0.1:0"])
        self.hub_port = int(self.hub.wait_output(r"^listening \S+:(\d+)$")[1])
        return self.hub

    def begin(self) -> None:
        self.begin_hub()
        hub = f"ws://127.0.0.1:{self.hub_port}"
        self.agent = self.run("agent", [gobuild.programs()["seedagent"], "-hub", hub, "-id", AGENT_ID])
        self.agent.wait_output(r"^attached ")


class Ours(Proxied):
    """hubd in its relaxed loopback mode, and agentd on it over WebSocket."""

    name = "ours"
    note = "parses twice"
    python = sys.executable
    hub_flags: tuple[str, ...] = ()
    agent_flags: tuple[str, ...] = ()

    def begin_hub(self) -> Child:
        """Start the hub alone."""
        self.hub = self.run("hub", [*daemons.hub_argv(0, self.python), *self.hub_flags], env=daemons.environment())
        self.hub_port = int(self.hub.wait_output(daemons.HUB_READY)[1])
        return self.hub

    def begin(self) -> None:
        self.begin_hub()
        hub, targets = f"ws://127.0.0.1:{self.hub_port}", [f"127.0.0.1:{self.target_port}"]
        argv = [*daemons.agent_argv(hub, AGENT_ID, targets, self.python), *self.agent_flags]
        self.agent = self.run("agent", argv, env=daemons.environment())
        self.agent.wait_output(daemons.AGENT_READY)
