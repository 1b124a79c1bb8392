"""A join token becomes a token of the agent's own, which opens the door afterwards."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

from tests.system.harness import Daemon, environment, free_port, wait_until
from tests.system.test_setup import hubd


def agentd(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agentd", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment(folder), cwd=folder, timeout=60,
    )  # fmt: skip


def test_an_agent_enrols_and_attaches_with_what_it_got(tmp_path: Path) -> None:
    port, store = free_port(), tmp_path / "hub.db"
    join, own = tmp_path / "join.token", tmp_path / "own.token"
    hub = Daemon(
        "hub", ["-m", "hubd", "serve", "--listen", f"127.0.0.1:{port}", "--store", str(store)], tmp_path
    )  # fmt: skip
    agent = None
    given = ("--hub", f"ws://127.0.0.1:{port}", "--id", "berlin-1")
    try:
        hub.wait_log("hub started")
        assert hubd(tmp_path, "token", "create", "--kind", "join", "--out", join, "--store", store).returncode == 0
        tries: list[subprocess.CompletedProcess[str]] = []

        def enrolled() -> bool:
            tries.append(agentd(tmp_path, "enroll", *given, "--join-token-file", join, "--token-out", own))
            return tries[-1].returncode == 0

        # The running hub looks into its store once a second, and knows no token made beside it before that.
        wait_until(enrolled, "the hub has seen the new token")
        done = tries[-1]
        assert "berlin-1 is enrolled" in done.stderr and done.stdout == ""
        assert stat.S_IMODE(own.stat().st_mode) == 0o600 and own.read_text().strip() not in done.stderr

        again = agentd(tmp_path, "enroll", *given, "--join-token-file", join, "--token-out", tmp_path / "second.token")
        assert again.returncode == 4 and "401 unauthorized" in again.stderr, "the join token was good for one agent"
        assert not (tmp_path / "second.token").exists()

        agent = Daemon("agent", ["-m", "agentd", "run", *given, "--token-file", str(own)], tmp_path)
        hub.wait_log("agent attached.*berlin-1")
        for secret in (join, own):
            assert secret.read_text().split("_")[3] not in hub.log + agent.log
    finally:
        for daemon in (agent, hub):
            if daemon is not None:
                daemon.stop()
