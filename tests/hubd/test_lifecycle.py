"""The life of the process, in a process (row L1)."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys

import pytest

from hubd.config import HubConfig
from hubd.lifecycle import admin_addresses


async def hubd(*args: str, **environ: str):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environ}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hubd", *args, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_l1_serve_and_stop(number):
    process = await hubd("serve", "--dev", "--listen", "127.0.0.1:0", "--domain", "tunnel.localhost")
    async with asyncio.timeout(30):
        assert "--dev" in (await process.stdout.readline()).decode()
        agent = (await process.stdout.readline()).decode()
        curl = (await process.stdout.readline()).decode()
        port = int(re.search(r"127\.0\.0\.1:(\d+)", curl)[1])
        assert (await process.stdout.readline()).decode() == "Manage it:\n"
        assert "tunnelctl --hub unix:/" in (await process.stdout.readline()).decode()
        assert f"agentd run --hub ws://127.0.0.1:{port}" in agent
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        process.send_signal(number)
        out, err = await process.communicate()
        writer.close()
        await writer.wait_closed()
    text = err.decode()
    assert process.returncode == 0 and "shutting down" in text and "stopped" in text and "Traceback" not in text
    assert "open files" in text


def test_where_the_management_api_is(tmp_path, caplog):
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    default = admin_addresses(HubConfig(dev=True), environ)
    assert [str(address) for address in default] == [f"unix:{tmp_path}/hubd/admin.sock"]
    none = HubConfig.model_validate({"admin": {"listen": []}})
    assert admin_addresses(none, environ) == []
    given = HubConfig.model_validate({"admin": {"listen": ["unix:/run/x.sock"]}})
    assert [str(address) for address in admin_addresses(given, environ)] == ["unix:/run/x.sock"]
    assert admin_addresses(HubConfig(dev=True), {"XDG_RUNTIME_DIR": "/nowhere/at/all"}) == []
    assert "no management API" in caplog.text
