"""``tunnelctl diagnose``: all that helps to find out what is wrong, in one file, without secrets."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import platform
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunnel.version import VERSION
from tunnelctl import names, rows
from tunnelctl.command import command
from tunnelctl.names import AgentOption
from tunnelctl.problems import Code, Problem
from tunnelctl.run import Run
from tunnelctl.text import plural

if TYPE_CHECKING:
    from tunnelpb.client import Hub

_EVENTS = dt.timedelta(hours=24)


async def diagnose(
    run: Run,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.tar", help="A new file for the bundle.")],
    agent: AgentOption = None,
) -> None:
    """Gather what the hub knows, for whoever is to help: no secrets, but names, addresses and labels."""
    from tunnelpb.client import HubError

    parts: dict[str, Any] = {
        "client.json": {"tunnelctl": VERSION, "python": platform.python_version(), "platform": platform.platform()}
    }
    failed: dict[str, str] = {}
    async with run.hub() as hub:
        parts["client.json"]["hub"] = str(hub.address)
        for name, gather in _gatherers(hub, names.agent(agent)).items():
            try:
                parts[name] = await gather()
            except HubError as error:
                if error.status.name == "UNAVAILABLE" and len(parts) == 1:
                    raise
                failed[name] = str(error)
    if failed:
        parts["errors.json"] = failed
    _write(out, parts)
    run.note(f"{out}: {plural(len(parts), 'file')}; look through it before you send it on")
    for name, why in failed.items():
        run.note(f"missing {name}: {why}")
    if failed:
        run.code = Code.PARTIAL


def _gatherers(hub: Hub, agent: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    from tunnelpb.hub.v1 import agent_config_pb2, hub_pb2, stats_pb2

    async def info() -> Any:
        return rows.hub((await hub.hub.GetHub(hub_pb2.GetHubRequest())).hub)

    async def settings() -> Any:
        answer = await hub.hub.GetEffectiveConfig(hub_pb2.GetEffectiveConfigRequest())
        return [rows.setting(row) for row in answer.settings]

    async def plugins() -> Any:
        return [rows.plugin(row) for row in (await hub.hub.ListPlugins(hub_pb2.ListPluginsRequest())).plugins]

    async def sessions() -> Any:
        return [rows.session(row) async for row in hub.list_sessions(agent=agent)]

    async def agents() -> Any:
        return [rows.agent(row) async for row in hub.list_agents() if agent in ("", row.name)]

    async def routes() -> Any:
        return [rows.route(row) async for row in hub.list_routes(agent=agent)]

    async def tokens() -> Any:
        return [rows.token(row) async for row in hub.list_tokens(agent=agent, ended=True)]

    async def stats() -> Any:
        found: list[stats_pb2.Stats] = []
        for scope in (stats_pb2.STATS_SCOPE_HUB, stats_pb2.STATS_SCOPE_AGENT, stats_pb2.STATS_SCOPE_SESSION):
            found += (await hub.stats.GetStats(stats_pb2.GetStatsRequest(scope=scope))).stats
        return [rows.stats(row) for row in found if agent in ("", row.agent, row.name)]

    async def events() -> Any:
        since = dt.datetime.now(dt.UTC) - _EVENTS
        return [rows.event(row) async for row in hub.kept_events(since=since)]

    async def config() -> Any:
        request = agent_config_pb2.GetAgentConfigRequest(agent=agent)
        answer = await hub.agent_configs.GetAgentConfig(request)
        status = [rows.config_status(row) for row in answer.status]
        history = [rows.config_version(row) async for row in hub.list_config_versions(agent)]
        return {"status": status, "history": history}

    everything: dict[str, Callable[[], Awaitable[Any]]] = {
        "hub.json": info, "settings.json": settings, "plugins.json": plugins, "sessions.json": sessions,
        "agents.json": agents, "routes.json": routes, "tokens.json": tokens, "stats.json": stats,
        "events.json": events,
    }  # fmt: skip
    return everything | ({"config.json": config} if agent else {})


def _write(out: Path, parts: dict[str, Any]) -> None:
    now = int(dt.datetime.now(dt.UTC).timestamp())
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Problem(f"-o {out}: {error.strerror}", reason="BAD_FILE") from None
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w") as bundle:
        for name, content in parts.items():
            data = json.dumps(content, ensure_ascii=False, indent=2).encode() + b"\n"
            info = tarfile.TarInfo(f"diagnose/{name}")
            info.size, info.mtime, info.mode = len(data), now, 0o600
            bundle.addfile(info, io.BytesIO(data))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "diagnose", without=("output",))(diagnose)
