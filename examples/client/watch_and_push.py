"""Watch sessions, and give every agent that comes without a configuration one.

    python examples/client/watch_and_push.py --hub unix:///tmp/t/admin.sock --service web=http://127.0.0.1:8000

Goes on over broken connections and restarts of the hub, until Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from pathlib import Path

from tunnelpb.agent.v1.config_pb2 import AgentConfig
from tunnelpb.client import Hub, HubError, Retry, Tls, connect
from tunnelpb.hub.v1.agent_config_pb2 import GetAgentConfigRequest, UpdateAgentConfigRequest
from tunnelpb.hub.v1.session_pb2 import Session


async def push(hub: Hub, agent: str, config: AgentConfig) -> str:
    """Store a configuration for an agent that has none. Returns what happened."""
    found = await hub.agent_configs.GetAgentConfig(GetAgentConfigRequest(agent=agent))
    if found.config.version:
        return f"{agent} has version {found.config.version}"
    try:
        # The etag keeps us from writing over what somebody else stores at the same moment.
        request = UpdateAgentConfigRequest(
            agent=agent, config=config, etag=found.config.etag, comment="pushed by an example"
        )
        stored = await hub.agent_configs.UpdateAgentConfig(request)
    except HubError as error:
        # Every bad field is named at once.
        faults = "; ".join(f"{field}: {text}" for field, text in error.fields)
        return f"{agent}: {error}" + (f": {faults}" if faults else "")
    return f"{agent} gets version {stored.config.version}"


def interrupted(retry: Retry) -> None:
    """Say that the watch lost the hub."""
    print(f"the hub is away, trying again in {retry.wait:.1f} s", file=sys.stderr, flush=True)


async def watch(hub: Hub, config: AgentConfig) -> None:
    """Follow the sessions for ever."""
    known: dict[str, Session] = {}
    async for change in hub.watch_sessions(told=interrupted):
        if change.kind == "reset":
            # Changes were missed: what is there now follows, so forget what was.
            known.clear()
        elif change.kind == "removed" and change.row is not None:
            known.pop(change.row.name, None)
            print(f"{change.row.agent} left: {change.row.close_reason}", flush=True)
        elif change.kind == "upsert" and change.row is not None:
            if change.row.name not in known:
                print(await push(hub, change.row.agent, config), flush=True)
            known[change.row.name] = change.row


async def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hub", required=True, help="unix:///PATH, or HOST:PORT with TLS")
    parser.add_argument("--token-file", type=Path, help="file with an admin token")
    parser.add_argument("--ca-file", type=Path, help="authorities to trust, PEM")
    parser.add_argument("--service", action="append", required=True, metavar="NAME=URL", help="repeatable")
    given = parser.parse_args()
    config = AgentConfig()
    for text in given.service:
        name, _, target = text.partition("=")
        config.services.add(name=name, target=target)
    token = given.token_file.read_text().strip() if given.token_file else None
    tls = Tls(ca_file=given.ca_file) if given.ca_file else None
    async with connect(given.hub, token=token, tls=tls) as hub:
        await watch(hub, config)


if __name__ == "__main__":
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(main())
    except HubError as problem:
        sys.exit(f"error: {problem}")
