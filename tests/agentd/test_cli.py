"""The command as a user runs it: a process, its exit code and what it prints."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import pytest

from tunnel.version import VERSION

GET = b"GET /api/v1/proxy/a/hello HTTP/1.1\r\nHost: v\r\nX-Proxy-Path: /hello\r\n\r\n"


class Command:
    """A running agentd."""

    def __init__(self, process):
        self.process = process
        self.printed = ""

    async def line(self, words: str) -> str:
        async with asyncio.timeout(20):
            while line := (await self.process.stderr.readline()).decode():
                self.printed += line
                if words in line:
                    return line
        raise AssertionError(f"ended without {words!r}: {self.printed}")

    async def end(self) -> int:
        async with asyncio.timeout(20):
            rest = (await self.process.stderr.read()).decode()
            self.printed += rest
            return await self.process.wait()


@pytest.fixture
async def agentd():
    running = []

    async def start(*words: str, stdin: bytes | None = None, **environ: str) -> Command:
        env = {key: value for key, value in os.environ.items() if not key.startswith("AGENTD_")} | {"AGENTD_CONFIG": ""}
        env["PYTHONPATH"] = os.pathsep.join(sys.path)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agentd", *words, env=env | environ,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        running.append(process)
        if stdin is not None:
            process.stdin.write(stdin)
        process.stdin.close()
        return Command(process)

    yield start
    for process in running:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()


async def hello(client):
    while await client.head():
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


async def test_version(agentd):
    command = await agentd("version")
    assert (await command.process.stdout.read()).decode() == f"agentd {VERSION}\n"
    assert await command.end() == 0


@pytest.mark.parametrize("scheme", ["ws", "tcp"])
async def test_run_prints_each_step_and_ends_cleanly(rig, hub, agentd, scheme):
    target = await rig.target(hello)
    url = hub.url.replace("ws", scheme)
    command = await agentd(
        "run", "--hub", url, "--id", "a", "--target", target.url, "--target", "http://127.0.0.1:9000"
    )
    assert f"serving target {target.url} by default; also http://127.0.0.1:9000" in await command.line("serving")
    assert f"connecting to {url} as a" in await command.line("connecting")
    carrier = "websocket" if scheme == "ws" else "tcp"
    line = await command.line("connected as a (instance ")
    assert f") over {carrier}: attached to {url}" in line
    assert (await hub.ask(GET)).body == b"hi"
    command.process.send_signal(signal.SIGTERM)
    assert await command.end() == 0
    assert "stopped" in command.printed
    assert "Traceback" not in command.printed


async def test_id_from_the_url(rig, hub, agentd):
    target = await rig.target(hello)
    command = await agentd("run", "--hub", f"{hub.url}/api/v1/hubs/a", "--target", target.url)
    await command.line("connected as a ")
    assert hub.heads[0].path == b"/api/v1/hubs/a"
    command.process.send_signal(signal.SIGINT)
    assert await command.end() == 0


async def test_l1_first_signal_waits_second_ends(rig, hub, agentd):
    async def wait(client):
        await client.head()
        await client.ended()

    target = await rig.target(wait)
    command = await agentd("run", "--hub", hub.url, "--id", "a", "--target", target.url)
    await command.line("connected")
    asked = asyncio.create_task(hub.ask(GET))
    await rig.settle(lambda: bool(target.heads))
    command.process.send_signal(signal.SIGTERM)
    await command.line("waiting up to 30 s for exchanges in progress: 1")
    assert command.process.returncode is None
    command.process.send_signal(signal.SIGTERM)
    assert await command.end() == 0
    assert not (await asked).complete


async def test_unreachable_hub_is_told_and_retried(rig, hub, agentd):
    hub.stop_listening()
    command = await agentd("run", "--hub", hub.url, "--id", "a", "--target", "http://127.0.0.1:1")
    line = await command.line("cannot reach hub")
    assert "connection refused; is hubd running there?; trying again in" in line
    await hub.start()
    await command.line("connected as a")
    command.process.send_signal(signal.SIGTERM)
    assert await command.end() == 0


async def test_all_faults_of_the_settings_at_once(agentd, tmp_path):
    command = await agentd("run", "--hub", "http://h:1", "--id", "a b", "--target", "ftp://x", "--label", "no")
    assert await command.end() == 78
    lines = command.printed.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("agentd: --") for line in lines)
    for words in ("did you mean ws://", "'a b' is no agent id", "'ftp://x'", "'no' is not a label"):
        assert words in command.printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--id", "a"], "no hub to connect to: give one with --hub ws://HOST:PORT"),
        (["--hub", "ws://h:1"], "ws://h:1 names no agent: give --id NAME"),
        (["--hub", "wss://127.0.0.1:1", "--id", "a", "--ca-file", "none.pem"], "cannot use CA file none.pem"),
        (
            ["--hub", "wss://127.0.0.1:1", "--id", "a", "--target-ca-file", "none.pem"],
            "--target-ca-file: cannot use CA",
        ),
        (["--hub", "wss://h:1", "--id", "a"], "give --token-file or --client-cert, or say --insecure-no-credentials"),
        (["--hub", "ws://h:1", "--id", "a", "--insecure-no-credentials"], "or say --insecure-plain-hub"),
        (["--hub", "ws://h:1", "--id", "a", "--token-file", "t"], "no token is sent to ws://h:1"),
    ],
)
async def test_faults_found_before_anything_is_tried(agentd, words, said):
    command = await agentd("run", *words)
    assert await command.end() == 78
    assert said in command.printed
    assert len(command.printed.splitlines()) == 1


async def test_settings_from_a_file_and_variables(rig, hub, agentd, tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text(f'hub = "{hub.url}"\nid = "from-file"\nlog_format = "json"\n')
    command = await agentd("run", "--config", str(file), AGENTD_ID="a")
    line = json.loads(await command.line("connected as a"))
    assert (line["level"], line["hub"]) == ("info", "hubd/test")
    assert "no target is listed" in command.printed
    command.process.send_signal(signal.SIGTERM)
    assert await command.end() == 0


async def test_faults_of_a_file_name_its_line(agentd, tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text('id = "a"\nhub = ["nope://h"]\n')
    command = await agentd("run", "--config", str(file))
    assert await command.end() == 78
    assert f"agentd: {file}:2: no carrier for nope://" in command.printed


async def test_token_from_standard_input_and_from_files(rig, hub, agentd, tmp_path):
    command = await agentd("run", "--hub", hub.url, "--id", "a", "--token-file", "-", stdin=b"canary-secret\n")
    await command.line("connected")
    assert (b"Authorization", b"Bearer canary-secret") in hub.heads[0].fields
    command.process.send_signal(signal.SIGTERM)
    assert await command.end() == 0
    assert "canary-secret" not in command.printed
    command = await agentd("run", "--hub", hub.url, "--id", "a", "--token-file", str(tmp_path / "none"))
    assert await command.end() == 78
    assert f"agentd: --token-file: {tmp_path}/none: cannot read the secret file" in command.printed


async def test_help_names_the_options(agentd):
    command = await agentd("run", "--help", COLUMNS="120", NO_COLOR="1", TERM="dumb")
    printed = (await command.process.stdout.read()).decode()
    for option in ("--hub", "--id", "--target", "--token-file", "--keep-host", "--label", "--ca-file", "--client-cert"):
        assert option in printed
    assert await command.end() == 0
