"""The examples of yamux alone: they run with nothing but the standard library and src on the path."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "yamux"
# -S leaves out site-packages, so that an installed package cannot help.
PYTHON = (sys.executable, "-S", "-W", "error")
ENVIRONMENT = {"PYTHONPATH": str(ROOT / "src")}


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the echo server; gives the process and its port."""
    command = [*PYTHON, str(EXAMPLES / "echo_server.py")]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            started = re.fullmatch(r"listening on port (\d+)\n", process.stdout.readline())
            assert started
            yield process, started[1]
        finally:
            process.kill()


def ask(port: str, *lines: str) -> subprocess.CompletedProcess[str]:
    """Run the client to its end."""
    command = [*PYTHON, str(EXAMPLES / "echo_client.py"), port, *lines]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize("lines", [["one line"], ["first", "second", "third"], [f"line {n}" for n in range(300)], []])
def test_every_line_comes_back(server: tuple[subprocess.Popen[str], str], lines: list[str]) -> None:
    done = ask(server[1], *lines)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == lines


def test_one_client_after_the_other(server: tuple[subprocess.Popen[str], str]) -> None:
    process, port = server
    for turn in range(3):
        assert ask(port, f"turn {turn}").stdout == f"turn {turn}\n"
    assert process.poll() is None


def test_a_server_that_is_not_there(server: tuple[subprocess.Popen[str], str]) -> None:
    process, port = server
    process.kill()
    process.wait()
    done = ask(port, "anybody?")
    assert done.returncode != 0
    assert "ConnectionRefusedError" in done.stderr


@pytest.mark.parametrize("name", ["echo_server.py", "echo_client.py"])
def test_examples_stay_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text("utf-8").splitlines()) < 40


def test_importing_yamux_loads_the_standard_library_only() -> None:
    script = "import sys, yamux; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [*PYTHON, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=30
    )
    loaded = set(done.stdout.split())
    assert "yamux" in loaded
    assert loaded - {"yamux", "__main__"} <= sys.stdlib_module_names
