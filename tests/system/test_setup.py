"""What ``hubd init`` writes works as it is: TLS off loopback, a token, a revocation by another process."""

from __future__ import annotations

import http.client
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.system.harness import Daemon, environment, free_port, wait_until

# An address other machines could have, for all the code knows, though its traffic stays here.
ADDRESS = "127.0.0.2"


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *given: object) -> None:
        pass


@pytest.fixture
def target() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def hubd(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hubd", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment(folder), cwd=folder, timeout=120,
    )  # fmt: skip


def get(port: int, authority: Path) -> int:
    context = ssl.create_default_context(cafile=str(authority))
    connection = http.client.HTTPSConnection(ADDRESS, port, context=context, timeout=30)
    try:
        connection.request("GET", "/api/v1/proxy/agent-1/")
        response = connection.getresponse()
        assert response.status != 200 or response.read() == b"hello"
        return response.status
    finally:
        connection.close()


def presented(port: int) -> str:
    """The certificate a visitor is shown."""
    return ssl.get_server_certificate((ADDRESS, port), timeout=30)


def test_the_setup_of_init_serves_and_its_token_can_be_revoked(tmp_path: Path, target: str) -> None:
    port, etc, state = free_port(), tmp_path / "etc", tmp_path / "state"
    done = hubd(tmp_path, "init", "--dir", etc, "--state", state, "--host", ADDRESS, "--tls-listen", f"0.0.0.0:{port}")
    assert done.returncode == 0, done.stderr
    hub = Daemon(
        "hub", ["-m", "hubd", "serve", "--config", str(etc / "hubd.toml"), "--listen", "127.0.0.1:0"], tmp_path
    )
    agent = None
    try:
        hub.wait_log("hub started")
        agent = Daemon(
            "agent",
            ["-m", "agentd", "run", "--hub", f"wss://{ADDRESS}:{port}", "--id", "agent-1", "--target", target,
             "--token-file", str(etc / "agent-1.token"), "--ca-file", str(etc / "ca.pem")],
            tmp_path,
        )  # fmt: skip
        hub.wait_log("agent attached")
        assert get(port, etc / "ca.pem") == 200

        listed = hubd(tmp_path, "token", "list", "--config", etc / "hubd.toml").stdout.splitlines()
        (line,) = [line for line in listed if "hubd init" in line]
        assert hubd(tmp_path, "token", "revoke", line.split()[0], "--config", etc / "hubd.toml").returncode == 0
        wait_until(lambda: "token revoked: ending its session" in hub.log, "the session ends")
        agent.wait_log("401 unauthorized")
        assert get(port, etc / "ca.pem") == 503

        # Another token, and the agent is back without a restart, since it reads the file at each attempt.
        (etc / "agent-1.token").unlink()
        made = hubd(
            tmp_path, "token", "create", "--agent", "agent-1", "--out", etc / "agent-1.token",
            "--config", etc / "hubd.toml",
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        hub.wait_log("agent attached", 2)
        assert get(port, etc / "ca.pem") == 200
        before = presented(port)
        renewed = hubd(tmp_path, "renew", "--dir", etc)
        assert renewed.returncode == 0 and "is valid until" in renewed.stdout, renewed.stderr
        hub.signal(signal.SIGHUP)
        wait_until(lambda: presented(port) == (etc / "hub.pem").read_text(), "the renewed certificate is presented")
        assert presented(port) != before and get(port, etc / "ca.pem") == 200
        secret = (etc / "agent-1.token").read_text().split("_")[3]
        assert secret not in hub.log and secret not in agent.log
    except BaseException:
        print(hub.tail(), agent.tail() if agent is not None else "")
        raise
    finally:
        for daemon in (agent, hub):
            if daemon is not None:
                daemon.stop()


def test_f7_what_is_open_to_others_without_protection_does_not_start(tmp_path: Path) -> None:
    for arguments, missing in (
        (["--listen", "0.0.0.0:0"], "--tls-listen"),
        (["--dev", "--listen", "0.0.0.0:0"], "drop --dev"),
        (["--carrier", "tcp://0.0.0.0:0", "--listen", "127.0.0.1:0"], "--insecure-plain-agents"),
        (["--tls-listen", "0.0.0.0:0"], "--tls-cert"),
        (["--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"], "admin.tls"),
        (["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"], "admin.tls"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "hubd", "serve", *arguments],
            capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path,
            env=environment(tmp_path) | {"STATE_DIRECTORY": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 78, (arguments, done.stderr)
        assert missing in done.stderr and "Traceback" not in done.stderr
