from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from agentd.commands.config import app as config_app
from agentd.commands.local import find_socket


class Agentd:
    """Runs commands of the real program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[asyncio.subprocess.Process] = []

    async def begin(self, *words: str) -> asyncio.subprocess.Process:
        env = {key: value for key, value in os.environ.items() if not key.startswith("AGENTD_")} | {"AGENTD_CONFIG": ""}
        env |= {"PYTHONPATH": os.pathsep.join(sys.path), "XDG_RUNTIME_DIR": str(self.folder), "COLUMNS": "200"}
        env.pop("RUNTIME_DIRECTORY", None)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agentd", *words, env=env, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.started.append(process)
        return process

    async def run(self, *words: str) -> tuple[int, str, str]:
        process = await self.begin(*words)
        async with asyncio.timeout(30):
            out, err = await process.communicate()
        assert process.returncode is not None
        assert "Traceback" not in err.decode()
        return process.returncode, out.decode(), err.decode()


@pytest.fixture
async def agentd():
    with tempfile.TemporaryDirectory(prefix="agd") as name:
        one = Agentd(Path(name))
        yield one
        for process in one.started:
            if process.returncode is None:
                process.kill()
            await process.wait()
            process._transport.close()


async def test_a_running_agent_from_status_to_drain(rig, hub, agentd):
    file = agentd.folder / "agentd.toml"
    file.write_text(
        f'hub = "{hub.url}"\nid = "a"\nstate_dir = "{agentd.folder}"\n[service.web]\ntarget = "http://127.0.0.1:1"\n'
    )
    code, out, err = await agentd.run("status")
    assert (code, out) == (3, "")
    assert "no running agent found" in err
    process = await agentd.begin("run", "--config", str(file))
    await rig.settle(lambda: bool(hub.sessions))
    assert (await agentd.run("healthcheck"))[:2] == (0, "connected\n")
    code, out, _ = await agentd.run("status")
    assert code == 0
    assert hub.url in out
    assert "online" in out
    assert "configuration: its own" in out
    code, out, _ = await agentd.run("status", "-o", "json")
    row = json.loads(out)
    assert (row["uplinks"][0]["state"], row["uplinks"][0]["controlled"], row["served"]) == ("online", False, "0")
    code, out, _ = await agentd.run("services")
    assert out.splitlines()[1].split()[:4] == ["web", "http://127.0.0.1:1", "file", "unknown"]
    file.write_text(file.read_text() + "nothing = 1\n[oops]\n")
    code, out, err = await agentd.run("reload")
    assert code == 1
    assert "nothing has changed" in err
    assert f"{file}:7: oops: unknown key" in err
    file.write_text(
        f'hub = "{hub.url}"\nid = "a"\nkeep_host = true\nlog_format = "json"\nstate_dir = "{agentd.folder}"\n'
    )
    code, out, _ = await agentd.run("reload")
    assert out == "applied: keep_host, service, service.web.target\nneeds a restart: log_format\n"
    code, out, _ = await agentd.run("drain", "--deadline", "5")
    assert (code, out) == (0, "ending; 0 exchanges are in progress\n")
    async with asyncio.timeout(20):
        _, err = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in err
    assert list((agentd.folder / "agentd").iterdir()) == []


async def test_the_hub_is_away(agentd):
    process = await agentd.begin("run", "--hub", "ws://127.0.0.1:1", "--id", "a", "--state-dir", str(agentd.folder))
    async with asyncio.timeout(20):
        while b"trying again" not in await process.stderr.readline():
            pass
    code, _, err = await agentd.run("healthcheck")
    assert code == 1
    assert "is hubd running there?" in err


async def test_settings_without_an_agent(agentd):
    file = agentd.folder / "x.toml"
    file.write_text('hub = "ws://127.0.0.1:1"\nid = "a"\n[remote]\nallow = ["web"]\n')
    assert (await agentd.run("config", "check", "-c", str(file)))[0] == 0
    code, out, _ = await agentd.run("config", "show", "--origin", "-c", str(file))
    assert f'remote.allow = ["web"]  # {file}:4' in out
    assert "pool_size = 1  # default" in out
    file.write_text('hub = "ws://127.0.0.1:1"\nid = "a b"\nkepp_host = true\n[remote]\nallow = ["*x"]\n')
    code, _, err = await agentd.run("config", "check", "-c", str(file))
    assert code == 78
    assert len(err.splitlines()) == 3
    code, out, _ = await agentd.run("config", "schema")
    assert "remote" in json.loads(out)["properties"]
    code, out, _ = await agentd.run("plugins", "list")
    assert code == 0
    assert "websocket" in out


async def test_flags_for_services(agentd):
    code, _, err = await agentd.run("run", "--hub", "ws://127.0.0.1:1", "--id", "a", "--expose", "web")
    assert code == 78
    assert "NAME=URL" in err
    code, _, err = await agentd.run(
        "run", "--hub", "ws://127.0.0.1:1", "--id", "a", "--expose", "web=ftp://h", "--allow", "a b"
    )
    assert code == 78
    assert "--expose" in err
    assert "--allow" in err


def test_which_socket(monkeypatch):
    assert find_socket(Path("/x")) == Path("/x")
    assert config_app.info.name == "config"
