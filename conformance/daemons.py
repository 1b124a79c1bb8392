"""The command lines of all daemons, ours and the Go ones, and their start for a test."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from conformance import gobuild
from conformance.children import Child

ROOT = gobuild.ROOT

# What our daemons print once they serve, the hub with the port it got.
HUB_READY = r"listen=http://127\.0\.0\.1:(\d+)"
AGENT_READY = r"attached"

NO_FILES = {"HUBD_CONFIG": "", "AGENTD_CONFIG": ""}


def environment() -> dict[str, str]:
    """Return what our daemons need in their environment: the sources, also where nothing is installed, and no settings
    of this machine."""
    folders = [str(ROOT / folder) for folder in ("src", "src/plugins", "proto")]
    before = os.environ.get("PYTHONPATH")
    return {
        "PYTHONPATH": os.pathsep.join([*folders, *([before] if before else [])]),
        "PYTHONUNBUFFERED": "1",
        **NO_FILES,
    }


def hub_argv(port: int, python: str = sys.executable) -> list[str]:
    """Return the command for our hub on a loopback port (0 for any), letting any agent attach."""
    return [python, "-m", "hubd", "serve", "--dev", "--listen", f"127.0.0.1:{port}"]


def agent_argv(hub: str, agent_id: str, targets: list[str], python: str = sys.executable) -> list[str]:
    """Return the command for our agent: URL of the hub, id, and the host:port targets it may reach."""
    allowed = [word for target in targets for word in ("--target", target)]
    return [python, "-m", "agentd", "run", "--hub", hub, "--id", agent_id, *allowed]


@dataclass(frozen=True, slots=True)
class Hub:
    """A running hub: whose it is, its process, its port."""

    kind: str
    child: Child
    port: int

    @property
    def address(self) -> str:
        """Return the URL agents attach to."""
        return f"ws://127.0.0.1:{self.port}"

    def url(self, agent_id: str, path: str, target: str | None, *, query: str = "") -> str:
        """Return the visitor's URL for path (with its slash) at target behind the agent."""
        parts = [part for part in (query, f"x-proxy-host={target}" if target else "") if part]
        return f"http://127.0.0.1:{self.port}/api/v1/proxy/{agent_id}{path}" + ("?" + "&".join(parts) if parts else "")


async def start_hub(kind: str) -> Hub:
    """Start a hub, "go" or "ours", and wait until it listens. Raises ChildFailed."""
    if kind == "go":
        child = await Child.start("Go hub", [gobuild.programs()["seedhub"], "-addr", "127.0.0.1:0"])
        return Hub(kind, child, int((await _ready(child, r"^listening \S+:(\d+)$"))[1]))
    child = await Child.start("hubd", hub_argv(0), environment())
    return Hub(kind, child, int((await _ready(child, HUB_READY))[1]))


async def start_agent(kind: str, hub: Hub, agent_id: str, targets: list[str]) -> Child:
    """Start an agent, "go" or "ours", on the hub and wait until both say that it has attached: Go's hub knows it a moment
    after the 101. Raises ChildFailed."""
    said = len(hub.child.lines)
    if kind == "go":
        argv: list[str | Path] = [gobuild.programs()["seedagent"], "-hub", hub.address, "-id", agent_id]
        child = await Child.start("Go agent", argv)
    else:
        child = await Child.start("agentd", agent_argv(hub.address, agent_id, targets), environment())
    await _ready(child, AGENT_READY)
    try:
        await hub.child.wait_line(rf"attached\b.*\b{re.escape(agent_id)}(?!\S)", after=said)
    except BaseException:
        await child.stop()
        raise
    return child


async def _ready(child: Child, pattern: str) -> re.Match[str]:
    try:
        return await child.wait_line(pattern)
    except BaseException:
        await child.stop()
        raise
