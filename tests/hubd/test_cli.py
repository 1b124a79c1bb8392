"""The command line, as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys

import pytest

from hubd.app import App, how_to_use
from hubd.config import HubConfig
from tunnel.version import VERSION


async def hubd(*args: str, **environ: str):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environ}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hubd", *args, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


async def ended(*args: str, **environ: str) -> tuple[int, str, str]:
    process = await hubd(*args, **environ)
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_version():
    assert await ended("version") == (0, f"hubd {VERSION}\n", "")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--dev", "--listen", "0.0.0.0:8882"), "open to other machines"),
        (("--listen", "8882"), "--listen: '8882' is not HOST:PORT"),
        (("--tls-listen", "127.0.0.1:0"), "--tls-cert"),
        (("--policy", "best"), "--policy"),
        (("--dev", "--carrier", "nope://x", "--listen", "127.0.0.1:0"), "no carrier for nope://"),
        (("--dev", "--carrier", "tcp://0.0.0.0:0", "--listen", "127.0.0.1:0"), "drop --dev"),
        (("--listen", "127.0.0.1:0"), "cannot use the store /nowhere/hub.db"),
        (("--id", "a b"), "--id: 'a b' is not an id"),
        (("--admin", "unix:here.sock"), "--admin: 'unix:here.sock' has no whole path"),
        (("--admin", "127.0.0.1:7443"), "needs TLS"),
        (("--store", "/nowhere/hub.db"), "(setting store.path)"),
        (("--dev", "--listen", "127.0.0.1:0", "--admin", "unix:/nowhere/at/all.sock"), "/nowhere does not exist"),
        (("--listen", "127.0.0.1:0", "--access-log", "/nowhere/log"), "cannot write the access log"),
        (("--config", "/nowhere.toml"), "/nowhere.toml"),
    ],
)
async def test_bad_settings_are_one_line_and_exit_78(args, text):
    code, out, err = await ended("serve", *args, STATE_DIRECTORY="/nowhere")
    assert code == 78 and out == ""
    assert text in err and "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith("hubd: ")]) == 1


async def test_bad_variable():
    code, _, err = await ended("serve", HUBD_LISTN="x")
    assert code == 78 and "HUBD_LISTN" in err


async def test_address_in_use():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, err = await ended("serve", "--dev", "--listen", where)
    assert code == 78 and where in err and "--listen" in err


async def test_without_dev_it_says_what_is_missing(tmp_path):
    process = await hubd(
        "serve", "--listen", "127.0.0.1:0", "--insecure-plain-agents", HUBD_STORE__PATH=str(tmp_path / "hub.db")
    )
    seen = b""
    async with asyncio.timeout(30):
        while b"no agent can attach" not in (line := await process.stderr.readline()):
            seen += line
            assert line
        assert b"hubd token create --agent" in line
        assert b"--insecure-plain-agents is set" in seen
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == 0


def test_ready_made_commands_need_a_port():
    assert how_to_use(App(HubConfig(dev=True))) == ""
