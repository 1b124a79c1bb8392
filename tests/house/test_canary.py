"""The canaries sing: a secret that is planted anywhere fails the test in which it shows."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge
from tests.canary import WATCH

from hubd.identity import texts
from hubd.metrics import Metrics
from tunnel.logs import Secret

PASSWORD = "a password that nobody may see"
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "import sys; sys.stderr.write(sys.stdin.read())"
PLANTED = """
import logging

from tests.canary import canaries, no_canary_shows

from hubd.identity import texts


def test_that_tells() -> None:
    _, token = texts.make("agent")
    logging.getLogger("hubd").debug("%s", token.reveal())


def test_that_leaves_a_log(tmp_path) -> None:
    (tmp_path / "hub.log").write_text(texts.make("admin")[1].reveal())


def test_that_is_quiet(tmp_path) -> None:
    _, token = texts.make("agent")
    logging.getLogger("hubd").warning("%s", token)
    (tmp_path / "secret.token").write_text(token.reveal())
"""


@pytest.fixture
def token() -> str:
    """A token's text."""
    return texts.make("agent")[1].reveal()


def seen() -> int:
    """How many secrets showed since the last look."""
    return len(WATCH.take())


def test_logs_are_watched_at_every_level(token: str) -> None:
    logger = logging.getLogger("hubd.somewhere")
    logger.debug("refused %s", token)
    assert seen() == 1
    logger.debug("refused", extra={"why": f"Bearer {token}"})
    assert seen() == 1
    try:
        raise ValueError(token)
    except ValueError:
        logger.debug("refused", exc_info=True)
    assert seen() == 1
    Secret(PASSWORD)
    logger.debug("refused %s", PASSWORD)
    assert seen() == 1
    logger.debug("refused %s", Secret(PASSWORD))
    assert seen() == 0


def test_a_key_is_known_by_its_form() -> None:
    logging.getLogger("agentd").debug("-----BEGIN EC PRIVATE KEY-----\nMHcCAQ")
    assert seen() == 1
    logging.getLogger("agentd").debug("-----BEGIN CERTIFICATE-----\nMHcCAQ")
    assert seen() == 0


def test_programs_are_watched(token: str) -> None:
    subprocess.run([sys.executable, "-c", "pass", token], check=True)
    assert seen() == 1
    subprocess.run([sys.executable, "-c", PROGRAM], input=token, capture_output=True, text=True, check=True)
    assert seen() == 1


async def test_programs_of_the_loop_are_watched(token: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "pass", token)
    await process.wait()
    assert seen() >= 1
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    await process.communicate(token.encode())
    assert seen() == 1


def test_metrics_are_watched(token: str) -> None:
    registry = CollectorRegistry()
    Gauge("hub_sessions", "By token.", ["token"], registry=registry).labels(token).set(1)
    page = Metrics.__new__(Metrics)
    page._registry = registry
    page.render()
    assert seen() == 1


def test_a_planted_secret_fails_its_test(tmp_path: Path) -> None:
    (tmp_path / "test_planted.py").write_text(PLANTED)
    folder = str(tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder, folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "3 passed, 2 errors" in done.stdout, done.stdout + done.stderr
    assert "secrets show in" in done.stdout
